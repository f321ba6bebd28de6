"""Stable Diffusion XL: told by its two text encoders, loaded with both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoints import edit, make_sdxl
from velatura.models.families.sd2 import SD2
from velatura.models.families.sd15 import SD15
from velatura.models.families.sdxl import SDXL
from velatura.models.library import Library

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_sdxl(tmp_path / "models" / "xl")


@pytest.fixture
def library(tmp_path) -> Library:
    return Library([tmp_path / "models"], starter=tmp_path / "no-starter")


def test_it_is_told_by_its_encoders_and_its_unet(folder):
    edit(folder / "unet" / "config.json", sample_size=128)
    found = SDXL.detect(folder, "unet")
    assert (found.native, found.extra) == (1024, "")
    assert SD15.detect(folder, "unet") is None
    assert SD2.detect(folder, "unet") is None


def test_its_refiner_is_none_of_it(folder, library):
    edit(folder / "model_index.json", text_encoder=[None, None], tokenizer=[None, None])
    assert library.models() == ()
    assert "it looks like StableDiffusionXLPipeline" in library.unusable()[0].reason


def test_a_loaded_model_has_both_encoders(folder, library):
    (info,) = library.models()
    assert (info.family, info.controls) == ("sdxl", ("canny", "line", "scribble"))
    loaded = library.load("xl", CPU, torch.float32, lambda *_: None)
    assert loaded.text_encoder_2.config.projection_dim == 32
    assert loaded.tokenizer.pad_token != loaded.tokenizer_2.pad_token == "!"


@pytest.mark.parametrize(("upcast", "dtype"), [(True, torch.float32), (False, torch.float16)])
def test_an_autoencoder_that_overflows_in_half_precision_is_kept_in_full(
    folder, library, upcast, dtype
):
    edit(folder / "vae" / "config.json", force_upcast=upcast)
    loaded = library.load("xl", CPU, torch.float16, lambda *_: None)
    assert (loaded.vae.dtype, loaded.unet.dtype) == (dtype, torch.float16)


def test_the_config_files_that_ship_name_real_classes():
    import diffusers
    import transformers
    from velatura.models.families.single import CONFIGS

    for index in CONFIGS.glob("*/model_index.json"):
        for value in json.loads(index.read_text()).values():
            if isinstance(value, list) and value[0]:
                assert hasattr(
                    {"diffusers": diffusers, "transformers": transformers}[value[0]], value[1]
                )
