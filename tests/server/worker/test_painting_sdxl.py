"""Painting with Stable Diffusion XL: its two encoders, and the pixels of the stock pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import edit, make_sdxl
from diffusers import UNet2DConditionModel
from live_painting import Easel, opened
from painting import ask, in_memory, make_tiny_engine, painted, scenery
from velatura.models.library import Library
from velatura.models.samplers import make_scheduler
from velatura.protocol.messages import Control
from velatura.server.worker.engine import Engine
from velatura.server.worker.prompt.encode import embed
from velatura.server.worker.prompt.language import parse

SIDE = 64
HARD = np.zeros((SIDE, SIDE), np.uint8)
HARD[16:48, 16:48] = 255
LINE = (Control(kind="line"),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_sdxl(tmp_path_factory.mktemp("xl") / "tiny")


@pytest.fixture(scope="module")
def plain(folder) -> Engine:
    return make_tiny_engine(folder)


@pytest.fixture(scope="module")
def inpaint_folder(tmp_path_factory) -> Path:
    return make_sdxl(tmp_path_factory.mktemp("xl") / "tiny", in_channels=9)


@pytest.mark.parametrize("change", [{"prompt": "(a red house:1.4)"}, {"negative": "night"}])
def test_what_the_painter_writes_changes_the_pixels(plain: Engine, change: dict[str, str]) -> None:
    before, after = (
        painted(plain, ask(scenery(SIDE, SIDE), action="generate", **words))
        for words in ({}, change)
    )
    assert (before != after).any()


@pytest.mark.parametrize("negative", ["", "night"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M Karras"])
def test_generate_gives_the_pixels_of_the_stock_pipeline(
    folder: Path, sampler: str, prediction: str, negative: str
) -> None:
    from diffusers import StableDiffusionXLPipeline

    edit(folder / "scheduler" / "scheduler_config.json", prediction_type=prediction)
    engine = make_tiny_engine(folder)
    settings = {"guidance": 4.0, "sampler": sampler, "negative": negative}
    ours = painted(engine, ask(scenery(SIDE, SIDE), action="generate", **settings))
    stock = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    config = dict(stock.scheduler.config)
    stock.scheduler = make_scheduler(sampler, config)
    theirs = stock(
        "a red house",
        negative_prompt=negative or None,
        width=SIDE,
        height=SIDE,
        num_inference_steps=4,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    # Rounding to bytes, and the layout in memory (channels last) with the last bits of a sum.
    assert np.abs(ours[..., :3] / 255 - theirs).max() < 0.5 / 255 + 1e-4


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_it_paints_live(plain: Engine, guidance: float) -> None:
    shown = []
    for prompt in ("a red house", "a blue boat"):
        settings = opened(SIDE, SIDE, prompt=prompt, guidance=guidance, controls=LINE)
        easel = Easel(settings, scenery(SIDE, SIDE), plain)
        easel.key()
        assert easel.paint() is not None
        shown.append(easel.shown)
    assert (shown[0] != shown[1]).any()


def test_both_encoders_say_what_the_stock_pipeline_hears(folder: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    loaded = Library([], starter=folder).load("tiny", "cpu", torch.float32, lambda *_: None)
    stock = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    theirs, _, pooled, _ = stock.encode_prompt("a red house", do_classifier_free_guidance=False)
    text = embed(parse("a red house"), loaded)
    assert torch.equal(text.embeddings, theirs)
    assert torch.equal(text.pooled, pooled)
    skipped = embed(parse("a red house"), loaded, skip=1)
    assert not torch.equal(skipped.embeddings, theirs)


def test_inpainting_leaves_the_shared_autoencoder_in_its_precision(inpaint_folder: Path) -> None:
    edit(inpaint_folder / "vae" / "config.json", force_upcast=True)
    engine = make_tiny_engine(inpaint_folder, torch.float16)
    below = scenery(SIDE, SIDE)
    painted(engine, ask(below, HARD))
    assert in_memory(engine).vae.dtype == torch.float32


def test_each_tile_of_a_large_picture_is_told_as_a_picture_of_its_own_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the model was trained: height and width, nothing cut off, and the same again (Podell 2023).
    tiles = 0
    forward = UNet2DConditionModel.forward

    def seen(unet, sample, *others, added_cond_kwargs, **more):
        nonlocal tiles
        height, width = (8 * side for side in sample.shape[-2:])
        tiles += (height, width) == (SIDE, SIDE)
        for told in added_cond_kwargs["time_ids"].tolist():
            assert told == [height, width, 0, 0, height, width]
        return forward(unet, sample, *others, added_cond_kwargs=added_cond_kwargs, **more)

    monkeypatch.setattr(UNet2DConditionModel, "forward", seen)
    large = ask(scenery(144, 112), action="refine", strength=0.4, detail="full")
    painted(make_tiny_engine(folder), large)
    assert tiles >= 4
