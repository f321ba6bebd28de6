from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from painting import ask, composite, rectangle, scenery
from test_masks import MASKS, SIZE
from test_plan import a_model
from velatura.protocol.region import Rect
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.finish import (
    bleed,
    check_output,
    cut_layer,
    match_colour,
    meet_edge,
    restore_detail,
    restore_lost,
    unchanged_part,
)
from velatura.server.worker.job.plan import make_plan
from velatura.server.worker.pixels import extend, from_model, over, to_model

HERE = Rect(24, 24, 48, 48)


def picture() -> np.ndarray:
    return scenery(96, 96)[..., :3].astype(np.float32) / 255


def plan_of(width: int = 96, height: int = 96, native: int = 96):
    request = ask(scenery(width, height), action="refine", strength=1.0)
    return make_plan(request, a_model(native, 2 * native), Rect(0, 0, 48, 48))


@given(composited=MASKS, seed=st.integers(0, 99))
@settings(max_examples=100)
def test_outside_the_alpha_nothing_changes(composited: np.ndarray, seed: int) -> None:
    below = scenery(SIZE, SIZE)
    painted = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    cut, x, y = cut_layer(painted, composited)
    layer = np.zeros((SIZE, SIZE, 4), np.uint8)
    layer[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    assert (layer[..., 3] == composited).all()
    outside = composited == 0
    assert (layer[outside] == 0).all()
    assert (composite(layer, below)[outside] == below[outside]).all()


def test_what_is_around_the_layer_comes_with_its_colours_only_when_asked_for():
    painted = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    composite = np.zeros((10, 12), np.uint8)
    composite[4:6, 1:9] = 200
    cut, x, y = cut_layer(painted, composite, 3)
    assert (x, y, cut.shape) == (0, 1, (8, 12, 4))
    np.testing.assert_array_equal(cut[..., :3], painted[1:9])
    np.testing.assert_array_equal(cut[..., 3], composite[1:9])


def test_a_colour_bias_seen_around_the_hole_is_taken_back_inside() -> None:
    truth, mask = picture(), rectangle(96, 96, HERE).astype(np.float32) / 255
    bias = np.array([0.04, -0.03, 0.02], np.float32)
    matched = match_colour(truth + bias, truth, mask, 8)
    assert np.abs(matched - truth).max() < 0.002


def test_of_a_great_difference_around_the_hole_only_a_biass_size_is_taken_back() -> None:
    truth, mask = picture(), rectangle(96, 96, HERE).astype(np.float32) / 255
    for shift in (0.5, -0.5):
        matched = match_colour(truth + shift, truth, mask, 8)
        taken = (truth + shift - matched)[HERE.y : HERE.bottom, HERE.x : HERE.right]
        np.testing.assert_allclose(taken, np.sign(shift) * 0.1, atol=1e-3)


def test_the_autoencoders_colour_bias_comes_back_even_where_all_was_changed() -> None:
    truth = picture()
    lost = np.broadcast_to(
        np.linspace(-0.05, 0.05, 96, dtype=np.float32)[:, None, None], truth.shape
    )
    painted = 1 - truth
    changed = np.zeros((96, 96), np.float32)
    restored = restore_lost(painted - lost, truth, truth - lost, changed, 8)
    assert np.abs(restored - painted)[8:-8].max() < 0.002


def test_what_the_model_did_not_change_comes_back_exactly() -> None:
    truth = picture()
    round_trip = truth * 0.9
    decoded = round_trip.copy()
    decoded[:, 60:] += 0.3
    same = unchanged_part(decoded, round_trip, 8)
    restored = restore_lost(decoded, truth, round_trip, same, 8)
    assert np.abs(restored - truth)[:, :48].max() < 1e-3
    assert np.abs(restored - truth)[:, 72:].min() > 0.15


def test_colours_meet_at_the_edge_and_the_middle_stays() -> None:
    truth, outside = picture(), 1 - rectangle(96, 96, HERE).astype(np.float32) / 255
    painted = truth + 0.08
    met = meet_edge(painted, truth, outside, plan_of())
    assert np.abs(met - truth)[HERE.y, HERE.x : HERE.right].mean() < 0.02
    assert np.abs(met - painted)[48, 48].max() < 0.001


def test_colours_are_pulled_so_far_at_the_edge_and_no_farther() -> None:
    truth, outside = picture(), 1 - rectangle(96, 96, HERE).astype(np.float32) / 255
    for shift in (0.6, -0.6):
        pulled = truth + shift - meet_edge(truth + shift, truth, outside, plan_of())
        edge = pulled[HERE.y, HERE.x + 4 : HERE.right - 4] * np.sign(shift)
        assert edge.max() <= 0.2 + 1e-6
        assert edge.min() > 0.15


def test_what_scaling_took_comes_back_where_nothing_was_changed() -> None:
    plan = plan_of(192, 192, native=96)
    assert plan.scale == 0.5
    fine = scenery(192, 192)[..., :3].astype(np.float32) / 255
    seen = to_model(fine, plan)
    same = np.ones((96, 96), np.float32)
    same[:, 48:] = 0
    scaled = from_model(seen, plan, 192, 192)
    restored = restore_detail(scaled, fine, seen, same, plan)
    assert np.abs(restored - fine)[:, :80].max() < 1e-5
    assert (restored == scaled)[:, 110:].all()


def test_a_silhouettes_edge_takes_the_colour_inside() -> None:
    alpha = np.clip((np.arange(40) - 15) * 51, 0, 255).astype(np.uint8)[None].repeat(40, 0)
    red, green = np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32)
    a = alpha[..., None] / np.float32(255)
    mixed = a * red + (1 - a) * green
    bled = bleed(mixed, alpha)
    assert np.abs(bled - red)[:, 16:].max() < 0.05
    assert np.abs(mixed - red)[:, 16:].max() > 0.7


def test_evenly_thin_paint_is_not_blurred() -> None:
    painted = picture()
    assert np.allclose(bleed(painted, np.full((96, 96), 128, np.uint8)), painted, atol=1e-3)


@pytest.mark.parametrize(
    "broken", [np.full((8, 8, 3), np.nan), np.full((8, 8, 3), np.inf), np.zeros((8, 8, 3))]
)
def test_output_that_is_no_picture_is_a_coded_error(broken: np.ndarray) -> None:
    with pytest.raises(JobError) as caught:
        check_output(broken)
    assert caught.value.code == "bad_output"


@given(
    values=arrays(np.float32, (9, 7, 3), elements=st.floats(0, 1, width=32)),
    known=arrays(np.bool_, (9, 7)),
)
def test_extending_keeps_what_is_known_and_stays_between(
    values: np.ndarray, known: np.ndarray
) -> None:
    made = extend(values, known.astype(np.float32))
    assert np.allclose(made[known], values[known], atol=1e-6)
    if known.any():
        assert made.min() >= values[known].min() - 1e-4
        assert made.max() <= values[known].max() + 1e-4
    else:
        assert (made == 0).all()


def test_a_layer_over_another_is_exact_where_it_is_opaque_or_empty() -> None:
    top, below = scenery(20, 20, seed=1), scenery(20, 20, seed=2)
    top[:, :10, 3] = 0
    made = over(top, below)
    assert (made[:, :10] == below[:, :10]).all()
    assert (made[:, 10:] == top[:, 10:]).all()
