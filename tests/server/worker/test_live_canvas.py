"""The live canvas: deltas in their order, key frames, and what adds up to be painted."""

from __future__ import annotations

import numpy as np
import pytest
from live_painting import Easel, opened
from painting import as_image, scenery
from velatura.protocol.messages import LiveFrame
from velatura.protocol.region import Rect
from velatura.server.worker.live.canvas import MOST_UNSENT

WHOLE = Rect(0, 0, 96, 80)


@pytest.fixture
def easel() -> Easel:
    easel = Easel(opened(), scenery())
    easel.key()
    return easel


def frame(easel: Easel, revision: int, base: int, rect: Rect) -> LiveFrame:
    picture = as_image(np.full((rect.height, rect.width, 4), 9, np.uint8))
    return LiveFrame(
        job=easel.canvas.job, revision=revision, base=base, x=rect.x, y=rect.y, picture=picture
    )


def test_every_rectangle_is_applied_in_order(easel):
    easel.brush(Rect(1, 2, 30, 40))
    easel.brush(Rect(20, 20, 76, 60), (1, 2, 3, 4))
    assert (easel.canvas.read(WHOLE) == easel.picture).all()
    task = easel.canvas.take()
    assert (task.revision, task.rect, task.whole) == (3, WHOLE, True)
    assert easel.canvas.take() is None


def test_changes_add_up_to_what_really_differs(easel):
    easel.canvas.take()
    easel.brush(Rect(10, 10, 5, 5))
    easel.brush(Rect(10, 10, 20, 30), (200, 30, 60, 255))
    task = easel.canvas.take()
    assert task.rect == Rect(10, 10, 20, 30)
    easel.brush(Rect(10, 10, 20, 30))
    task = easel.canvas.take()
    assert (task.revision, task.rect, task.whole) == (4, None, False)


def test_a_wrong_base_asks_for_a_key_frame_once_and_changes_nothing(easel):
    canvas = easel.canvas
    before = canvas.read(WHOLE)
    canvas.apply(frame(easel, 9, 7, Rect(0, 0, 4, 4)))
    canvas.apply(frame(easel, 10, 9, Rect(0, 0, 4, 4)))
    assert canvas.has_work
    assert canvas.take_key_frame()
    assert not canvas.take_key_frame()
    assert canvas.take() is None
    assert (canvas.read(WHOLE) == before).all()
    canvas.apply(frame(easel, 11, 10, Rect(0, 0, 4, 4)))
    assert not canvas.has_work
    easel.revision = 20
    easel.brush(Rect(3, 3, 2, 2))  # on a base that the canvas does not have
    easel.key()
    task = canvas.take()
    assert (task.revision, task.whole) == (22, True)
    # What was lost with the canvas waits still.
    assert task.rect == WHOLE
    assert (canvas.read(WHOLE) == easel.picture).all()


@pytest.mark.parametrize(
    ("base", "rect"),
    [
        (1, Rect(90, 0, 7, 1)),
        (1, Rect(0, 80, 1, 1)),
        (0, Rect(0, 0, 95, 80)),
        (0, Rect(1, 0, 96, 80)),
    ],
)
def test_a_frame_that_does_not_fit_the_area_asks_for_a_key_frame(easel, base, rect):
    easel.canvas.apply(frame(easel, 2, base, rect))
    assert easel.canvas.take_key_frame()


def test_a_first_frame_that_is_no_key_frame_asks_for_one():
    easel = Easel(opened(), scenery())
    assert not easel.canvas.has_work
    easel.brush(Rect(0, 0, 2, 2))
    assert easel.canvas.take_key_frame()


def test_a_client_that_does_not_read_is_not_painted_for(easel):
    for number in range(MOST_UNSENT):
        easel.brush(Rect(number, 0, 1, 1))
        assert easel.canvas.take() is not None
        easel.canvas.finished()
    easel.brush(Rect(50, 50, 2, 2))
    easel.brush(Rect(60, 60, 2, 2))
    assert not easel.canvas.has_work
    assert easel.canvas.take() is None
    easel.canvas.sent()
    assert easel.canvas.take().rect == Rect(50, 50, 12, 12)


def test_what_is_given_up_waits_again(easel):
    task = easel.canvas.take()
    easel.brush(Rect(0, 0, 1, 1))
    easel.canvas.give_up(task)
    again = easel.canvas.take()
    assert (again.revision, again.rect, again.whole) == (2, WHOLE, True)


def test_at_most_every_second_painting_is_given_up(easel):
    canvas = easel.canvas
    task = canvas.take()
    assert not canvas.overtaken(1, 4)
    easel.brush(Rect(0, 0, 1, 1))
    assert canvas.overtaken(1, 4)
    assert not canvas.overtaken(2, 4)
    canvas.give_up(task)
    canvas.take()
    easel.brush(Rect(0, 0, 2, 1))
    assert not canvas.overtaken(1, 4)
    canvas.finished()
    canvas.sent()
    canvas.take()
    easel.brush(Rect(0, 0, 3, 1))
    assert canvas.overtaken(1, 4)


def test_a_closed_canvas_is_overtaken_at_any_step(easel):
    easel.canvas.take()
    easel.canvas.close()
    assert easel.canvas.overtaken(4, 4)
    assert easel.canvas.has_work
    assert easel.canvas.take() is None
