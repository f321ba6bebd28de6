"""A picture over the canvas is seen where it belongs, and is no part of the document."""

from __future__ import annotations


def test_it_follows_zoom_pan_rotation_and_mirror(krita):
    krita.run("overlay.py", "follows_zoom_pan_rotation_and_mirror", shared=True)
