"""Live painting in a real Krita, through a real server whose engine answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "server"))

from harness import ServerProcess


@pytest.fixture(scope="module")
def live(krita, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    server = ServerProcess(tmp_path_factory.mktemp("live") / "velatura").start()
    try:
        with krita.lasting({"VELATURA_HOME": str(server.folder)}) as run:
            yield lambda test: run("live.py", test, timeout=150)
    finally:
        server.stop()


def test_the_preview_follows_strokes_and_undo_and_off_leaves_nothing(live):
    live("follows_the_brush")


def test_an_unfinished_stroke_counts_and_the_overlay_makes_way_for_the_pen(live):
    live("shows_an_unfinished_stroke")


def test_keep_makes_one_layer_with_a_recipe(live):
    live("keeps_one_layer")


def test_live_goes_on_after_keeping_and_never_reads_what_it_kept(live):
    live("keeps_and_goes_on")


def test_nothing_changed_sends_nothing(live):
    live("sends_nothing_when_nothing_changed")


def test_a_lost_selection_stops_live_until_the_painter_says_so(live):
    live("waits_when_the_selection_is_lost")


def test_what_is_kept_never_exceeds_the_selection(live):
    live("keeps_inside_the_selection")


def test_a_pause_truly_stops(live):
    live("pauses_truly")


def test_new_settings_apply_to_the_next_picture(live):
    live("new_settings_apply_to_the_next_picture")


def test_a_layer_is_painted_live_inside_its_outline(live):
    live("paints_from_the_current_layer_inside_its_outline")


def test_live_works_from_keys_in_canvas_only_mode(live):
    live("works_from_keys_in_canvas_only_mode")


def test_the_picture_so_far_lies_over_the_canvas_cut_to_the_selection(live):
    live("shows_the_picture_so_far_where_it_will_lie")
