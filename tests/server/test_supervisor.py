"""The worker process: watched, restarted, ended with the server, one final answer per job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from harness import HERE, INSTANT_WORKER, generate, is_alive, new_job, wait_until
from velatura.protocol import messages as m
from velatura.protocol import stream
from velatura.protocol.codec import decode, encode
from velatura.server import supervisor as module
from velatura.server.supervisor import Supervisor


class Watched:
    """A supervisor and all that it said."""

    def __init__(self, command: tuple[str, ...], **options: Any) -> None:
        self.messages: asyncio.Queue[m.Message] = asyncio.Queue()
        self.states: list[m.Status] = []
        self.lost = 0
        self.supervisor = Supervisor(
            command,
            dict(os.environ),
            on_message=self.messages.put,
            on_status=self.states.append,
            on_lost=self._count,
            **options,
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
    test: Callable[[Watched], Awaitable[None]],
    command: tuple[str, ...] = INSTANT_WORKER,
    **options: Any,
) -> Watched:
    """Run ``test`` beside a supervisor; afterwards the supervisor and its worker are gone."""

    async def run() -> Watched:
        watched = Watched(command, **options)
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


# --- the true cause of its end -------------------------------------------------------------------

READY = (
    "import os, sys, time, signal\n"
    "from velatura.protocol import messages as m, stream\n"
    "from velatura.protocol.codec import encode\n"
    "stream.write_blob(lambda part: os.write(1, part), encode(m.Status(worker='ready')))\n"
)


def reason_of(program: str, monkeypatch) -> str:
    """What is told of a worker that says that it is ready and then runs ``program``."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 60.0)

    async def test(watched):
        async with asyncio.timeout(20):
            while len(watched.states) < 2:
                await asyncio.sleep(0.01)

    return supervised(test, (sys.executable, "-c", READY + program)).states[1].reason


@pytest.mark.parametrize(
    ("program", "told"),
    [
        # Its pipe ends before it does, as that of a process that tears down a large library.
        (
            "os.close(1); print('no space on the device', file=sys.stderr, flush=True)\n"
            "time.sleep(0.3); os._exit(3)",
            "(exit status 3): no space on the device",
        ),
        ("sys.exit('a driver is missing')", "(exit status 1): a driver is missing"),
        ("os._exit(0)", "(exit status 0)."),
        (
            "print('Assertion failed: x', file=sys.stderr, flush=True); os.abort()",
            "(signal 6): Assertion failed: x",
        ),
        (
            "print('about something else', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)",
            "(signal 9). Most likely the memory was full.",
        ),
        ("os.write(1, b'junk' * 10); time.sleep(60)", "it wrote what is no message"),
    ],
)
def test_the_end_of_a_worker_is_told_with_its_own_cause(program, told, monkeypatch):
    assert told in reason_of(program, monkeypatch)


def test_a_worker_that_closes_its_pipe_and_goes_on_is_ended_and_told_so(monkeypatch):
    monkeypatch.setattr(module, "_GRACE", 0.1)
    assert reason_of("os.close(1); time.sleep(60)", monkeypatch) == (
        "The worker process was ended while it worked: it closed its pipe and went on."
    )


# --- it must answer ------------------------------------------------------------------------------


def test_a_worker_that_stands_still_is_replaced_and_the_next_job_is_painted():
    async def test(watched):
        await watched.next(m.Status)
        first = watched.supervisor.pid
        os.kill(first, signal.SIGSTOP)
        watched.supervisor.send(generate())
        status = await watched.next(m.Status)
        assert status.worker == "ready"
        assert watched.supervisor.pid != first
        request = generate()
        watched.supervisor.send(request)
        assert isinstance((await watched.answers(request.job))[-1], m.Result)

    watched = supervised(test, heartbeat=0.1, patience=10)
    assert watched.lost == 1
    assert watched.states[1].reason == (
        "The worker process was ended while it worked: it did not answer for 1 s."
    )


def test_a_worker_that_works_long_answers_its_heartbeats_and_is_left_alone():
    async def test(watched):
        request = generate("slow=400", steps=4, previews=False)
        watched.supervisor.send(request)
        assert isinstance((await watched.answers(request.job))[-1], m.Result)
        assert not watched.lost

    supervised(test, heartbeat=0.02, patience=30)


def failing_worker(broken: str) -> tuple[str, ...]:
    """A worker in which ``broken``, a name of process.py, finds no memory from its second use on."""
    program = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from velatura.server.worker.host import process\n"
        "from instant_worker import InstantEngine\n"
        f"real, uses = process.{broken}, []\n"
        "def fail(*args, **more):\n"
        "    uses.append(1)\n"
        "    if len(uses) > 1: raise MemoryError\n"
        "    return real(*args, **more)\n"
        f"process.{broken} = fail\n"
        "process.main(InstantEngine)\n"
    )
    return (sys.executable, "-c", program)


@pytest.mark.parametrize("broken", ["decode", "_run"])
def test_any_thread_of_the_worker_that_ends_takes_the_worker_along(broken):
    async def test(watched):
        for _ in range(2):
            watched.supervisor.send(generate(previews=False))
            live = m.LiveOpen(job=new_job(), model="instant", area=m.Size(8, 8))
            watched.supervisor.send(live)
        async with asyncio.timeout(20):
            while not watched.lost:
                await asyncio.sleep(0.01)
        await watched.next(m.Status)

    states = supervised(test, failing_worker(broken)).states
    assert states[1].worker == "restarting"
    assert states[1].reason.endswith("failed: MemoryError")


@pytest.mark.parametrize(("place", "broken"), [(module, "decode"), (stream, "write_blob")])
def test_any_thread_of_ours_that_ends_takes_the_worker_along(place, broken, monkeypatch):
    real, uses = getattr(place, broken), []

    def fail(*given, **more):
        uses.append(1)
        if len(uses) == (4 if broken == "decode" else 1):
            raise MemoryError
        return real(*given, **more)

    monkeypatch.setattr(place, broken, fail)

    async def test(watched):
        await watched.next(m.Status)
        watched.supervisor.send(generate(previews=False))
        async with asyncio.timeout(20):
            while not watched.lost:
                await asyncio.sleep(0.01)
        await watched.next(m.Status)
        request = generate()
        watched.supervisor.send(request)
        assert isinstance((await watched.answers(request.job))[-1], m.Result)

    states = supervised(test).states
    assert "the server could not go on with it (MemoryError)" in states[1].reason


def test_whoever_sends_too_much_waits_until_the_worker_has_read_it_or_is_gone(monkeypatch):
    monkeypatch.setattr(module, "MOST_UNSENT", 1 << 20)

    async def test(watched):
        await watched.next(m.Status)
        await watched.supervisor.room()
        os.kill(watched.supervisor.pid, signal.SIGSTOP)
        for _ in range(12):
            watched.supervisor.send(generate(side=512))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await watched.supervisor.room()
        os.kill(watched.supervisor.pid, signal.SIGCONT)
        async with asyncio.timeout(20):
            await watched.supervisor.room()
        os.kill(watched.supervisor.pid, signal.SIGSTOP)
        for _ in range(12):
            watched.supervisor.send(generate(side=512))
        os.kill(watched.supervisor.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            await watched.supervisor.room()

    supervised(test)
