"""The promises about pixels, seeds, cancels and failures, through a whole engine."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
import torch
from painting import (
    answers,
    as_image,
    ask,
    composite,
    in_memory,
    layer_of,
    make_tiny_engine,
    painted,
    rectangle,
    results,
    scenery,
)
from velatura.protocol.messages import Annotate, Control, ControlMap, Generate, Preview, Progress
from velatura.protocol.region import Rect, Size
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import Cancelled, JobError
from velatura.server.worker.pixels import to_array

WIDTH, HEIGHT = 96, 80
SELECTED = Rect(30, 20, 40, 36)
HARD = rectangle(WIDTH, HEIGHT, SELECTED)
SOFT = (HARD * np.linspace(0, 1, WIDTH)).astype(np.uint8)


def with_hole() -> np.ndarray:
    """Painted on the left, half transparent in one column, empty on the right."""
    picture = scenery()
    picture[:, 60] = (200, 10, 10, 128)
    picture[:, 61:] = 0
    return picture


@pytest.mark.parametrize("selection", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize(
    "how",
    [
        {"action": "generate"},
        {"action": "refine", "strength": 0.5},
        {"action": "fill"},
        {"action": "fill", "strength": 0.6, "soft_edge": 8},
        {"action": "fill", "controls": (Control(kind="line"),)},
    ],
    ids=["generate", "refine", "fill", "soft edge", "control"],
)
def test_every_action_paints_inside_the_selection_and_changes_nothing_outside(
    engine: Engine, how: dict[str, Any], selection: np.ndarray
) -> None:
    below = scenery()
    layer = painted(engine, ask(below, selection, **how))
    assert (layer[..., 3] <= selection).all()
    after = composite(layer, below)
    assert (after[selection == 0] == below[selection == 0]).all()
    assert (after[selection > 0] != below[selection > 0]).any()


def test_expanding_paints_what_is_empty_and_leaves_what_is_not(engine: Engine) -> None:
    source = with_hole()
    layer = painted(engine, ask(source, action="expand"))
    assert (layer[:, :60] == 0).all()
    assert (layer[:, 60:, 3] == 255).all()
    half = layer[:, 60, :3].astype(int) - np.array([200, 10, 10]) * 128 / 255
    assert half.min() >= -1
    assert half.max() <= 128


def test_expanding_is_limited_by_the_selection(engine: Engine) -> None:
    selection = rectangle(WIDTH, HEIGHT, Rect(50, 0, 46, 40))
    layer = painted(engine, ask(with_hole(), selection, action="expand"))
    assert (layer[:40, 61:, 3] == 255).all()
    assert (layer[40:] == 0).all()


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_expanding_works_at_any_side(engine: Engine, side: str) -> None:
    source = scenery(64, 64)
    empty = {"left": np.s_[:, :24], "right": np.s_[:, 40:], "top": np.s_[:24], "bottom": np.s_[40:]}
    source[empty[side]] = 0
    layer = painted(engine, ask(source, action="expand"))
    assert (layer[empty[side]][..., 3] == 255).all()
    assert (layer[..., 3] == np.where(source[..., 3] == 255, 0, 255)).all()


def test_strength_zero_returns_the_source_without_a_model(tiny_folder) -> None:
    engine = make_tiny_engine(tiny_folder)
    below = scenery()
    layer = painted(engine, ask(below, SOFT, action="refine", strength=0.0))
    assert (composite(layer, below) == below).all()
    assert (layer[..., 3] == SOFT).all()
    assert engine.loaded() == ()


def test_the_same_seed_gives_the_same_pixels_alone_as_a_variant_and_after_other_jobs(
    engine: Engine, tiny_folder
) -> None:
    def ask_for(seed: int, variants: int = 1, **more: Any) -> Generate:
        return ask(scenery(), HARD, seed=seed, variants=variants, **more)

    fresh = results(make_tiny_engine(tiny_folder), ask_for(12))[0]
    variants = results(engine, ask_for(10, 3))
    painted(engine, ask_for(5, action="refine", controls=(Control(kind="line"),), previews=True))
    again = results(engine, ask_for(12))[0]
    assert [r.seed for r in variants] == [10, 11, 12]
    assert [r.last for r in variants] == [False, False, True]
    assert fresh.picture == variants[2].picture == again.picture
    assert variants[0].picture != variants[1].picture


BASE: dict[str, Any] = {"action": "refine", "strength": 0.75, "guidance": 4.0}


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue boat"},
        {"negative": "night"},
        {"guidance": 9.0},
        {"guidance": 1.0},
        {"strength": 0.5},
        {"seed": 8},
        {"sampler": "DDIM"},
        {"controls": (Control(kind="line"),)},
        {"controls": (Control(kind="line"), Control(kind="scribble", weight=0.5))},
    ],
    ids=str,
)
def test_what_the_painter_alters_changes_the_pixels(engine: Engine, change: dict[str, Any]) -> None:
    before = painted(engine, ask(scenery(), HARD, **BASE))
    after = painted(engine, ask(scenery(), HARD, **{**BASE, **change}))
    assert (before != after).any()


def test_a_controls_weight_part_and_picture_each_matter(engine: Engine) -> None:
    lines = np.zeros((HEIGHT, WIDTH), np.uint8)
    lines[10:70:6] = 255
    # The whole picture and no guidance, so that a tiny net's say is larger than a step of 8 bits.
    full: dict[str, Any] = {"selection": None, "guidance": 1.0, "action": "generate"}

    def with_control(**control: Any) -> bytes:
        controls = (Control(kind="line", **control),)
        return painted(engine, ask(scenery(), controls=controls, **full)).tobytes()

    made = [
        with_control(),
        with_control(weight=0.3),
        with_control(end=0.5),
        with_control(start=0.5),
        with_control(picture=as_image(lines)),
    ]
    assert len(set(made)) == len(made)
    none = painted(engine, ask(scenery(), **full)).tobytes()
    assert with_control(weight=0.0) == none


def test_a_fill_at_full_strength_does_not_know_what_was_there(engine: Engine) -> None:
    other = scenery()
    other[28:48, 38:62, :3] = 255 - other[28:48, 38:62, :3]
    one, two = (painted(engine, ask(picture, HARD)) for picture in (scenery(), other))
    assert (one == two).all()
    one, two = (painted(engine, ask(p, HARD, strength=0.8)) for p in (scenery(), other))
    assert (one != two).any()


def test_more_strength_changes_more(engine: Engine) -> None:
    below = scenery()

    def change(strength: float) -> float:
        request = ask(below, HARD, action="refine", strength=strength, steps=10, sampler="Euler")
        after = composite(painted(engine, request), below)
        return float(np.abs(after.astype(int) - below)[HARD > 0].mean())

    changes = [change(s) for s in (0.1, 0.4, 0.7, 1.0)]
    assert changes == sorted(changes)


def test_a_layer_with_transparency_comes_back_with_its_silhouette(engine: Engine) -> None:
    source = scenery(seed=5)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(x - 48, y - 40)
    source[..., 3] = np.clip((30 - distance) * 64, 0, 255)
    request = ask(
        scenery(), source=as_image(source), action="refine", strength=0.5, keep_outline=True
    )
    layer = painted(engine, request)
    assert (layer[..., 3] == source[..., 3]).all()
    assert (layer[source[..., 3] == 0] == 0).all()


def test_without_keeping_the_outline_the_selection_is_the_layer(engine: Engine) -> None:
    source = scenery()
    source[..., 3] = 90
    request = ask(scenery(), HARD, source=as_image(source), action="refine", strength=0.5)
    assert (painted(engine, request)[..., 3] == HARD).all()


def test_a_result_lies_where_its_region_lies_on_the_canvas(engine: Engine) -> None:
    result = results(
        engine, ask(scenery(), HARD, canvas=Size(500, 400), region=Rect(100, 200, WIDTH, HEIGHT))
    )[0]
    assert (result.x, result.y) == (100 + SELECTED.x, 200 + SELECTED.y)
    assert (result.picture.width, result.picture.height) == (SELECTED.width, SELECTED.height)


def test_a_small_selection_on_a_huge_canvas_costs_only_its_region(engine: Engine) -> None:
    here = ask(scenery(), HARD)
    there = ask(scenery(), HARD, canvas=Size(8000, 8000), region=Rect(7000, 6000, WIDTH, HEIGHT))
    one, two = results(engine, here)[0], results(engine, there)[0]
    assert one.picture == two.picture
    assert one.recipe["size"] == two.recipe["size"]
    assert max(two.recipe["size"].values()) <= 128


def test_a_scaled_region_comes_back_at_its_own_size(engine: Engine) -> None:
    below = scenery(300, 200)
    result = results(engine, ask(below, action="generate"))[0]
    assert (result.picture.width, result.picture.height) == (300, 200)
    assert result.recipe["size"] == {"width": 80, "height": 56}


def test_progress_rises_to_one_and_previews_show_the_selection(engine: Engine) -> None:
    messages = answers(engine, ask(scenery(), HARD, variants=2, previews=True))
    done = [m.done for m in messages if isinstance(m, Progress)]
    assert done == sorted(done)
    assert done[-1] == 1
    stages = [m.stage for m in messages if isinstance(m, Progress)]
    assert {"preparing", "painting", "finishing"} <= set(stages)
    previews = [m for m in messages if isinstance(m, Preview)]
    assert 1 <= len(previews) <= 8
    assert previews[0].area == SELECTED
    assert max(previews[0].picture.width, previews[0].picture.height) <= 256
    assert to_array(previews[0].picture)[..., 3].min() > 0


def test_no_preview_is_sent_that_was_not_asked_for(engine: Engine) -> None:
    messages = answers(engine, ask(scenery(), HARD))
    assert not any(isinstance(m, Preview) for m in messages)


def test_a_note_names_the_words_that_the_model_does_not_know(engine: Engine) -> None:
    messages = answers(engine, ask(scenery(), HARD, prompt="a red zeppelin"))
    notes = [m.note for m in messages if isinstance(m, Progress)]
    assert notes[-1] == "tiny does not know: zeppelin."


def test_a_cancel_stops_within_one_step_and_the_next_job_works(engine: Engine) -> None:
    messages: list[Any] = []

    def cancelled() -> bool:
        return any(isinstance(m, Progress) and m.step == 2 for m in messages)

    request = ask(scenery(), HARD, steps=30)
    with pytest.raises(Cancelled):
        engine.run(request, messages.append, cancelled)
    assert max(m.step for m in messages) == 2
    assert results(engine, ask(scenery(), HARD))


def test_a_cancel_before_the_first_step_loads_and_paints_nothing(tiny_folder) -> None:
    engine = make_tiny_engine(tiny_folder)
    messages: list[Any] = []
    with pytest.raises(Cancelled):
        engine.run(ask(scenery(), HARD), messages.append, lambda: True)
    assert messages == []
    assert engine.loaded() == ()


def test_output_that_is_not_a_number_is_a_coded_error_and_the_next_job_works(tiny_folder) -> None:
    engine = make_tiny_engine(tiny_folder)
    good = painted(engine, ask(scenery(), HARD))
    unet = in_memory(engine).unet
    bias = unet.conv_out.bias
    kept = bias.detach().clone()
    bias.data.fill_(float("nan"))
    with pytest.raises(JobError) as caught:
        answers(engine, ask(scenery(), HARD, previews=True))
    assert caught.value.code == "bad_output"
    bias.data.copy_(kept)
    assert (painted(engine, ask(scenery(), HARD)) == good).all()


def raise_as_cuda() -> None:
    raise torch.OutOfMemoryError


@pytest.mark.parametrize("exhaust", [raise_as_cuda, lambda: torch.empty(2**60)], ids=["GPU", "CPU"])
def test_out_of_memory_is_a_coded_error_and_frees_the_models(tiny_folder, exhaust) -> None:
    engine = make_tiny_engine(tiny_folder)
    painted(engine, ask(scenery(), HARD))
    unet = in_memory(engine).unet

    def exhausted(*_: Any) -> None:
        exhaust()

    unet.register_forward_pre_hook(exhausted)
    with pytest.raises(JobError) as caught:
        answers(engine, ask(scenery(), HARD))
    assert caught.value.code == "out_of_memory"
    assert engine.loaded() == ()
    assert results(engine, ask(scenery(), HARD))


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"model": "../tiny"}, "unknown_model", "model"),
        ({"sampler": "Mystery"}, "unsupported", "sampler"),
        ({"selection": HARD * 0}, "invalid_field", "selection"),
        ({"action": "expand"}, "invalid_field", "selection"),
        ({"sampler": "LCM", "steps": 100}, "invalid_field", "steps"),
        ({"controls": (Control(kind="depth"),)}, "missing_weights", "controls"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_painted_names_its_field(
    engine: Engine, change: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(JobError) as caught:
        answers(engine, ask(scenery(), **{"selection": HARD, **change}))
    assert (caught.value.code, caught.value.field) == (code, field)


def test_the_recipe_holds_the_numbers_and_what_painted_it(engine: Engine) -> None:
    result = results(engine, ask(scenery(), HARD, seed=3, variants=2))[1]
    recipe = result.recipe
    assert (recipe["seed"], recipe["variant"]) == (4, 1)
    assert recipe["prompt"] == "a red house"
    assert recipe["dtype"] == "float32"
    assert recipe["device"] == "cpu"
    assert len(recipe["digest"]) == 16
    assert set(recipe["versions"]) == {"velatura", "torch", "diffusers"}


def test_a_model_is_loaded_once(tiny_folder) -> None:
    engine = make_tiny_engine(tiny_folder)
    stages = [
        {m.stage for m in answers(engine, ask(scenery(), HARD)) if isinstance(m, Progress)}
        for _ in range(2)
    ]
    assert "loading" in stages[0]
    assert "loading" not in stages[1]
    assert engine.loaded() == ("tiny",)


def test_annotate_returns_the_control_map(engine: Engine) -> None:
    request = Annotate(job=str(uuid.uuid4()), kind="canny", picture=as_image(scenery()))
    (answer,) = answers(engine, request)
    assert isinstance(answer, ControlMap)
    assert (answer.picture.width, answer.picture.height) == (WIDTH, HEIGHT)
    assert answer.picture.format == "gray8"
    assert to_array(answer.picture).max() == 255


@pytest.mark.parametrize("controls", [(), (Control(kind="line"),)], ids=["plain", "control"])
@pytest.mark.parametrize(
    "how",
    [{"action": "fill"}, {"action": "refine", "strength": 0.5}, {"action": "generate"}],
    ids=str,
)
def test_a_checkpoint_with_inpaint_channels_paints_too(
    inpaint_folder, how: dict[str, Any], controls: tuple[Control, ...]
) -> None:
    engine = make_tiny_engine(inpaint_folder)
    below = scenery()
    request = ask(below, HARD, controls=controls, **how)
    layer = painted(engine, request)
    after = composite(layer, below)
    assert (after[HARD == 0] == below[HARD == 0]).all()
    assert (after[HARD > 0] != below[HARD > 0]).any()
    assert (painted(engine, request) == layer).all()


@pytest.mark.parametrize("controls", [(), (Control(kind="line"),)], ids=["plain", "control"])
@pytest.mark.parametrize("checkpoint", ["tiny_folder", "inpaint_folder"])
def test_a_model_in_half_precision_paints_too(
    request: pytest.FixtureRequest, checkpoint: str, controls: tuple[Control, ...]
) -> None:
    engine = make_tiny_engine(request.getfixturevalue(checkpoint), torch.bfloat16)
    for sampler in ("Euler a", "DPM++ 2M Karras"):
        asked = ask(scenery(), HARD, controls=controls, sampler=sampler, previews=True)
        (made,) = results(engine, asked)
        assert made.recipe["dtype"] == "bfloat16"
        assert (layer_of(made, asked.canvas)[..., 3] == HARD).all()


def test_variants_arrive_as_they_finish(engine: Engine) -> None:
    messages = answers(engine, ask(scenery(), HARD, variants=2))
    kinds = [type(m).__name__ for m in messages]
    assert "Progress" in kinds[kinds.index("Result") + 1 :]
    assert layer_of(messages[-1], Size(WIDTH, HEIGHT)).any()
