"""Live painting over a real socket: deltas, key frames, newest wins, and what ends it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness import ServerProcess, drain, generate, new_job, wait_for, worker_pid
from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.errors import LocalError
from velatura.protocol.pixels import Image

SIDE = 32


class Canvas:
    """A client's live canvas of one grey, and what the server shows for it."""

    def __init__(self, client: Client, prompt: str = "", side: int = SIDE, **more: Any) -> None:
        self.client, self.side, self.job = client, side, new_job()
        self.revision = 0
        self.shown = bytearray(4 * side * side)
        area = m.Size(side, side)
        client.send(m.LiveOpen(job=self.job, model="instant", area=area, prompt=prompt, **more))

    def frame(
        self, grey: int, x: int = 0, y: int = 0, side: int = 0, base: int | None = None
    ) -> int:
        side = side or self.side
        self.revision += 1
        picture = Image(side, side, "rgba8", bytes((grey, grey, grey, 255)) * side * side)
        base = self.revision - 1 if base is None else base
        self.client.send(
            m.LiveFrame(job=self.job, revision=self.revision, base=base, x=x, y=y, picture=picture)
        )
        return self.revision

    def key(self, grey: int = 0) -> int:
        return self.frame(grey, base=0)

    def until(self, revision: int) -> list[m.LiveResult]:
        """Lay results over each other up to the one that answers ``revision``."""
        results: list[m.LiveResult] = []
        while not results or results[-1].revision < revision:
            result = wait_for(self.client, lambda e: isinstance(e, m.LiveResult))
            results.append(result)
            width = 4 * result.picture.width
            for row in range(result.picture.height):
                start = 4 * (self.side * (result.y + row) + result.x)
                line = bytes(result.picture.data)[row * width : (row + 1) * width]
                self.shown[start : start + width] = line
        return results

    def pixel(self, x: int, y: int) -> int:
        return self.shown[4 * (self.side * y + x)]

    def close(self) -> None:
        self.client.send(m.LiveClose(job=self.job))
        wait_for(self.client, lambda e: isinstance(e, m.LiveClosed) and e.job == self.job)


@pytest.fixture
def client(shared_server: ServerProcess) -> Iterator[Client]:
    with shared_server.client() as client:
        wait_for(client, lambda e: isinstance(e, m.Status) and e.worker == "ready")
        yield client


def end_of(client: Client, job: str) -> m.Error:
    return wait_for(client, lambda e: isinstance(e, m.Error) and e.job == job)


def test_the_welcome_says_that_live_painting_is_there(client):
    assert "live" in client.welcome.capabilities


def test_changed_parts_come_back_painted_and_add_up(client):
    canvas = Canvas(client)
    whole = canvas.until(canvas.key(0))
    assert (whole[0].picture.width, whole[0].x, whole[0].y) == (SIDE, 0, 0)
    part = canvas.until(canvas.frame(100, 3, 5, 4))
    assert (part[0].x, part[0].y, part[0].picture.width) == (3, 5, 4)
    canvas.until(canvas.frame(200, 6, 8, 2))
    assert [canvas.pixel(*at) for at in ((0, 0), (3, 5), (6, 8), (7, 9))] == [255, 155, 55, 55]
    canvas.close()


def test_a_wrong_base_is_answered_by_a_key_frame_and_the_canvas_goes_on(client):
    canvas = Canvas(client)
    canvas.until(canvas.key(0))
    for _ in range(3):
        canvas.frame(100, 0, 0, 4, base=77)
    wait_for(client, lambda e: isinstance(e, m.LiveKeyFrame))
    revision = canvas.key(50)
    assert [r.revision for r in canvas.until(revision)] == [revision]
    assert canvas.pixel(0, 0) == 205
    assert not [e for e in drain(client) if isinstance(e, m.LiveKeyFrame)]
    canvas.close()


def test_a_revision_that_goes_back_is_refused_and_the_canvas_goes_on(client):
    canvas = Canvas(client)
    canvas.until(canvas.key(0))
    canvas.until(canvas.frame(100))
    for revision in (1, 2):
        canvas.revision = revision - 1
        canvas.frame(200, base=0)
        refused = wait_for(client, lambda e: isinstance(e, m.Error))
        assert (refused.code, refused.field, refused.job) == ("invalid_field", "revision", None)
    canvas.revision = 2
    canvas.until(canvas.frame(50))
    assert canvas.pixel(0, 0) == 205
    canvas.close()


def test_newest_wins_and_no_part_is_lost(client):
    canvas = Canvas(client, "slow=20")
    canvas.until(canvas.key(0))
    for number in range(60):
        last = canvas.frame(number + 1, number % SIDE, number // SIDE, 1)
    results = canvas.until(last)
    assert len(results) < 30
    assert [r.revision for r in results] == sorted({r.revision for r in results})
    assert [canvas.pixel(n % SIDE, n // SIDE) for n in range(60)] == [254 - n for n in range(60)]
    canvas.close()


def test_new_settings_come_without_a_frame(client):
    canvas = Canvas(client)
    canvas.until(canvas.key(0))
    client.send(m.LiveSettings(job=canvas.job, prompt="slow=1"))
    assert canvas.until(1)[0].picture.width == SIDE
    canvas.close()


def test_nothing_changed_nothing_sent(client):
    canvas = Canvas(client)
    canvas.until(canvas.key(0))
    assert not drain(client)
    canvas.close()


def test_closing_in_the_middle_is_answered_at_once(client):
    canvas = Canvas(client, "slow=300", steps=40)
    canvas.key(0)
    time.sleep(0.2)
    started = time.monotonic()
    canvas.close()
    assert time.monotonic() - started < 6  # of the 12 s that the picture takes


def test_one_live_canvas_a_session_and_a_new_one_after_it(client):
    canvas = Canvas(client)
    second = Canvas(client)
    assert end_of(client, second.job).code == "rate_limited"
    canvas.close()
    third = Canvas(client)
    third.until(third.key(0))
    third.close()


def test_another_sessions_canvas_cannot_be_touched(shared_server, client):
    canvas = Canvas(client)
    canvas.until(canvas.key(0))
    with shared_server.client() as other:
        thief = Canvas(other)
        thief.close()
        other.send(m.LiveOpen(job=canvas.job, model="instant", area=m.Size(SIDE, SIDE)))
        refused = end_of(other, canvas.job)
        assert (refused.code, refused.field) == ("invalid_field", "job")
        other.send(m.LiveClose(job=canvas.job))
    canvas.until(canvas.frame(9, 0, 0, 1))
    canvas.close()


def test_a_broken_frame_is_said_and_the_canvas_lives_on(client):
    canvas = Canvas(client)
    canvas.until(canvas.key(0))
    canvas.frame(1, SIDE - 1, 0, 2)
    wait_for(client, lambda e: isinstance(e, m.LiveKeyFrame))
    canvas.until(canvas.key(3))
    canvas.close()


@pytest.mark.parametrize(("word", "code"), [("raise", "internal"), ("memory", "out_of_memory")])
def test_a_failure_ends_the_canvas_with_its_code_and_jobs_go_on(client, word, code):
    canvas = Canvas(client, word)
    canvas.key(0)
    assert end_of(client, canvas.job).code == code
    canvas.frame(1, 0, 0, 1)  # it was on its way
    request = generate()
    client.send(request)
    assert len(client.until_final(request.job)) == 1


def test_a_canvas_larger_than_the_limit_is_refused(make_server):
    server = make_server(limits={"message_bytes": 1 << 20, "picture_pixels": 1000, "jobs": 2})
    with server.client() as client:
        canvas = Canvas(client)
        refused = end_of(client, canvas.job)
        assert (refused.code, refused.field) == ("too_large", "area")


def test_jobs_go_first_and_live_goes_on(client):
    canvas = Canvas(client, "slow=10")
    canvas.until(canvas.key(0))
    request = generate("slow=20", steps=10)
    client.send(request)
    wait_for(client, lambda e: isinstance(e, m.Progress) and e.stage == "painting")
    last = canvas.frame(7, 0, 0, 2)
    seen: list[str] = []
    results = client.until_final(request.job, lambda e: seen.append(type(e).__name__))
    assert len(results) == 1
    assert "LiveResult" not in seen[:-1]
    canvas.until(last)
    assert canvas.pixel(1, 1) == 248
    canvas.close()


def test_two_sessions_take_turns(shared_server, client):
    with shared_server.client() as other:
        mine, theirs = Canvas(client, "slow=5"), Canvas(other, "slow=5")
        for canvas in (mine, theirs):
            canvas.until(canvas.key(0))
        for number in range(20):
            lasts = [canvas.frame(number, 0, 0, 3) for canvas in (mine, theirs)]
        mine.until(lasts[0])
        theirs.until(lasts[1])
        mine.close()
        theirs.close()


def test_a_lost_connection_frees_the_canvas(shared_server):
    with shared_server.client() as client:
        canvas = Canvas(client, "slow=20")
        canvas.key(0)
        session = client.welcome.session
    with shared_server.client(session) as client:
        assert canvas.job not in client.welcome.jobs
        again = Canvas(client)
        again.until(again.key(0))
        assert not [e for e in drain(client) if getattr(e, "job", None) == canvas.job]
        again.close()


def test_a_client_that_stops_reading_is_not_painted_for_and_memory_stays_bounded(make_server):
    """Row 23: the results of one canvas are 1 MiB each."""
    server = make_server()
    with server.client() as slow, server.client() as quick:
        wait_for(quick, lambda e: isinstance(e, m.Status) and e.worker == "ready")
        canvas = Canvas(slow, side=512)
        canvas.until(canvas.key(0))
        before = server.memory()
        for number in range(150):
            last = canvas.frame(number % 250 + 1, base=0)
            time.sleep(0.005)
        request = generate()
        quick.send(request)
        assert len(quick.until_final(request.job)) == 1
        assert server.memory() - before < 64 << 20
        results = canvas.until(last)
        assert len(results) < 75
        assert canvas.pixel(0, 0) == 255 - 150
        canvas.close()


def test_a_killed_worker_ends_the_canvas_and_the_next_one_paints(make_server):
    server = make_server()
    with server.client() as client:
        pid = worker_pid(client)
        canvas = Canvas(client, "slow=100", steps=20)
        canvas.key(0)
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        assert end_of(client, canvas.job).code == "worker_lost"
        canvas.frame(1, 0, 0, 1)
        # Opened while there is no worker: it waits, and then wants the whole canvas.
        again = Canvas(client)
        again.key(0)
        wait_for(client, lambda e: isinstance(e, m.LiveKeyFrame) and e.job == again.job)
        again.until(again.key(5))
        assert again.pixel(3, 3) == 250
        again.close()


def test_a_canvas_that_kills_its_worker_is_not_opened_again(make_server):
    server = make_server()
    with server.client() as client:
        first = worker_pid(client)
        canvas = Canvas(client, "crash")
        canvas.key(0)
        assert end_of(client, canvas.job).code == "worker_lost"
        assert worker_pid(client) != first
        request = generate()
        client.send(request)
        assert len(client.until_final(request.job)) == 1


def test_frames_without_a_canvas_are_ignored(client):
    job = new_job()
    picture = Image(1, 1, "rgba8", bytes(4))
    client.send(m.LiveFrame(job=job, revision=1, base=0, x=0, y=0, picture=picture))
    client.send(m.LiveSettings(job=job))
    client.send(m.LiveClose(job=job))
    request = generate()
    client.send(request)
    assert len(client.until_final(request.job)) == 1


def test_a_live_canvas_cannot_be_cancelled_like_a_job(client):
    canvas = Canvas(client)
    with pytest.raises(LocalError, match="not allowed"):
        client.send(m.Cancel(job=canvas.job))
    canvas.close()
