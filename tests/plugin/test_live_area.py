"""Live paints the selection, a pinned frame or the view; never silently something else."""

from __future__ import annotations

import pytest
from velatura.krita_plugin.live_area import LiveChoice, Scope, framed
from velatura.krita_plugin.state import LAYER
from velatura.protocol.region import Rect, Size

CANVAS = Size(4000, 3000)
SEEN = Rect(1000, 1000, 1200, 900)
SELECTED = Rect(1500, 1500, 300, 200)
MOST = 1024 * 1024


def area(scope, selection=None, visible=SEEN, **choice):
    return scope.area(CANVAS, selection, visible, LiveChoice(**choice), 512, MOST)


def test_the_selection_is_painted_with_its_surroundings():
    found = area(Scope(), SELECTED)
    assert found is not None
    assert found.contains(SELECTED)
    assert found.width * found.height <= MOST


def test_surroundings_are_left_out_before_a_selection_is_too_large():
    selected = Rect(100, 100, 1000, 1000)
    found = area(Scope(), selected)
    assert found is not None
    assert found.contains(selected)
    assert found.width * found.height <= MOST


def test_a_selection_above_the_limit_is_not_made_smaller():
    assert area(Scope(), Rect(0, 0, 2000, 2000)) == Rect(0, 0, 2000, 2000)


def test_without_a_selection_the_middle_of_the_view_is_painted():
    assert area(Scope()) == Rect(1344, 1194, 512, 512)
    assert area(Scope(), side=256) == Rect(1472, 1322, 256, 256)


def test_the_frame_follows_once_the_view_stands_still():
    scope, moved = Scope(), Rect(0, 0, 1200, 900)
    first = area(scope)
    assert area(scope, visible=moved) == first
    assert area(scope, visible=moved) == framed(moved, 512)


def test_a_pinned_frame_stays():
    scope = Scope()
    scope.pinned = Rect(10, 20, 512, 512)
    assert area(scope) == area(scope, visible=Rect(0, 0, 9, 9)) == scope.pinned


def test_a_frame_ends_where_a_cropped_canvas_does():
    scope = Scope()
    scope.pinned = Rect(0, 0, 512, 512)
    assert scope.area(Size(100, 80), None, SEEN, LiveChoice(), 512, MOST) == Rect(0, 0, 100, 80)
    scope.pinned = Rect(200, 200, 64, 64)
    assert scope.area(Size(100, 80), None, SEEN, LiveChoice(), 512, MOST) is None


def test_nothing_takes_the_place_of_a_lost_selection_until_the_painter_says_so():
    scope = Scope()
    area(scope, SELECTED)
    assert area(scope) is None
    assert scope.lost
    assert area(scope) is None
    scope.go_on()
    assert area(scope) == Rect(1344, 1194, 512, 512)
    assert not scope.lost


def test_with_nothing_to_follow_there_is_no_area():
    assert area(Scope(), follow=False) is None
    assert area(Scope(), visible=None) is None


def test_a_choice_survives_being_remembered():
    choice = LiveChoice(30, LAYER, False, 1024, 9, 6, 70)
    assert LiveChoice.from_json(choice.to_json()) == choice


@pytest.mark.parametrize(
    "damaged", [None, [], {"strength": 0}, {"side": 4096}, {"steps": "four"}, {"paint_from": 3}]
)
def test_damaged_memory_gives_first_values(damaged):
    assert LiveChoice.from_json(damaged) == LiveChoice()
    assert LiveChoice().strength == 40
