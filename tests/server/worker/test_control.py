"""Control maps: the painter's lines in whatever polarity, and maps derived from pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from velatura.models.errors import ModelError
from velatura.protocol.messages import CONTROL_KINDS
from velatura.server.worker.job import control
from velatura.server.worker.job.control import control_map

LINES = ("canny", "line", "scribble", "soft_edge")
DRAWN = (*LINES, "straight")
COLOURED = ("depth", "normal", "pose", "segmentation")
# What is transparent in a guide becomes this.
PAPERS = {
    "depth": (0, 0, 0),
    "segmentation": (0, 0, 0),
    "pose": (0, 0, 0),
    "normal": (128, 128, 255),
    "tile": (255, 255, 255),
    "inpaint": (255, 255, 255),
}
SIZE = 96


def drawing() -> np.ndarray:
    """A smooth drawing, white on black: (SIZE, SIZE) uint8 with antialiased strokes."""
    plane = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(plane, (48, 48), 30, 255, 2, cv2.LINE_AA)
    cv2.line(plane, (5, 80), (90, 12), 255, 1, cv2.LINE_AA)
    return plane


def on_paper(plane: np.ndarray, paper: tuple, ink: tuple) -> np.ndarray:
    cover = plane[..., None].astype(np.float64) / 255
    return np.round(np.array(paper) * (1 - cover) + np.array(ink) * cover).astype(np.uint8)


def on_nothing(plane: np.ndarray, ink: tuple) -> np.ndarray:
    return np.dstack([np.full((*plane.shape, 3), ink, np.uint8), plane])


def opaque(picture: np.ndarray) -> np.ndarray:
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


BLACK, WHITE, RED, YELLOW = (0, 0, 0), (255, 255, 255), (220, 0, 0), (255, 230, 0)
GUIDES = {
    "black on white": lambda p: opaque(on_paper(p, WHITE, BLACK)),
    "black on transparent": lambda p: on_nothing(p, BLACK),
    "white on transparent": lambda p: on_nothing(p, WHITE),
    "red on transparent": lambda p: on_nothing(p, RED),
    "white on black": lambda p: opaque(on_paper(p, BLACK, WHITE)),
    "black on white without alpha": lambda p: on_paper(p, WHITE, BLACK),
    "black on white in grey": lambda p: 255 - p,
    "white on black in grey": lambda p: p,
    "yellow on white": lambda p: opaque(on_paper(p, WHITE, YELLOW)),
    "black on ivory": lambda p: opaque(on_paper(p, (240, 230, 210), BLACK)),
}


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("guide", GUIDES)
def test_lines_become_white_on_black_whichever_way_they_were_drawn(kind, guide):
    plane = drawing()
    made = control_map(kind, GUIDES[guide](plane), derived=False)
    assert made.shape == (SIZE, SIZE, 3)
    assert made.dtype == np.uint8
    # "Yellow" has a blue of 0, "red" an alpha like the rest: all strokes stand out fully.
    assert np.abs(made.astype(int) - plane[..., None]).max() <= 2


@pytest.mark.parametrize("kind", DRAWN)
def test_a_sheet_of_paper_with_lines_that_covers_part_of_the_layer_is_inverted_inside_it(kind):
    guide = np.zeros((SIZE, SIZE, 4), np.uint8)
    guide[10:60, 10:60] = opaque(on_paper(drawing(), WHITE, BLACK))[10:60, 10:60]
    made = control_map(kind, guide, derived=False)
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[10:60, 10:60] = drawing()[10:60, 10:60]
    assert np.abs(made.astype(int) - expected[..., None]).max() <= 2


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("level", [0, 255])
def test_an_empty_guide_is_black(kind, level):
    blank = np.full((SIZE, SIZE, 3), level, np.uint8)
    assert not control_map(kind, blank, derived=False).any()
    assert not control_map(kind, np.zeros((SIZE, SIZE, 4), np.uint8), derived=False).any()


@pytest.mark.parametrize("kind", PAPERS)
def test_a_ready_map_passes_as_it_is_and_transparency_becomes_the_kinds_ground(kind):
    rng = np.random.default_rng(1)
    ready = rng.integers(0, 100, (SIZE, SIZE, 3), dtype=np.uint8)
    assert np.array_equal(control_map(kind, ready, derived=False), ready)
    assert np.array_equal(control_map(kind, opaque(ready), derived=False), ready)
    paper = np.array(PAPERS[kind])
    clear = np.dstack([ready, np.zeros((SIZE, SIZE), np.uint8)])
    assert (control_map(kind, clear, derived=False) == paper).all()
    half = np.dstack([ready, np.full((SIZE, SIZE), 128, np.uint8)])
    flattened = control_map(kind, half, derived=False).astype(float)
    assert np.abs(flattened - (ready * 128.0 + paper * 127.0) / 255).max() <= 0.51


LIMBS = ((255, 0, 0), (0, 255, 85), (85, 0, 255), (153, 92, 0))


@pytest.mark.parametrize("paper", ["black", "transparent", "white", "ivory"])
def test_a_pose_drawn_on_any_paper_is_a_pose_on_black(paper):
    cover = np.zeros((SIZE, SIZE), np.float64)
    colours = np.zeros((SIZE, SIZE, 3), np.uint8)
    for number, colour in enumerate(LIMBS):
        limb = np.zeros((SIZE, SIZE), np.uint8)
        cv2.line(limb, (12 + 20 * number, 10), (20 + 20 * number, 80), 255, 3, cv2.LINE_AA)
        cover = np.maximum(cover, limb / 255)
        colours[limb > 0] = colour
    expected = colours * cover[..., None]
    if paper == "transparent":
        guide = np.dstack([colours, np.rint(cover * 255).astype(np.uint8)])
    else:
        ground = {"black": BLACK, "white": WHITE, "ivory": (240, 230, 210)}[paper]
        guide = opaque(np.rint(expected + (1 - cover[..., None]) * ground).astype(np.uint8))
    made = control_map("pose", guide, derived=False)
    assert np.abs(made - expected).max() <= (2 if paper != "ivory" else 45)
    assert not made[cover == 0].any()


@pytest.mark.parametrize("kind", CONTROL_KINDS)
def test_the_callers_picture_is_left_alone(kind):
    guide = on_nothing(drawing(), BLACK)
    before = guide.copy()
    control_map(kind, guide, derived=False)
    assert np.array_equal(guide, before)


# --- derived --------------------------------------------------------------------------------------


def scene(size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """A disc and a box on a plain ground, and where their borders are: (S, S) bool."""
    labels = np.zeros((size, size), np.uint8)
    cv2.circle(labels, (size // 3, size // 3), size // 6, 1, -1)
    cv2.rectangle(labels, (size // 2, size // 2), (size - size // 8, size - size // 6), 2, -1)
    picture = np.array([(90, 140, 90), (200, 60, 40), (40, 50, 120)], np.uint8)[labels]
    border = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return picture, border


def near(plane: np.ndarray, pixels: int) -> np.ndarray:
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2)
    return cv2.dilate(plane.astype(np.uint8), brush) > 0


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("size", [128, 256, 768])
def test_a_derived_map_draws_the_borders_and_nothing_else(kind, size):
    picture, border = scene(size)
    made = control_map(kind, picture, derived=True)
    assert made.shape == picture.shape
    assert made.dtype == np.uint8
    drawn = made[..., 0] > 60
    reach = max(2, size // 64)
    assert (near(drawn, reach) & border).sum() / border.sum() > 0.9
    assert (near(border, reach) & drawn).sum() / drawn.sum() > 0.9


@pytest.mark.parametrize("kind", LINES)
def test_a_plain_picture_has_no_lines_and_paint_grain_makes_none(kind):
    rng = np.random.default_rng(2)
    grain = np.clip(128 + rng.normal(0, 4, (256, 256, 3)), 0, 255).astype(np.uint8)
    assert not control_map(kind, np.full((64, 64, 3), 128, np.uint8), derived=True).any()
    assert (control_map(kind, grain, derived=True) > 60).mean() < 0.001


def test_straight_lines_are_found_and_curves_are_not():
    picture = np.full((256, 256, 3), 200, np.uint8)
    cv2.rectangle(picture, (40, 60), (200, 180), (40, 40, 90), -1)
    made = control_map("straight", picture, derived=True)
    border = np.zeros((256, 256), np.uint8)
    cv2.rectangle(border, (40, 60), (200, 180), 255, 1)
    assert (near(made[..., 0] > 60, 3) & (border > 0)).sum() / (border > 0).sum() > 0.85
    assert not (made[..., 0] > 60)[~near(border > 0, 4)].any()
    round_one = np.full((256, 256, 3), 200, np.uint8)
    cv2.circle(round_one, (128, 128), 24, (40, 40, 90), -1, cv2.LINE_AA)
    curved = control_map("straight", round_one, derived=True)
    assert (curved > 60).sum() < 0.5 * (made > 60).sum()


def test_a_tile_map_keeps_shapes_without_detail_and_an_inpaint_map_is_the_picture():
    picture, _ = scene()
    noisy = (picture + np.random.default_rng(0).integers(0, 30, picture.shape)).astype(np.uint8)
    soft = control_map("tile", noisy, derived=True)
    assert soft.shape == noisy.shape
    assert np.abs(soft.astype(int) - noisy).mean() < 15
    detail = [cv2.Laplacian(p, cv2.CV_32F).var() for p in (soft, noisy)]
    assert detail[0] < 0.05 * detail[1]
    assert np.array_equal(control_map("inpaint", noisy, derived=True), noisy)


def test_scribbles_are_thicker_than_lines_and_of_one_tone():
    picture, _ = scene()
    scribble = control_map("scribble", picture, derived=True)
    line = control_map("line", picture, derived=True)
    assert set(np.unique(scribble)) == {0, 255}
    assert (scribble > 60).sum() > 1.5 * (line > 60).sum()


def test_soft_edges_fade():
    picture, _ = scene()
    assert len(np.unique(control_map("soft_edge", picture, derived=True))) > 50


@pytest.mark.parametrize("kind", LINES)
def test_the_same_picture_gives_the_same_map_in_any_form(kind):
    picture, _ = scene()
    made = control_map(kind, picture, derived=True)
    assert np.array_equal(control_map(kind, opaque(picture), derived=True), made)
    grey = picture[..., 0]
    assert np.array_equal(
        control_map(kind, grey, derived=True),
        control_map(kind, np.dstack([grey] * 3), derived=True),
    )


@pytest.mark.parametrize("kind", [*DRAWN, "tile", "inpaint"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 3)])
def test_tiny_pictures_have_maps_too(kind, shape):
    picture = np.zeros((*shape, 3), np.uint8)
    assert control_map(kind, picture, derived=True).shape == (*shape, 3)
    assert control_map(kind, picture, derived=False).shape == (*shape, 3)


@pytest.mark.parametrize("kind", COLOURED)
def test_a_map_that_needs_trained_weights_says_what_to_get_and_what_works_without(kind):
    picture, _ = scene()
    with pytest.raises(ModelError, match="guide layer") as caught:
        control_map(kind, picture, derived=True)
    assert caught.value.code == "missing_weights"
    assert f"A {kind} map" in caught.value.message
    assert "annotators/" in caught.value.message
    assert "Without weights: canny, line, soft_edge, scribble, straight" in caught.value.message


@pytest.mark.parametrize("shape", [(700, 90), (1300, 64, 3), (512, 40), (30, 1200)])
@pytest.mark.parametrize("sigma", [0.5, 1.6, 9.0, 77.0])
def test_smoothing_in_bands_is_smoothing_the_whole(shape, sigma):
    plane = np.random.default_rng(3).random(shape, np.float32)
    whole = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    assert np.abs(control._blur(plane, sigma, lambda: None) - whole).max() < 1e-6


class Stopped(Exception):
    pass


@pytest.mark.parametrize("kind", ["line", "scribble", "soft_edge", "straight"])
def test_a_map_is_given_up_where_it_is_asked_to_and_asks_often(kind):
    """At 8192 x 8192 each of these takes most of a minute: no cancel may wait for it."""
    picture = np.full((2048, 64, 3), 200, np.uint8)
    asked = []
    control_map(kind, picture, derived=True, check=lambda: asked.append(1))
    bands = 1 if kind == "straight" else 2048 // 512
    assert len(asked) >= bands

    def stop() -> None:
        asked.append(2)
        raise Stopped

    with pytest.raises(Stopped):
        control_map(kind, picture, derived=True, check=stop)
    assert asked.count(2) == 1
