"""A painter's own styles and models come into a real Krita while it runs."""

from __future__ import annotations


def test_a_style_that_was_just_written_is_offered_paints_and_stands_in_the_recipe(paint):
    paint("paints_in_a_style_that_was_just_written", "styles.py")


def test_the_models_of_a_folder_that_was_added_appear_in_the_docker(paint):
    paint("adds_a_folder_with_models", "styles.py")
