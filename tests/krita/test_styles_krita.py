"""A style is chosen in the docker of a real Krita, and the recipe names it."""

from __future__ import annotations


def test_a_style_that_was_just_written_is_offered_paints_and_stands_in_the_recipe(paint):
    paint("paints_in_a_style_that_was_just_written", "styles.py")
