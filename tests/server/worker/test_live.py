"""Live painting with a tiny model: what is repainted, what stays, and what is given up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelImg2ImgPipeline, LCMScheduler
from diffusers.schedulers import scheduling_lcm
from live_painting import Easel, opened
from painting import as_image, ask, in_memory, make_tiny_engine, painted, scenery
from velatura.models.few_step import FEW_STEP
from velatura.protocol.messages import Control, LiveSettings
from velatura.protocol.region import Rect
from velatura.server.worker.errors import JobError
from velatura.server.worker.live.painter import LivePainter
from velatura.server.worker.live.unet.model import UNetLiveModel

SPOT = Rect(20, 30, 6, 6)


class Passes:
    """Counts the UNet's passes and the cells of their latents; ``before`` is called at each."""

    def __init__(self) -> None:
        self.cells: list[int] = []
        self.steps: list[int] = []
        self.before = lambda: None

    def __enter__(self) -> Passes:
        self._predict = UNetLiveModel.predict

        def counted(model, x, step):
            self.cells.append(x.shape[-2] * x.shape[-1])
            self.steps.append(int(step.timestep))
            self.before()
            return self._predict(model, x, step)

        UNetLiveModel.predict = counted
        return self

    def __exit__(self, *exc) -> None:
        UNetLiveModel.predict = self._predict


# (canvas, canvas pixels per model pixel): the tiny model's largest picture is 128 x 48.
@pytest.fixture(params=[(256, 96), (128, 48)], ids=["halved", "as it is"])
def easel(engine, request):
    width, height = request.param
    easel = Easel(opened(width, height), scenery(width, height), engine)
    yield easel
    engine.close_live(easel.canvas.job)


def test_a_key_frame_gives_a_whole_opaque_picture_that_is_not_the_canvas(easel):
    easel.key()
    result = easel.paint()
    assert (result.x, result.y, result.revision) == (0, 0, 1)
    assert easel.shown.shape == easel.picture.shape
    assert (easel.shown[..., 3] == 255).all()
    assert easel.shown[..., :3].std() > 1
    assert (easel.shown != easel.picture).any()


@pytest.mark.parametrize(("steps", "strength"), [(1, 0.1), (4, 0.4), (3, 1.0), (6, 0.01)])
def test_all_the_steps_asked_for_run_whatever_the_strength(engine, steps, strength):
    easel = Easel(opened(64, 64, steps=steps, strength=strength), scenery(64, 64), engine)
    easel.key()
    with Passes() as passes:
        easel.paint()
    assert len(passes.steps) == steps
    assert passes.steps == sorted(passes.steps, reverse=True)
    assert passes.steps[0] <= 1000 * strength


def test_strength_0_gives_the_canvas_back_and_runs_no_model(engine):
    easel = Easel(opened(64, 64, strength=0.0), scenery(64, 64), engine)
    easel.key()
    with Passes() as passes:
        easel.paint()
        easel.brush(SPOT)
        assert to_size(easel.paint()) == (6, 6)
    assert not passes.steps
    assert (easel.shown == easel.picture).all()


def to_size(result) -> tuple[int, int]:
    return result.picture.width, result.picture.height


def test_a_small_change_repaints_a_crop_and_leaves_the_rest_as_it_was(easel, engine):
    easel.key()
    with Passes() as whole:
        easel.paint()
    before = easel.shown.copy()
    easel.brush(SPOT)
    with Passes() as crop:
        result = easel.paint()
    assert sum(crop.cells) <= sum(whole.cells) / 2
    assert result.revision == 2
    changed = (easel.shown != before).any(-1)
    assert changed[SPOT.y : SPOT.bottom, SPOT.x : SPOT.right].mean() > 0.9
    columns = np.flatnonzero(changed.any(0))
    # The reach of a change, the rest of the cell in which that ends, and what enlarging mixes.
    margin = (6 + 8 + 3) * easel.picture.shape[0] // 48
    assert columns.max() < SPOT.right + margin
    assert columns.min() >= SPOT.x - margin


def test_parts_laid_over_each_other_are_the_servers_whole_picture(easel):
    easel.key()
    easel.paint()
    height, width = easel.picture.shape[:2]
    for rect in (SPOT, Rect(width - 9, height - 8, 9, 8), Rect(0, 0, 3, 3), Rect(0, 40, 21, 8)):
        easel.brush(rect)
        assert easel.paint().picture.width < width * 0.6
    parts = easel.shown.copy()
    easel.key()
    easel.paint()
    assert (easel.shown == parts).all()


def test_the_same_canvas_gives_the_same_picture_and_another_seed_another(engine):
    shown = []
    for seed in (7, 7, 8):
        easel = Easel(opened(seed=seed), scenery(), engine)
        easel.key()
        easel.paint()
        shown.append(easel.shown)
    assert (shown[0] == shown[1]).all()
    assert (shown[0] != shown[2]).any()


def test_nothing_changed_nothing_computed(easel, engine):
    easel.key()
    easel.paint()
    before = easel.shown.copy()
    with Passes() as passes:
        easel.brush(Rect(0, 0, 1, 1), tuple(easel.picture[0, 0]))
        result = easel.paint()
        easel.key()
        whole = easel.paint()
        assert easel.paint() is None
    assert not passes.steps
    assert (result.revision, whole.revision) == (2, 3)
    assert to_size(result) < (20, 20)
    assert to_size(whole) == easel.picture.shape[1::-1]
    assert (easel.shown == before).all()


def test_new_settings_repaint_the_whole_canvas_without_a_frame(easel, engine):
    easel.key()
    easel.paint()
    before = easel.shown.copy()
    easel.canvas.change(LiveSettings(job=easel.canvas.job, prompt="a blue boat", seed=7, steps=2))
    with Passes() as passes:
        result = easel.paint()
    assert len(passes.steps) == 2
    assert to_size(result) == easel.picture.shape[1::-1]
    assert (easel.shown != before).any()


def test_a_newer_frame_stops_the_older_one_within_a_step_but_never_two_in_a_row(easel, engine):
    easel.key()
    with Passes() as passes:
        passes.before = lambda: easel.brush(SPOT)
        assert easel.paint() is None
        assert len(passes.steps) == 1
        passes.steps.clear()
        # The brush does not rest, yet this one comes to its end.
        assert easel.paint().revision == 2
        assert len(passes.steps) == 4
        passes.before = lambda: None
        assert easel.paint().revision == 6
    assert (easel.shown[..., 3] == 255).all()


def test_a_painting_past_its_middle_is_finished(easel, engine):
    easel.key()
    with Passes() as passes:
        passes.before = lambda: easel.brush(SPOT) if len(passes.steps) == 3 else None
        assert easel.paint().revision == 1


def test_what_was_given_up_is_painted_with_what_came_after_it(engine):
    kept, quick = (Easel(opened(128, 48), scenery(128, 48), engine) for _ in range(2))
    for easel in (kept, quick):
        easel.key()
        easel.paint()
    kept.brush(SPOT)
    kept.brush(Rect(30, 40, 4, 4))
    kept.paint()
    quick.brush(SPOT)
    with Passes() as passes:
        passes.before = lambda: quick.brush(Rect(30, 40, 4, 4)) if len(passes.steps) == 1 else None
        assert quick.paint() is None
        quick.paint()
    assert (quick.shown == kept.shown).all()


def test_closing_stops_at_the_next_step(easel, engine):
    easel.key()
    with Passes() as passes:
        passes.before = lambda: easel.canvas.close() if len(passes.steps) == 3 else None
        assert easel.paint() is None
    assert len(passes.steps) == 3


def test_transparent_canvas_is_painted_as_white(engine):
    clear, white = np.zeros((64, 64, 4), np.uint8), np.full((64, 64, 4), 255, np.uint8)
    shown = []
    for picture in (clear, white):
        easel = Easel(opened(64, 64), picture, engine)
        easel.key()
        easel.paint()
        shown.append(easel.shown)
    assert (shown[0] == shown[1]).all()


@pytest.mark.parametrize("sampler", ["LCM", "TCD", "DDIM", "Euler"])
def test_guidance_and_each_sampler_paint(engine, sampler):
    easel = Easel(opened(64, 64, sampler=sampler, guidance=3.0), scenery(64, 64), engine)
    easel.key()
    easel.paint()
    assert easel.shown[..., :3].std() > 1


@pytest.mark.parametrize("given", [True, False])
def test_a_control_steers_the_picture_and_follows_the_canvas_when_it_is_derived(engine, given):
    lines = np.zeros((64, 64), np.uint8)
    lines[:, 30:34] = 255
    control = Control(kind="line", picture=as_image(lines) if given else None)
    shown = []
    for controls in ((), (control,)):
        easel = Easel(opened(64, 64, controls=controls), scenery(64, 64), engine)
        easel.key()
        easel.paint()
        shown.append(easel.shown)
    assert (shown[0] != shown[1]).any()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"model": "none"}, "model"),
        ({"sampler": "Heun"}, "sampler"),
        ({"prompt": "<lora:x:1>"}, "prompt"),
        (
            {"controls": (Control(kind="line", picture=as_image(scenery(8, 8))),)},
            "controls[0].picture",
        ),
    ],
)
def test_what_cannot_be_painted_live_is_refused_with_its_field(engine, more, field):
    easel = Easel(opened(64, 64, **more), scenery(64, 64), engine)
    easel.key()
    with pytest.raises(JobError) as refused:
        easel.paint()
    assert refused.value.field == field


def test_live_uses_few_step_weights_and_leaves_ordinary_jobs_as_they_were(tmp_path: Path):
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file
    from velatura.models.starter.recipe.networks import add_lora
    from velatura.models.starter.recipe.tiny import make_tiny

    folder = make_tiny(tmp_path / "tiny")
    plain, few = make_tiny_engine(folder), make_tiny_engine(folder)
    job = ask(scenery(64, 64), action="refine", strength=0.6)
    before = painted(plain, job)
    easels = [Easel(opened(64, 64), scenery(64, 64), one) for one in (plain, few)]
    easels[0].key()
    easels[0].paint()
    unet = add_lora(in_memory(plain).unet, 4, convolutions=True)
    torch.manual_seed(0)
    weights = {
        f"unet.{name}": torch.randn_like(value) * 0.3
        for name, value in get_peft_model_state_dict(unet).items()
    }
    save_file(weights, folder / FEW_STEP)
    easels[1].key()
    easels[1].paint()
    assert (easels[0].shown != easels[1].shown).any()
    assert (painted(few, job) == before).all()
    (folder / FEW_STEP).write_bytes(b"junk")
    broken = Easel(opened(64, 64), scenery(64, 64), make_tiny_engine(folder))
    broken.key()
    with pytest.raises(JobError, match=FEW_STEP):
        broken.paint()


@pytest.mark.parametrize(
    ("steps", "strength", "guidance"),
    [(1, 1.0, 1.0), (1, 1.0, 8.0), (2, 0.3, 8.0), (4, 0.6, 4.5), (8, 1.0, 8.0)],
)
def test_lcms_own_unet_paints_what_the_stock_pipeline_does(
    families, monkeypatch, steps, strength, guidance
):
    engine, made = make_tiny_engine(families["lcm"]), []
    decode = UNetLiveModel.decode

    def kept(model, latents, cells):
        made.append((model._clean.clone(), latents.clone()))
        return decode(model, latents, cells)

    monkeypatch.setattr(UNetLiveModel, "decode", kept)
    # Its passes are none of the picture's.
    monkeypatch.setattr(LivePainter, "rehearse", lambda painter: None)
    asked = {"steps": steps, "strength": strength, "guidance": guidance}
    easel = Easel(opened(64, 64, **asked), scenery(64, 64), engine)
    easel.key()
    with Passes() as passes:
        easel.paint()
    ((source, ours),) = made
    loaded = in_memory(engine)
    scheduler = LCMScheduler.from_config(loaded.scheduler_config, clip_sample=False)
    stock = LatentConsistencyModelImg2ImgPipeline(
        vae=loaded.vae,
        text_encoder=loaded.text_encoder,
        tokenizer=loaded.tokenizer,
        unet=loaded.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    drawn = torch.randn((steps, *source.shape[1:]), generator=torch.Generator().manual_seed(7))
    first, *more = drawn.split(1)
    left = iter(more)
    monkeypatch.setattr(scheduling_lcm, "randn_tensor", lambda *_, **__: next(left))
    theirs = stock(
        "a red house",
        image=source,
        latents=scheduler.add_noise(source, first, torch.tensor(passes.steps[:1])),
        timesteps=passes.steps,
        strength=1.0,
        guidance_scale=guidance,
        output_type="latent",
    ).images
    assert len(passes.steps) == steps
    assert next(left, None) is None
    assert torch.allclose(ours, theirs, atol=1e-3)
    easel.brush(SPOT)
    assert easel.paint() is not None


def test_a_canvas_smaller_than_the_model_paints_is_enlarged_for_it(engine):
    easel = Easel(opened(30, 21), scenery(30, 21), engine)
    easel.key()
    with Passes() as passes:
        result = easel.paint()
        easel.brush(Rect(3, 3, 2, 2))
        easel.paint()
    assert passes.cells[0] == 8 * 6  # 60 x 42, padded
    assert to_size(result) == (30, 21)
    assert (easel.shown[..., 3] == 255).all()


def test_the_first_stroke_waits_for_no_recording_and_a_rehearsal_shows_nothing(tiny_folder):
    engine = make_tiny_engine(tiny_folder)
    line = (Control(kind="line", end=0.5),)
    for more in ({}, {"controls": line}):
        easel = Easel(opened(128, 48, **more), scenery(128, 48), engine)
        easel.key()
        easel.paint()
        (network,) = (engine._shelf.peek(key) for key in engine._shelf if key[0] == "live")
        run, ends = network.run, network.ends
        recordings = len(run._recordings)
        assert recordings
        assert all(one._recordings for one in ends)
        painter, _ = engine._canvases._painters[easel.canvas.job]
        before = painter._shown.copy()
        easel.brush(Rect(20, 20, 6, 6))
        easel.paint()
        assert len(run._recordings) == recordings
        assert (painter._shown[:, 64:] == before[:, 64:]).all()
        assert len(easel.results) == 2
