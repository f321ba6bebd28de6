from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from painting import as_image, ask, rectangle, scenery
from test_plan import a_model
from velatura.protocol.region import Rect, Size
from velatura.server.worker.job.masks import (
    bounds,
    composite_mask,
    denoise_mask,
    latent_mask,
    selected_area,
)
from velatura.server.worker.job.plan import JobPlan, make_plan

SIZE = 40
MASKS = arrays(np.uint8, (SIZE, SIZE), elements=st.sampled_from([0, 0, 0, 1, 90, 254, 255]))


def plan_for(area: np.ndarray) -> JobPlan:
    request = ask(scenery(area.shape[1], area.shape[0]), area)
    rect = bounds(area)
    assert rect
    return make_plan(request, a_model(64, 128), rect)


@given(
    selection=MASKS,
    alpha=MASKS,
    soft_edge=st.integers(0, 30),
    keep=st.booleans(),
    x=st.integers(0, 9),
)
@settings(max_examples=150)
def test_the_layers_alpha_never_exceeds_the_selection(
    selection: np.ndarray, alpha: np.ndarray, soft_edge: int, keep: bool, x: int
) -> None:
    picture = scenery(SIZE, SIZE)
    request = ask(
        picture,
        selection,
        soft_edge=soft_edge,
        canvas=Size(60, SIZE),
        region=Rect(x, 0, SIZE, SIZE),
    )
    made = composite_mask(selection, request, alpha if keep else None)
    assert made.dtype == np.uint8
    assert (made <= selection).all()
    if keep:
        assert (made <= alpha).all()


@given(selection=MASKS, alpha=MASKS)
@settings(max_examples=50)
def test_expanding_covers_nothing_that_is_painted(selection: np.ndarray, alpha: np.ndarray) -> None:
    area = selected_area("expand", selection, alpha)
    assert (area <= selection).all()
    assert (area[alpha == 255] == 0).all()


@given(selection=MASKS)
@settings(max_examples=50)
def test_the_denoise_mask_holds_the_selection(selection: np.ndarray) -> None:
    if not selection.any():
        return
    request = ask(scenery(SIZE, SIZE), selection)
    plan = make_plan(request, a_model(SIZE, SIZE), Rect(0, 0, SIZE, SIZE))
    assert plan.scale == 1
    mask = denoise_mask(selection, plan)
    assert (mask >= selection / 255 - 1e-6).all()
    assert mask.max() <= 1


def test_without_a_soft_edge_the_alpha_is_the_selection_itself() -> None:
    selection = np.random.default_rng(1).integers(0, 256, (40, 40), np.uint8)
    assert (composite_mask(selection, ask(scenery(40, 40), selection), None) == selection).all()


def test_the_soft_edge_runs_inward_over_its_width() -> None:
    selection = rectangle(100, 60, Rect(20, 10, 60, 40))
    request = ask(scenery(100, 60), selection, soft_edge=10)
    row = composite_mask(selection, request, None)[30].astype(int)
    assert (row[:20] == 0).all()
    assert (row[80:] == 0).all()
    assert row[20] == 12
    assert (np.diff(row[20:31]) >= 0).all()
    assert (row[31:69] == 255).all()


def test_the_alpha_of_a_soft_edge_is_rounded_down() -> None:
    selection = rectangle(100, 60, Rect(20, 10, 60, 40))
    row = composite_mask(selection, ask(scenery(100, 60), selection, soft_edge=4), None)[30]
    # 255 times 1/8, 3/8, 5/8 and 7/8.
    assert row[20:25].tolist() == [31, 95, 159, 223, 255]


@pytest.mark.parametrize("error", [3e-6, -3e-6])
def test_a_box_sum_with_rounding_errors_leaves_outside_0_and_inside_1(
    monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    # As builds of OpenCV that add in single precision make them; those that do not are exact.
    blur = cv2.blur
    monkeypatch.setattr(
        cv2, "blur", lambda *asked, **more: blur(*asked, **more) + np.float32(error)
    )
    selection = rectangle(128, 128, Rect(48, 48, 32, 32))
    plan = make_plan(ask(scenery(128, 128), selection), a_model(128, 128), Rect(0, 0, 32, 32))
    mask = denoise_mask(selection, plan)
    reach = round(plan.grow + plan.feather) + 1
    assert (mask[: 48 - reach] == 0).all()
    assert (mask[80 + reach :] == 0).all()
    # Where the band is free, not the selection alone, which is laid over it.
    assert (mask[44:84, 44:84] == 1).all()


def test_a_soft_edge_does_not_fade_at_the_canvas_edge_but_at_the_regions() -> None:
    everything = np.full((40, 40), 255, np.uint8)
    whole = ask(scenery(40, 40), soft_edge=8)
    assert (composite_mask(everything, whole, None) == 255).all()
    part = ask(scenery(40, 40), soft_edge=8, canvas=Size(100, 40), region=Rect(0, 0, 40, 40))
    made = composite_mask(everything, part, None)
    assert (made[:, :30] == 255).all()
    assert (made[:, 39] < 20).all()


def test_keeping_the_outline_multiplies_by_the_sources_alpha() -> None:
    selection = np.full((4, 4), 200, np.uint8)
    alpha = np.array([[0, 51, 128, 255]] * 4, np.uint8)
    made = composite_mask(selection, ask(scenery(4, 4), selection, keep_outline=True), alpha)
    assert made[0].tolist() == [0, 40, 100, 200]


def test_the_model_may_repaint_a_band_around_the_selection_and_nothing_beyond() -> None:
    selection = rectangle(128, 128, Rect(48, 48, 32, 32))
    request = ask(scenery(128, 128), selection)
    plan = make_plan(request, a_model(128, 128), Rect(0, 0, 32, 32))
    mask = denoise_mask(selection, plan)
    reach = round(plan.grow + plan.feather) + 1
    assert (mask[48 - 7 : 80 + 7, 48:80] == 1).all()
    assert (mask[: 48 - reach] == 0).all()
    ramp = mask[64, :48]
    assert (np.diff(ramp) >= -1e-6).all()
    assert ((ramp > 0) & (ramp < 1)).sum() >= 6


@pytest.mark.parametrize("soft", [64, 128, 200])
def test_soft_values_stay_what_they_are(soft: int) -> None:
    selection = (rectangle(128, 128, Rect(32, 32, 64, 64)) // 255 * soft).astype(np.uint8)
    mask = denoise_mask(selection, plan_for(selection))
    assert mask.max() == pytest.approx(soft / 255)


def test_a_whole_selection_leaves_everything_free() -> None:
    selection = np.full((50, 70), 255, np.uint8)
    mask = latent_mask(denoise_mask(selection, plan_for(selection)), 8)
    assert (mask == 1).all()


def test_the_mask_of_the_latents_is_the_mean_of_each_cell() -> None:
    mask = np.zeros((16, 24), np.float32)
    mask[:8, :4] = 1
    assert latent_mask(mask, 8).tolist() == [[0.5, 0, 0], [0, 0, 0]]


def test_bounds_are_the_smallest_rectangle() -> None:
    assert bounds(rectangle(30, 20, Rect(3, 4, 5, 6))) == Rect(3, 4, 5, 6)
    assert bounds(np.zeros((5, 5), np.uint8)) is None


def test_an_image_of_a_mask_is_its_bytes() -> None:
    assert bytes(as_image(rectangle(2, 1, Rect(1, 0, 1, 1))).data) == b"\x00\xff"
