"""krita_plugin/document.py against a real Krita: what is read, added, undone and kept."""

from __future__ import annotations

import pytest

PROMISES = [
    "projection_is_the_pixels_painted",
    "selection_is_read_with_its_soft_values",
    "a_selection_beyond_the_canvas_is_cut_to_it",
    "a_layer_goes_in_and_out_with_one_undo",
    "a_layer_goes_above_the_one_named",
    "a_layer_is_read_with_its_mask_and_a_group_with_its_members",
    "a_layer_is_left_out_without_being_hidden",
    "a_selection_is_put_back_with_its_values",
    "a_copy_of_a_layer_has_the_same_fingerprint_until_it_is_painted_on",
    "annotations_are_saved_with_the_picture",
    "a_document_is_found_again_and_known_to_be_closed",
    "the_canvas_grows_on_every_side",
    "wrong_sizes_are_refused",
]
SPACES = ["sixteen_bit", "sixteen_bit_srgb", "floating_point", "half_float", "gray", "cmyk"]


@pytest.mark.parametrize("promise", PROMISES)
def test_document(krita, promise):
    krita.run("document.py", promise, shared=True)


@pytest.mark.parametrize("space", SPACES)
def test_a_document_in_another_space(krita, space):
    krita.run("document_spaces.py", space, shared=True)


def test_what_reading_and_adding_cost_is_reported(krita):
    values = krita.run("document.py", "timings", shared=True).values
    assert values.keys() == {"projection", "layer", "add", "selection", "layers"}
    print("milliseconds at 1024 x 1024:", values)


def test_what_leaving_a_layer_out_costs_is_reported(krita):
    values = krita.run("document.py", "leaving_out_costs", shared=True).values
    assert values.keys() == {"side_1024", "side_4096"}
    print("milliseconds:", values)
