"""The worker process: watched, restarted, ended with the server, one final answer per job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest
from harness import INSTANT_WORKER, generate, is_alive, wait_until
from velatura.protocol import messages as m
from velatura.protocol import stream
from velatura.protocol.codec import decode, encode
from velatura.server.worker import supervisor as module
from velatura.server.worker.supervisor import Supervisor


class Watched:
    """A supervisor and all that it said."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.messages: asyncio.Queue[m.Message] = asyncio.Queue()
        self.states: list[m.Status] = []
        self.lost = 0
        self.supervisor = Supervisor(
            command,
            dict(os.environ),
            on_message=self.messages.put,
            on_status=self.states.append,
            on_lost=self._count,
        )

    def _count(self) -> None:
        self.lost += 1

    async def next(self, kind: type[m.Message]) -> m.Message:
        async with asyncio.timeout(20):
            while not isinstance(message := await self.messages.get(), kind):
                pass
            return message

    async def answers(self, job: str) -> list[m.Message]:
        """The job's messages up to its final answer."""
        answers: list[m.Message] = []
        async with asyncio.timeout(20):
            while True:
                message = await self.messages.get()
                if getattr(message, "job", None) == job:
                    answers.append(message)
                    final = isinstance(message, m.Error) or getattr(message, "last", False)
                    if final:
                        return answers


def supervised(
    test: Callable[[Watched], Awaitable[None]], command: tuple[str, ...] = INSTANT_WORKER
) -> Watched:
    """Run ``test`` beside a supervisor; afterwards the supervisor and its worker are gone."""

    async def run() -> Watched:
        watched = Watched(command)
        task = asyncio.create_task(watched.supervisor.run())
        while watched.supervisor.pid is None and len(watched.states) < 2:
            await asyncio.sleep(0.001)
        try:
            await test(watched)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return watched

    return asyncio.run(run())


def test_the_worker_says_what_it_can_paint_and_paints():
    async def test(watched):
        catalogue = await watched.next(m.Catalogue)
        assert [model.name for model in catalogue.models] == ["instant"]
        status = await watched.next(m.Status)
        assert (status.worker, status.loaded) == ("ready", ("instant",))
        request = generate(variants=2)
        watched.supervisor.send(request)
        answers = await watched.answers(request.job)
        assert [a.variant for a in answers if isinstance(a, m.Result)] == [0, 1]

    assert supervised(test).states == [m.Status(worker="starting")]


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("raise", "internal"),
        ("silent", "internal"),
        ("nan", "bad_output"),
        ("memory", "out_of_memory"),
    ],
)
def test_a_job_that_fails_has_one_coded_answer_and_the_next_job_works(prompt, code):
    async def test(watched):
        failing, next_one = generate(prompt), generate("print")
        watched.supervisor.send(failing)
        watched.supervisor.send(next_one)
        error = (await watched.answers(failing.job))[-1]
        assert error.code == code
        assert error.message.endswith(".")
        assert isinstance((await watched.answers(next_one.job))[-1], m.Result)
        assert not watched.lost

    supervised(test)


def test_an_engine_that_goes_on_after_its_last_result_is_not_heard():
    async def test(watched):
        first, second = generate("twice", previews=False), generate(previews=False)
        watched.supervisor.send(first)
        watched.supervisor.send(second)
        await watched.answers(first.job)
        heard = []
        while not heard or not getattr(heard[-1], "last", False):
            heard.append(await watched.next(m.Message))
        jobs = [getattr(message, "job", None) for message in heard]
        assert first.job not in jobs
        assert jobs.count(second.job) == 5

    supervised(test)


def test_a_cancel_reaches_the_engine_while_it_works():
    async def test(watched):
        request = generate("slow=20", steps=100)
        watched.supervisor.send(request)
        await watched.next(m.Progress)
        watched.supervisor.send(m.Cancel(job=request.job))
        answers = await watched.answers(request.job)
        assert answers[-1].code == "cancelled"
        assert len(answers) < 50

    supervised(test)


def test_a_late_cancel_does_not_touch_the_next_job():
    async def test(watched):
        first, second = generate(), generate("slow=10")
        watched.supervisor.send(first)
        await watched.answers(first.job)
        watched.supervisor.send(second)
        watched.supervisor.send(m.Cancel(job=first.job))
        assert isinstance((await watched.answers(second.job))[-1], m.Result)

    supervised(test)


def test_a_killed_worker_is_told_and_started_again():
    async def test(watched):
        await watched.next(m.Status)
        first = watched.supervisor.pid
        watched.supervisor.send(generate("print crash"))
        status = await watched.next(m.Status)
        assert status.worker == "ready"
        assert watched.supervisor.pid != first
        assert not is_alive(first)

    watched = supervised(test)
    assert watched.lost == 1
    assert [status.worker for status in watched.states] == ["starting", "restarting"]
    why = watched.states[-1].reason
    assert why == (
        "The worker process was ended while it worked (signal 9). Most likely the memory was full."
    )


def test_a_worker_that_dies_at_its_start_is_failed_with_its_last_words_and_tried_again(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    command = (sys.executable, "-c", "raise ImportError('no torch here')")

    async def test(watched):
        async with asyncio.timeout(20):
            while len(watched.states) < 3:
                await asyncio.sleep(0.01)

    states = supervised(test, command).states
    assert [status.worker for status in states[:3]] == ["starting", "failed", "failed"]
    assert "ImportError: no torch here" in states[1].reason


def test_a_command_that_is_not_there_is_failed_with_a_reason():
    async def test(watched):
        async with asyncio.timeout(20):
            while len(watched.states) < 2:
                await asyncio.sleep(0.01)

    states = supervised(test, ("/nowhere/python",)).states
    assert states[1].worker == "failed"
    assert "/nowhere/python" in states[1].reason


def test_the_worker_is_gone_when_the_supervisor_is():
    pids = []

    async def test(watched):
        await watched.next(m.Status)
        pids.append(watched.supervisor.pid)
        watched.supervisor.send(generate("slow=1000 deaf", steps=100))

    supervised(test)
    assert not is_alive(pids[0])


def test_a_worker_whose_pipe_ends_exits_at_once_even_in_mid_job():
    process = subprocess.Popen(INSTANT_WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    request = generate("slow=10000 deaf", steps=100)
    stream.write_blob(process.stdin.write, encode(request))
    process.stdin.flush()
    while not isinstance(decode(stream.read_blob(process.stdout.readinto)), m.Status):
        pass
    start = time.monotonic()
    process.stdin.close()
    wait_until(lambda: process.poll() is not None)
    process.stdout.close()
    assert time.monotonic() - start < 10.0  # the step that runs lasts longer
    assert process.returncode == 0


def test_junk_from_the_worker_is_the_end_of_that_worker():
    command = (sys.executable, "-c", "print('junk' * 1000)")

    async def test(watched):
        async with asyncio.timeout(20):
            while not watched.lost:
                await asyncio.sleep(0.01)

    supervised(test, command)
