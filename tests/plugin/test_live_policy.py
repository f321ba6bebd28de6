"""Live painting sends what changed, when it changed, and nothing else."""

from __future__ import annotations

import random

import pytest
from velatura.krita_plugin.live import (
    LOOK_EVERY,
    MOST_UNANSWERED,
    NOTHING_SELECTED,
    OWN_LAYER,
    OWN_VISIBLE,
    PAUSED,
    SETTLING,
    Close,
    LivePolicy,
    Open,
    changed_rect,
    cut,
    source,
)
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect

AREA = Rect(10, 20, 8, 6)
SETTLED = sum(SETTLING) + 0.1
FIRST, SECOND = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


class Desk:
    """A document's area, a fake clock, and what the policy would send."""

    def __init__(self, **options: int) -> None:
        self.policy = LivePolicy(**options)
        self.now = 100.0
        self.pixels = bytearray(4 * AREA.width * AREA.height)
        self.sent: list[m.LiveFrame] = []
        self.looks = 0

    def open(self) -> Desk:
        self.policy.place(AREA, FIRST)
        self.run(SETTLED)
        self.answer()
        self.looks = 0
        return self

    def dab(self, x: int, y: int, value: int) -> None:
        self.pixels[4 * (AREA.width * y + x)] = value

    def run(self, seconds: float) -> None:
        """As a timer would: look whenever a look is due."""
        until = self.now + seconds
        while (wait := self.policy.next_look(self.now)) is not None and self.now + wait <= until:
            self.now += wait
            self.looks += 1
            frame = self.policy.look(self.now, bytes(self.pixels))
            if frame is not None:
                self.sent.append(frame)
        self.now = until

    def answer(self, revision: int | None = None, job: str = FIRST) -> bool:
        revision = self.sent[-1].revision if revision is None else revision
        return self.policy.answered(
            m.LiveResult(
                job=job, revision=revision, x=0, y=0, picture=Image(1, 1, "rgba8", bytes(4))
            )
        )


def test_the_first_frame_is_the_whole_area():
    desk = Desk()
    assert desk.policy.place(AREA, FIRST) == (Open(FIRST, AREA),)
    desk.run(1)
    (frame,) = desk.sent
    assert (frame.revision, frame.base, frame.x, frame.y) == (1, 0, 0, 0)
    assert bytes(frame.picture.data) == bytes(desk.pixels)


def test_nothing_changed_sets_no_timer_and_sends_nothing():
    desk = Desk().open()
    assert desk.policy.next_look(desk.now) is None
    desk.dab(1, 1, 9)
    desk.run(60)
    assert len(desk.sent) == 1
    assert desk.looks == 0


def test_what_krita_draws_after_it_told_of_a_change_is_seen():
    desk = Desk().open()
    desk.policy.touched()
    desk.run(sum(SETTLING[:-1]))
    assert len(desk.sent) == 1
    desk.dab(2, 1, 9)
    desk.run(2 * SETTLED)
    assert [frame.x for frame in desk.sent[1:]] == [2]
    assert desk.policy.next_look(desk.now) is None


def test_the_historys_signal_sends_the_changed_rectangle_once():
    desk = Desk().open()
    desk.dab(2, 3, 9)
    desk.dab(4, 4, 9)
    desk.policy.touched()
    desk.policy.touched()
    desk.run(1)
    frame = desk.sent[-1]
    assert (frame.revision, frame.base) == (2, 1)
    assert (frame.x, frame.y, frame.picture.width, frame.picture.height) == (2, 3, 3, 2)
    assert len(desk.sent) == 2


def test_a_signal_without_a_change_of_pixels_sends_nothing():
    desk = Desk().open()
    desk.policy.touched()
    desk.run(60)
    assert (len(desk.sent), desk.looks) == (1, len(SETTLING))
    assert desk.policy.next_look(desk.now) is None


def test_unfinished_strokes_are_seen_while_the_pen_is_down():
    desk = Desk().open()
    desk.policy.pen(True)
    for number in range(4):
        desk.dab(number, 0, 7)
        desk.run(LOOK_EVERY)
        desk.answer()
    assert len(desk.sent) == 5
    desk.policy.pen(False)
    desk.dab(7, 5, 7)
    desk.run(SETTLED)
    assert (desk.sent[-1].x, desk.sent[-1].y) == (7, 5)
    assert desk.policy.next_look(desk.now) is None


def test_a_resting_pen_costs_looks_and_no_frames():
    desk = Desk().open()
    desk.policy.pen(True)
    desk.run(1)
    assert len(desk.sent) == 1
    assert 1 / LOOK_EVERY - 2 <= desk.looks <= 1 / LOOK_EVERY + 3


def test_at_most_two_frames_are_unanswered_and_the_newest_pixels_follow():
    desk = Desk().open()
    desk.policy.pen(True)
    for number in range(30):
        desk.dab(number % 8, number // 8, number + 1)
        desk.run(LOOK_EVERY)
    assert desk.sent[-1].revision - 1 == MOST_UNANSWERED
    assert desk.policy.next_look(desk.now) is None
    desk.answer()
    desk.run(LOOK_EVERY)
    frame = desk.sent[-1]
    assert (frame.revision, frame.base) == (4, 3)
    # All that happened meanwhile, in one rectangle.
    assert (frame.y, frame.y + frame.picture.height) == (0, 4)


def test_a_result_is_shown_only_if_nothing_newer_was():
    desk = Desk().open()
    desk.dab(0, 0, 1)
    desk.policy.touched()
    desk.run(1)
    assert desk.answer(2)
    assert not desk.answer(1)
    assert desk.answer(2)  # new settings paint the same revision again
    assert not desk.answer(3, job=SECOND)


def test_a_key_frame_is_sent_when_the_server_asks():
    desk = Desk().open()
    desk.dab(0, 0, 1)
    desk.policy.touched()
    desk.run(SETTLED)
    desk.policy.key_frame(SECOND)
    assert desk.policy.next_look(desk.now) is None
    desk.policy.key_frame(FIRST)
    desk.run(1)
    frame = desk.sent[-1]
    assert (frame.revision, frame.base, frame.picture.width) == (3, 0, AREA.width)


def test_when_the_selection_is_lost_live_waits_and_says_so():
    desk = Desk().open()
    assert desk.policy.place(None, SECOND) == (Close(FIRST),)
    assert desk.policy.sentence == NOTHING_SELECTED
    desk.policy.touched()
    desk.policy.pen(True)
    desk.run(1)
    assert len(desk.sent) == 1
    assert desk.policy.place(None, SECOND) == ()
    assert desk.policy.place(AREA, SECOND) == (Open(SECOND, AREA),)
    assert desk.policy.sentence == ""


def test_a_huge_part_is_never_sent():
    desk = Desk(most_pixels=47)
    assert desk.policy.place(AREA, FIRST) == ()
    assert "8 x 6 pixels" in desk.policy.sentence
    desk.run(1)
    assert not desk.sent


def test_another_area_opens_another_canvas():
    desk = Desk().open()
    moved = Rect(11, 20, 8, 6)
    assert desk.policy.place(AREA, SECOND) == ()
    assert desk.policy.place(moved, SECOND) == (Close(FIRST), Open(SECOND, moved))
    desk.run(1)
    assert (desk.sent[-1].job, desk.sent[-1].revision, desk.sent[-1].base) == (SECOND, 1, 0)


def test_a_pause_truly_stops():
    desk = Desk().open()
    assert desk.policy.pause() == (Close(FIRST),)
    assert desk.policy.place(AREA, SECOND) == ()
    assert desk.policy.sentence == PAUSED
    desk.policy.pen(True)
    desk.run(5)
    assert desk.looks == 0
    desk.policy.resume()
    assert desk.policy.place(AREA, SECOND) == (Open(SECOND, AREA),)


def test_settings_are_sent_when_they_change():
    desk = Desk()
    assert not desk.policy.takes("a")
    desk.open()
    assert desk.policy.takes("a")
    assert not desk.policy.takes("a")
    assert desk.policy.takes("b")
    desk.policy.ended()
    desk.policy.place(AREA, SECOND)
    assert desk.policy.takes("b")


@pytest.mark.parametrize(
    ("layer", "visible", "sentence"),
    [
        (None, ["sketch"], ""),
        (None, ["sketch", "kept"], OWN_VISIBLE),
        ("sketch", ["sketch", "kept"], ""),
        ("kept", ["kept"], OWN_LAYER),
    ],
)
def test_live_never_reads_its_own_layers(layer, visible, sentence):
    assert source(layer, visible, {"kept"}) == sentence


def test_the_changed_rectangle_is_the_smallest():
    chance = random.Random(1)
    for _ in range(300):
        width, height = chance.randint(1, 9), chance.randint(1, 9)
        before = chance.randbytes(4 * width * height)
        after = bytearray(before)
        places = [
            (chance.randrange(width), chance.randrange(height)) for _ in range(chance.randint(0, 4))
        ]
        for x, y in places:
            after[4 * (width * y + x) + chance.randrange(4)] ^= 1 << chance.randrange(8)
        changed = [
            (x, y)
            for y in range(height)
            for x in range(width)
            if before[4 * (width * y + x) :][:4] != after[4 * (width * y + x) :][:4]
        ]
        found = changed_rect(before, bytes(after), width, height)
        if not changed:
            assert found is None
            continue
        xs, ys = [x for x, _ in changed], [y for _, y in changed]
        assert found == Rect(min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
        rows = [
            bytes(after)[4 * (width * y + found.x) :][: 4 * found.width]
            for y in range(found.y, found.bottom)
        ]
        assert cut(bytes(after), width, found) == b"".join(rows)


def test_a_canvas_that_the_server_lost_is_sent_again_whatever_was_not_answered():
    desk = Desk().open()
    desk.policy.pen(True)
    for number in range(MOST_UNANSWERED):
        desk.dab(number, 0, 7)
        desk.run(LOOK_EVERY)
    assert desk.policy.next_look(desk.now) is None, "so many are on their way"
    before = len(desk.sent)
    desk.policy.key_frame(SECOND)
    assert desk.policy.next_look(desk.now) is None, "another canvas's"
    desk.policy.key_frame(FIRST)
    assert not desk.policy.is_waiting
    desk.run(LOOK_EVERY)
    (frame,) = desk.sent[before:]
    assert (frame.base, frame.picture.width, frame.picture.height) == (0, AREA.width, AREA.height)
    assert desk.policy.is_waiting
