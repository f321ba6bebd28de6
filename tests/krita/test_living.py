"""The docker in daily use: keys, canvas-only mode, a small screen, errors; all in a real Krita."""

from __future__ import annotations

import pytest

PROMISES = [
    "does_everything_by_keys_in_canvas_only_mode",
    "hides_the_preview_by_escape_and_never_cancels",
    "says_an_error_in_the_docker_and_tries_again",
    "says_the_place_in_the_queue",
    "keeps_within_260_by_480_with_keep_in_sight",
    "opens_kritas_shortcuts_at_our_actions",
]


@pytest.mark.parametrize("promise", PROMISES)
def test_the_docker(paint, promise):
    paint(promise, "living.py")
