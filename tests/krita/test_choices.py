"""What a painter chooses beside the prompt: edges, context, guides, recipes; all in a real Krita."""

from __future__ import annotations


def choices(paint, test):
    return paint(test, "choices.py")


def test_the_layer_ends_as_the_soft_edge_says(paint):
    choices(paint, "ends_the_layer_with_the_soft_edge_asked_for")


def test_a_guide_is_traced_and_is_no_part_of_the_source_even_while_visible(paint):
    choices(paint, "traces_a_guide_and_leaves_it_out_of_the_source")


def test_a_reopened_recipe_paints_the_same_pixels_from_a_copy_and_from_the_file(paint):
    choices(paint, "paints_the_same_pixels_from_a_reopened_recipe")


def test_a_recipe_is_reopened_from_a_layer_that_was_moved(paint):
    choices(paint, "reopens_the_recipe_of_a_layer_that_was_moved")


def test_what_reopening_set_is_said_and_goes_with_the_next_picture(paint):
    choices(paint, "what_reopening_set_goes_with_the_next_picture")


def test_the_white_of_an_enlarged_canvas_is_painted_over(paint):
    choices(paint, "expands_over_the_white_of_an_enlarged_canvas")


def test_the_keys_work_while_the_docker_is_hidden(paint):
    choices(paint, "works_by_keys_alone_without_the_docker")


def test_a_lora_is_chosen_from_the_menu_and_painted_with(paint):
    paint("wears_a_lora_from_the_menu", "addons.py")


def test_models_of_other_families_are_chosen_from_the_list_and_paint(paint):
    paint("paints_with_other_families", "families.py")


def test_a_saved_picture_says_what_made_it_and_paints_the_same_again(paint):
    paint("saves_a_picture_and_paints_it_again_from_the_file", "png_files.py")


def test_numbers_a_derived_guide_and_an_embedding_stand_in_the_layers_recipe(paint):
    paint("keeps_all_that_was_chosen_in_the_recipe", "advanced.py")
