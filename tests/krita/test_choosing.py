"""What is painted over, and what the docker says about it before the press; in a real Krita."""

from __future__ import annotations


def choosing(paint, test):
    return paint(test, "choosing.py")


def test_a_selection_mask_on_the_layer_is_the_selection(paint):
    choosing(paint, "takes_a_selection_mask_of_the_layer_for_the_selection")


def test_the_docker_says_that_a_layer_is_isolated_before_it_is_sent(paint):
    choosing(paint, "says_that_a_layer_is_isolated_before_it_is_sent")


def test_expand_enlarges_the_canvas_by_side_in_one_undo(paint):
    choosing(paint, "enlarges_the_canvas_by_side_in_one_undo")


def test_a_layer_with_transparency_is_painted_over_and_an_empty_one_offers_the_other(paint):
    choosing(paint, "paints_over_the_layer_that_has_transparency_unless_something_is_selected")


def test_groups_vectors_fills_clipped_and_locked_layers_are_painted_over(paint):
    choosing(paint, "paints_over_every_kind_of_layer_or_says_what_to_do")


def test_prompt_and_guides_belong_to_the_picture_and_its_file(paint):
    choosing(paint, "keeps_prompt_and_guides_with_each_picture")


def test_the_docker_shows_what_is_sent_before_the_press(paint):
    choosing(paint, "shows_what_is_sent_before_the_press")


def test_after_a_press_and_after_escape_the_canvas_has_the_keys(paint):
    choosing(paint, "gives_the_canvas_the_keys_back")
