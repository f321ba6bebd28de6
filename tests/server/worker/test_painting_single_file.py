"""A model in one file paints what the same model in a diffusers folder does."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import edit, make_sd15, make_single
from painting import ask, painted, scenery
from velatura.models.families import single
from velatura.models.families.clip import make_tokenizer
from velatura.models.library import Library
from velatura.models.samplers import make_scheduler
from velatura.server.worker.engine import Engine

SIDE = 64
PROMPT = "a photo of a cat, détail 4k"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """The model "folder" and the same as one file, "file"."""
    models = tmp_path_factory.mktemp("both") / "models"
    text = {"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407}
    folder = make_sd15(models / "folder", **text)
    make_tokenizer().save_pretrained(folder / "tokenizer")
    make_single(models / "file.safetensors", folder, models.parent / "configs", "sd15")
    return models


@pytest.fixture(scope="module")
def engine(models) -> Engine:
    library = Library([models], starter=models / "no-starter")
    return Engine(library, torch.device("cpu"), torch.float32, "this test's CPU")


def test_one_file_and_a_folder_of_the_same_weights_paint_the_same(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single, "CONFIGS", models.parent / "configs")
    both = Path(shutil.copytree(models, tmp_path / "models"))
    # A single file does not tell its size: it has the family's.
    edit(both / "folder" / "unet" / "config.json", sample_size=64)
    library = Library([both], starter=tmp_path / "no-starter")
    engine = Engine(library, torch.device("cpu"), torch.float32, "this test's CPU")
    settings = {"action": "generate", "steps": 2, "guidance": 1.0, "prompt": PROMPT}
    one, other = (
        painted(engine, ask(scenery(SIDE, SIDE), model=name, **settings)).astype(int)
        for name in ("file", "folder")
    )
    # The layout in memory may differ (channels last), and with it the last bits of a sum.
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M Karras", "DDIM"])
def test_generate_gives_the_pixels_of_the_stock_pipeline(
    engine: Engine, models: Path, sampler: str
) -> None:
    from diffusers import StableDiffusionPipeline

    settings = {"guidance": 4.0, "sampler": sampler, "negative": "night", "prompt": PROMPT}
    request = ask(scenery(SIDE, SIDE), model="folder", action="generate", **settings)
    ours = painted(engine, request)
    stock = StableDiffusionPipeline.from_pretrained(models / "folder", local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = make_scheduler(sampler, dict(stock.scheduler.config))
    theirs = stock(
        PROMPT,
        negative_prompt="night",
        width=SIDE,
        height=SIDE,
        num_inference_steps=4,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    # Rounding to bytes, and the layout in memory (channels last) with the last bits of a sum.
    assert np.abs(ours[..., :3] / 255 - theirs).max() < 0.5 / 255 + 1e-4
