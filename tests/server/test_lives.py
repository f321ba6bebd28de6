"""Which live canvases are open: what waits for the worker, and what is told when."""

from __future__ import annotations

import pytest
from harness import new_job
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.server.lives import MOST_CANVASES, Forward, Lives
from velatura.server.scheduler import Tell

SIDE = 16


def opened(**more) -> m.LiveOpen:
    return m.LiveOpen(**{"job": new_job(), "model": "tiny", "area": m.Size(SIDE, SIDE), **more})


def frame(job: str, revision: int = 1) -> m.LiveFrame:
    return m.LiveFrame(
        job=job, revision=revision, base=0, x=0, y=0, picture=Image(1, 1, "rgba8", bytes(4))
    )


def lives(*, ready: bool = True, **more) -> Lives:
    made = Lives(most_pixels=SIDE * SIDE, **more)
    if ready:
        made.worker_ready()
    return made


def test_settings_sent_before_the_worker_is_ready_are_what_it_opens_the_canvas_with():
    waiting, canvas = lives(ready=False), opened(prompt="a house", seed=1)
    assert waiting.open("a", canvas) == []
    changed = m.LiveSettings(job=canvas.job, prompt="a boat", seed=2, steps=3)
    assert waiting.change("a", changed) == []
    (forward, told) = waiting.worker_ready()
    assert forward == Forward(
        m.LiveOpen(job=canvas.job, model="tiny", area=canvas.area, prompt="a boat", seed=2, steps=3)
    )
    assert told == Tell("a", m.LiveKeyFrame(job=canvas.job))
    assert waiting.worker_ready() == []


def test_frames_sent_before_the_worker_is_ready_are_dropped_and_asked_for_again():
    waiting, canvas = lives(ready=False), opened()
    waiting.open("a", canvas)
    assert waiting.change("a", frame(canvas.job)) == []
    assert Tell("a", m.LiveKeyFrame(job=canvas.job)) in waiting.worker_ready()
    after = frame(canvas.job, 2)
    assert waiting.change("a", after) == [Forward(after)]
    (told,) = waiting.change("a", after)
    assert told.message.field == "revision", "the same one twice"


def test_what_comes_from_another_session_or_after_the_end_is_dropped():
    open_, canvas = lives(), opened()
    assert open_.open("a", canvas) == [Forward(canvas)]
    assert open_.change("b", frame(canvas.job)) == []
    assert open_.close("b", canvas.job) == []
    assert open_.sent("b", canvas.job) == []
    assert open_.sent("a", canvas.job) == [Forward(m.Acknowledge(job=canvas.job))]
    assert open_.close("a", canvas.job) == [Forward(m.LiveClose(job=canvas.job))]
    assert open_.close("a", canvas.job) == []
    assert open_.change("a", frame(canvas.job)) == []


def test_a_canvas_that_never_reached_the_worker_is_closed_without_it():
    waiting, canvas = lives(ready=False), opened()
    waiting.open("a", canvas)
    assert waiting.close("a", canvas.job) == [Tell("a", m.LiveClosed(job=canvas.job))]
    assert canvas.job not in waiting
    assert waiting.worker_ready() == []


def test_the_worker_closes_what_a_session_left_and_nobody_is_told():
    open_, canvas = lives(), opened()
    open_.open("a", canvas)
    assert open_.gone("a") == [Forward(m.LiveClose(job=canvas.job))]
    assert canvas.job in open_, "its id is taken until the worker answers"
    assert open_.from_worker(m.LiveClosed(job=canvas.job)) == []
    assert canvas.job not in open_


def test_a_worker_that_died_ends_what_it_had_and_opens_what_waited():
    open_, first, second = lives(), opened(), opened()
    open_.open("a", first)
    (told,) = open_.worker_lost()
    assert (told.session, told.message.code, told.message.job) == ("a", "worker_lost", first.job)
    assert first.job not in open_
    open_.open("a", second)
    assert open_.worker_lost() == []
    assert open_.worker_ready()[0] == Forward(second)


@pytest.mark.parametrize(
    ("before", "canvas", "code", "field"),
    [
        (0, {"area": m.Size(SIDE + 1, SIDE)}, "too_large", "area"),
        (1, {}, "rate_limited", None),
    ],
)
def test_what_is_not_opened_says_why(before, canvas, code, field):
    open_ = lives()
    for _ in range(before):
        open_.open("a", opened())
    (told,) = open_.open("a", opened(**canvas))
    assert (told.message.code, told.message.field) == (code, field)


def test_so_many_canvases_are_open_at_once_and_no_more():
    open_ = lives()
    for number in range(MOST_CANVASES):
        assert isinstance(open_.open(str(number), opened())[0], Forward)
    (told,) = open_.open("one more", opened())
    assert told.message.code == "rate_limited"


def test_pictures_that_wait_for_the_worker_have_a_bound():
    def guided(count: int) -> tuple[m.Control, ...]:
        picture = Image(SIDE, SIDE, "gray8", bytes(SIDE * SIDE))
        return tuple(m.Control(kind="line", picture=picture) for _ in range(count))

    waiting = lives(ready=False, most_waiting=2 * SIDE * SIDE)
    canvas = opened(controls=guided(2))
    assert waiting.open("a", canvas) == []
    (told,) = waiting.open("b", opened(controls=guided(1)))
    assert told.message.code == "rate_limited"
    # What it replaces does not count.
    again = m.LiveSettings(job=canvas.job, prompt="again", controls=guided(2))
    assert waiting.change("a", again) == []
    (told,) = waiting.change("a", m.LiveSettings(job=canvas.job, prompt="more", controls=guided(3)))
    assert told.message.code == "rate_limited"
    assert canvas.job not in waiting
