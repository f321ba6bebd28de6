"""What is read, sent and laid, pixel by pixel: a real Krita, a real server, an engine that inverts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "server"))

from harness import ServerProcess

WORKER = (sys.executable, str(Path(__file__).with_name("inverting_worker.py")))
SRGB = "sRGB-elle-V2-srgbtrc.icc"


@pytest.fixture(scope="module")
def exact(krita, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    folder = tmp_path_factory.mktemp("exact") / "velatura"
    server = ServerProcess(folder, worker=WORKER).start()
    try:
        with krita.lasting({"VELATURA_HOME": str(folder)}) as run:
            yield lambda test, script="exact.py", **env: run(script, test, env=env, timeout=150)
    finally:
        server.stop()


# tolerance: steps of 8 bits that Krita's own conversion there and back costs.
@pytest.mark.parametrize(
    ("space", "tolerance"),
    [
        (f"RGBA U8 {SRGB}", 0),
        (f"RGBA U16 {SRGB}", 0),
        ("RGBA U16 default", 1),
        (f"RGBA F16 {SRGB}", 1),
        (f"RGBA F32 {SRGB}", 0),
        ("RGBA F32 default", 1),
        ("GRAYA U8 default", 1),
        ("GRAYA U16 default", 1),
        ("CMYKA U8 default", 15),
        ("CMYKA U16 default", 15),
    ],
)
def test_every_pixel_is_kept_in_the_documents_own_space(exact, space, tolerance):
    outcome = exact("keeps_in_this_space", KT_SPACE=space, KT_TOLERANCE=str(tolerance))
    print(outcome.values)


# tolerance: as above. Half a float more than 8 bits: 512 MB in each of Krita's planes.
@pytest.mark.parametrize(("depth", "tolerance"), [("U8", 0), ("U16", 0), ("F16", 1)])
def test_a_selection_on_a_huge_canvas_costs_what_the_selection_costs(exact, depth, tolerance):
    test = "stays_with_the_selection_on_a_huge_canvas"
    print(exact(test, KT_DEPTH=depth, KT_TOLERANCE=str(tolerance)).values)


@pytest.mark.parametrize("depth", ["U8", "U16"])
def test_in_an_animation_a_layer_is_there_with_the_drawing_that_was_painted(exact, depth):
    exact("keeps_to_the_drawing_that_was_painted", KT_SPACE=f"RGBA {depth} {SRGB}")


def test_a_copy_has_the_recipe_of_a_layer_that_was_kept_from_another_frame(exact):
    exact("a_copy_has_the_recipe_of_a_layer_that_was_kept_from_another_frame")


def test_a_picture_comes_back_to_its_document_while_another_window_is_active(exact):
    exact("comes_back_while_another_window_is_active", "windows.py")


def test_a_closed_window_leaves_no_thread_and_no_connection_and_its_picture_waits(exact):
    exact("ends_what_a_closed_window_had", "windows.py")


def test_the_canvas_is_enlarged_where_no_gl_context_is_current(exact):
    exact("enlarges_where_no_gl_context_is_current")


def test_the_picture_so_far_of_a_larger_canvas_lies_where_it_will(exact):
    exact("shows_the_picture_so_far_over_the_canvas_to_be")


@pytest.mark.parametrize(
    "promise",
    [
        "takes_a_selection_mask_of_the_layer_for_the_selection",
        "takes_a_groups_selection_mask_where_krita_does",
        "says_that_a_layer_is_isolated_before_it_is_sent",
        "paints_over_everything_visible_unless_one_cut_out_is_all_there_is",
        "paints_over_every_kind_of_layer",
        "says_what_to_do_where_a_mask_is_active",
        "gives_a_picture_back_that_a_locked_group_refuses",
    ],
)
def test_sources(exact, promise):
    exact(promise, "sources.py")


@pytest.mark.parametrize(
    "promise",
    [
        "keeps_multiply",
        "keeps_screen",
        "keeps_add",
        "keeps_opacity",
        "keeps_clipping",
        "keeps_soft_paint",
    ],
)
def test_what_is_kept_looks_like_what_was_shown(exact, promise):
    exact(promise, "blending.py")


@pytest.mark.parametrize("space", ["CMYKA U8", "GRAYA U8", "GRAYA U16"])
def test_a_picture_over_the_canvas_has_the_colours_of_the_document(exact, space):
    exact("shows_the_colours_of_the_documents_space", "blending.py", KT_SPACE=space)


def test_guides_are_sent_as_they_are_set_and_come_back(exact):
    exact("sends_guides_as_they_are_set_and_brings_them_back", "guides.py")


@pytest.mark.parametrize(
    "promise",
    [
        "enlarges_the_canvas_by_side_in_one_undo",
        "takes_an_enlarging_back_with_an_undo_at_once",
        "keeps_prompt_and_guides_with_each_picture",
        "shows_what_is_sent_before_the_press",
        "gives_the_canvas_the_keys_back",
        "remembers_the_strength_of_each_action",
        "paints_several_variants_where_that_is_quick",
        "has_the_painters_word_before_the_fields",
    ],
)
def test_choosing(exact, promise):
    exact(promise, "choosing.py")
