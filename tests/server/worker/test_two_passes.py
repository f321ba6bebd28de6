"""Two passes: what is larger than the model paints well is composed small and refined large."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from painting import (
    answers,
    as_image,
    ask,
    composite,
    in_memory,
    make_tiny_engine,
    painted,
    rectangle,
    results,
    scenery,
)
from test_plan import a_model
from velatura.models.families.denoiser import ControlInput, Prediction, Step, Text, Words
from velatura.models.library import STARTER
from velatura.protocol.messages import Control, Preview, Progress
from velatura.protocol.region import Rect, Size
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import Cancelled
from velatura.server.worker.job import paint
from velatura.server.worker.job.passes import Pass, run
from velatura.server.worker.job.plan import JobPlan, make_plan, make_tiles, passes, with_detail
from velatura.server.worker.sample.loop import Under
from velatura.server.worker.sample.tiled import Tiled

# The tiny model paints 64 x 64 best.
SIDE = 160
SELECTED = Rect(40, 24, 80, 100)
HARD = rectangle(SIDE, SIDE, SELECTED)
SOFT = (HARD * np.linspace(0, 1, SIDE)).astype(np.uint8)
FULL: dict[str, Any] = {"detail": "full", "steps": 5, "guidance": 1.0}


def plan_of(
    width: int, height: int, selected: Rect | None = None, device: str = "cuda", **request: object
) -> JobPlan:
    model = with_detail(a_model(512, 1024), device)
    asked = ask(np.zeros((height, width, 4), np.uint8), **request)
    return make_plan(asked, model, selected or Rect(0, 0, width, height))


def test_a_large_fill_is_composed_at_the_native_size_and_refined_at_its_own() -> None:
    plan = plan_of(1024, 1024, Rect(256, 256, 512, 512))
    first, second = passes(plan)
    assert (first.size, first.run, first.tiles) == (Size(512, 512), 4, ())
    assert second.scale == 1
    assert second.part.contains(Rect(256, 256, 512, 512))
    # What is around the selection is seen, not the whole region: the pass costs what it shows.
    assert second.part.width < 700
    assert (second.run, second.start, second.tiles) == (2, "source", ())
    assert second.size.width % 8 == second.size.height % 8 == 0


def test_what_is_too_large_to_be_seen_at_once_is_seen_in_overlapping_tiles() -> None:
    _, second = passes(plan_of(2000, 1500, action="generate"))
    assert second.scale == 1
    covered = np.zeros((second.size.height, second.size.width), int)
    for tile in second.tiles:
        assert (tile.width, tile.height) == (512, 512)
        assert tile.x % 8 == tile.y % 8 == 0
        covered[tile.y : tile.bottom, tile.x : tile.right] += 1
    assert covered.min() == 1
    xs = sorted({tile.x for tile in second.tiles})
    assert all(b - a <= 512 * 3 / 4 + 8 for a, b in pairwise(xs))


def test_a_gentle_refine_keeps_its_composition_and_has_one_pass_over_tiles() -> None:
    (only,) = passes(plan_of(1600, 1600, action="refine", strength=0.3))
    assert (only.scale, only.run, len(only.tiles)) == (1, 1, 16)
    first, second = passes(plan_of(1600, 1600, action="refine", strength=0.6))
    assert first.size.width < 800
    assert second.tiles


@pytest.mark.parametrize(
    ("width", "height", "more"),
    [
        (512, 512, {}),
        (300, 200, {}),
        (560, 560, {}),
        (1024, 1024, {"detail": "fast"}),
        (1024, 1024, {"device": "cpu"}),
        (900, 900, {"action": "refine", "strength": 0.1}),
    ],
)
def test_one_pass_is_enough_where_it_loses_nothing_or_the_painter_wants_it_fast(
    width: int, height: int, more: dict[str, Any]
) -> None:
    (only,) = passes(plan_of(width, height, **more))
    assert only.tiles == ()


def test_a_slow_device_refines_less_and_only_when_asked() -> None:
    _, second = passes(plan_of(4000, 4000, device="cpu", detail="full"))
    assert second.size == Size(1024, 1024)
    _, second = passes(plan_of(4000, 4000))
    assert second.size == Size(2048, 2048)
    model = with_detail(a_model(512, 1024), "cpu")
    assert (model.detail, model.finest) == ("fast", 1024**2)


def test_few_steps_are_two_in_the_second_pass() -> None:
    _, second = passes(plan_of(1024, 1024, steps=4))
    assert second.run == 2
    _, second = passes(plan_of(1024, 1024, steps=1))
    assert second.run == 1


def test_a_thin_region_is_tiled_along_its_length() -> None:
    assert len(make_tiles(Size(2000, 96), a_model())) == 5
    assert {tile.height for tile in make_tiles(Size(2000, 96), a_model())} == {96}


# --- painting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize(
    "how",
    [
        {"action": "fill"},
        {"action": "generate"},
        {"action": "refine", "strength": 0.45, "steps": 8},
        {"action": "fill", "strength": 0.7, "controls": (Control(kind="line"),), "soft_edge": 8},
    ],
    ids=["fill", "generate", "tiles alone", "control"],
)
def test_every_pass_stays_inside_the_selection(
    engine: Engine, how: dict[str, Any], selection: np.ndarray
) -> None:
    below = scenery(SIDE, SIDE)
    request = ask(below, selection, **{**FULL, **how})
    (made,) = results(engine, request)
    assert any(one["tiles"] or len(made.recipe["passes"]) > 1 for one in made.recipe["passes"])
    layer = painted(engine, request)
    assert (layer[..., 3] <= selection).all()
    after = composite(layer, below)
    assert (after[selection == 0] == below[selection == 0]).all()
    assert (after[selection > 0] != below[selection > 0]).any()
    # The same seed, the same pixels.
    assert (painted(engine, request) == layer).all()


@pytest.mark.parametrize(
    "how",
    [
        {"action": "refine", "strength": 0.45, "steps": 8},
        {"action": "refine", "strength": 0.45, "steps": 8, "guidance": 1.0},
        {"action": "refine", "strength": 0.45, "steps": 8, "controls": (Control(kind="line"),)},
        {"action": "fill", "steps": 3},
        {"action": "generate", "steps": 3, "variants": 2},
    ],
    ids=["tiles alone", "unguided tiles", "tiles with control", "fill", "variants"],
)
def test_a_large_canvas_is_painted_by_a_warm_engine_as_by_a_new_one(
    tiny_folder: Path, how: dict[str, Any]
) -> None:
    """From a model's second job on its passes are recorded, whatever the first one was."""
    large = ask(scenery(SIDE, SIDE), **{**FULL, **how})
    expected = painted(make_tiny_engine(tiny_folder), large)
    warm = make_tiny_engine(tiny_folder)
    painted(warm, ask(scenery(64, 64), steps=1))
    assert (painted(warm, large) == expected).all()
    # Recorded without tiles, and then with them.
    painted(warm, ask(scenery(64, 64), steps=1))
    assert (painted(warm, large) == expected).all()


def test_a_variant_alone_is_the_variant_among_others(engine: Engine) -> None:
    below = scenery(SIDE, SIDE)
    several = results(engine, ask(below, HARD, seed=5, variants=2, **FULL))
    (alone,) = results(engine, ask(below, HARD, seed=6, **FULL))
    assert several[1].picture == alone.picture
    assert several[0].picture != alone.picture


def test_the_painter_chooses_how_finely_it_is_painted(engine: Engine) -> None:
    below = scenery(SIDE, SIDE)
    fast, auto, full = (
        painted(engine, ask(below, HARD, **{**FULL, "detail": detail}))
        for detail in ("fast", "auto", "full")
    )
    assert (fast == auto).all(), "a CPU paints fast unless told otherwise"
    assert (full != fast).any()
    assert engine.catalogue().models[0].finest_at("full") == 128**2
    assert engine.catalogue().models[0].finest_at("auto") == 0


def test_guides_lead_both_passes_each_at_its_own_size(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Pass] = []

    def watched(one: Pass, *others: Any) -> torch.Tensor:
        seen.append(one)
        return run(one, *others)

    monkeypatch.setattr(paint, "run", watched)
    # Black on transparent; the part alone would look like a dark sheet of paper.
    guide = np.zeros((SIDE, SIDE, 4), np.uint8)
    guide[SELECTED.y : SELECTED.bottom, SELECTED.x : SELECTED.right, 3] = 255
    guide[:, SELECTED.x + 40 :, 3] = 0
    drawn = Control(kind="line", picture=as_image(guide))
    painted(engine, ask(scenery(SIDE, SIDE), HARD, controls=(drawn, Control(kind="canny")), **FULL))
    for one in seen:
        size = (one.plan.size.height, one.plan.size.width)
        assert [control.map.shape for control in one.controls] == [(1, 3, *size)] * 2
        assert one.controls[0].map.max() == 1
        left = round((SELECTED.x + 20 - one.plan.part.x) * one.plan.scale)
        middle = round((SELECTED.y + 50 - one.plan.part.y) * one.plan.scale)
        assert one.controls[0].map[0, 0, middle, left] == 1
        assert one.controls[0].map[0, 0, middle, -1] == 0
    assert [one.plan.finer is None for one in seen] == [False, True]


def test_expanding_in_two_passes_paints_all_that_is_empty(engine: Engine) -> None:
    source = scenery(SIDE, SIDE)
    source[:, 90:] = 0
    layer = painted(engine, ask(source, action="expand", **FULL))
    assert (layer[:, 90:, 3] == 255).all()
    assert (layer[:, :90] == 0).all()


def test_progress_counts_both_passes_and_previews_lie_on_the_selection(engine: Engine) -> None:
    request = ask(scenery(SIDE, SIDE), HARD, previews=True, **FULL)
    messages = answers(engine, request)
    steps = [m for m in messages if isinstance(m, Progress) and m.stage == "painting"]
    assert [m.done for m in steps] == sorted(m.done for m in steps)
    assert {m.steps for m in steps} == {7}
    assert {m.step for m in steps} == set(range(8))
    previews = [m for m in messages if isinstance(m, Preview)]
    assert {p.area for p in previews} == {SELECTED}


@pytest.mark.parametrize("at", [5, 6])
def test_a_cancel_in_the_second_pass_stops_before_its_next_tile(engine: Engine, at: int) -> None:
    said: list[Any] = []

    def cancelled() -> bool:
        return any(isinstance(m, Progress) and m.step == at for m in said)

    with pytest.raises(Cancelled):
        engine.run(ask(scenery(SIDE, SIDE), **FULL), said.append, cancelled)
    assert sum(m.step == at for m in said) == 1
    assert "forward" not in vars(in_memory(engine).unet)
    assert painted(engine, ask(scenery(SIDE, SIDE), HARD)).any()


def test_tiles_that_see_everything_are_the_untiled_network(engine: Engine) -> None:
    """One tile as large as the picture: the mixing itself changes nothing."""
    painted(engine, ask(scenery(64, 64), controls=(Control(kind="line"),), steps=1))
    loaded, net = in_memory(engine), in_memory(engine, "", "ControlNet")
    width = loaded.unet.config.cross_attention_dim
    prompt, negative = (Text(torch.randn(1, 77, width), "") for _ in range(2))
    controls = [ControlInput(net, torch.rand(1, 3, 64, 64), "line")]
    denoiser = loaded.denoiser
    condition = denoiser.condition(Words(prompt, negative, 3.0), controls, Size(64, 64))
    latents, step = torch.randn(1, 4, 8, 8), Step(0, 1, torch.tensor(500), 0.6, 0.8)

    @torch.no_grad()
    def predicted(*tiles: Rect) -> Prediction:
        one = Under(denoiser, condition)
        if tiles:
            one = Tiled(denoiser, condition, tiles, None, lambda: None)
        return one.predict(latents, step)

    alike, whole = predicted(Rect(0, 0, 64, 64)), predicted()
    assert torch.allclose(alike.output, whole.output, atol=1e-5)
    assert torch.allclose(alike.denoised, whole.denoised, atol=1e-4)
    two = predicted(Rect(0, 0, 48, 64), Rect(16, 0, 48, 64))
    assert two.output.shape == latents.shape
    assert not torch.allclose(two.output, whole.output, atol=1e-3)


# --- what a painter sees ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_starter_paints_a_large_fill_sharper_and_without_seams() -> None:
    side = 320
    engine = make_tiny_engine(STARTER)
    ground = cv2.resize(scenery(32, 32)[..., :3], (side, side), interpolation=cv2.INTER_CUBIC)
    below = np.dstack([ground, np.full((side, side), 255, np.uint8)])
    asked = ask(
        below,
        model="starter",
        action="generate",
        prompt="oil painting of a meadow by day, a round tree",
        steps=8,
        sampler="DPM++ 2M Karras",
        guidance=1.0,
    )
    fast, full = (painted(engine, replace(asked, detail=d))[..., :3] for d in ("fast", "full"))
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (fast, full)]
    sharpness = [cv2.Laplacian(plane, cv2.CV_32F).var() for plane in grey]
    assert sharpness[1] > 1.1 * sharpness[0]
    # The same composition, seen from afar.
    afar = [cv2.resize(p, (10, 10), interpolation=cv2.INTER_AREA) for p in grey]
    assert np.corrcoef(afar[0].ravel(), afar[1].ravel())[0, 1] > 0.8
    (made,) = results(engine, replace(asked, detail="full", steps=1))
    assert made.recipe["passes"][1]["tiles"] == 9
    # Tiles of 128 begin at 0, 64 and 128 of 256 model pixels: the step across where they begin and
    # end is no larger than elsewhere.
    steps = np.abs(np.diff(full.astype(np.float32), axis=1)).mean((0, 2))
    borders = [round(x * side / 256) for x in (64, 128, 192)]
    near = np.array([steps[x - 2 : x + 2].max() for x in borders])
    windows = np.lib.stride_tricks.sliding_window_view(steps, 4).max(-1)
    assert near.mean() < np.percentile(windows, 90)
