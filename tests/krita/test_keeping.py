"""What becomes of a finished picture, by taps on the docker's real widgets in a real Krita."""

from __future__ import annotations

import pytest

PROMISES = [
    "looks_and_compares_without_touching_the_document",
    "adds_further_presses_to_the_strip",
    "keeps_several_as_one_group",
    "keeps_under_a_mask",
    "stands_for_the_layer_it_was_painted_from",
    "reopening_hides_the_old_and_lays_the_new_above",
    "remembers_in_the_file_what_was_not_kept",
    "remembers_no_more_than_the_settings_allow",
    "a_file_opened_again_has_the_picture_in_its_history",
    "keeps_in_a_deep_document",
    "shows_nothing_after_keep_until_a_thumbnail_is_tapped",
    "is_put_away_by_the_first_stroke_and_by_esc",
    "stays_while_the_canvas_is_moved",
    "every_press_brings_keep_into_view",
]


@pytest.mark.parametrize("promise", PROMISES)
def test_a_finished_picture(paint, promise):
    paint(promise, "keeping.py")


@pytest.mark.parametrize(
    "promise",
    [
        "says_that_there_were_strokes_meanwhile",
        "takes_no_layer_of_ours_for_a_stroke",
        "takes_no_live_layer_for_a_stroke",
        "takes_no_layer_shown_or_hidden_for_a_stroke",
        "takes_no_isolated_layer_for_a_stroke",
    ],
)
def test_strokes(paint, promise):
    paint(promise, "strokes.py")


@pytest.mark.parametrize(
    "promise", ["of_a_fill", "of_a_refined_selection", "of_an_expansion_to_each_side"]
)
def test_the_picture_so_far_lies_where_its_layer_will(paint, promise):
    paint(promise, "previews.py")
