"""A picture over the canvas is seen where it belongs, and is no part of the document."""

from __future__ import annotations


def test_it_follows_zoom_pan_rotation_and_mirror(krita):
    krita.run("overlay.py", "follows_zoom_pan_rotation_and_mirror", shared=True)


def test_history_layers_and_files_know_nothing_of_it(krita, tmp_path):
    env = {"KT_SAVES": str(tmp_path)}
    krita.run("overlay.py", "is_no_part_of_the_picture", shared=True, env=env)


def test_it_lets_the_pen_through_and_makes_way_for_it(krita):
    krita.run("overlay.py", "lets_the_pen_through_and_makes_way_for_it", shared=True)


def test_it_makes_way_for_a_tablets_pen(krita):
    krita.run("overlay.py", "makes_way_for_a_tablets_pen", shared=True)


def test_it_is_seen_over_its_own_document_only_and_ends_with_the_view(krita):
    krita.run("overlay.py", "belongs_to_its_document", shared=True)


def test_it_lies_on_the_pixels_of_a_screen_at_200_percent(krita):
    with krita.start(env={"QT_SCALE_FACTOR": "2"}) as running:
        running.run("overlay.py", "follows_zoom_pan_rotation_and_mirror", timeout=120)
