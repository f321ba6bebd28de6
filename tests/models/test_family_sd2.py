"""Stable Diffusion 2: told from 1.5 by its text encoder, and a depth UNet beside a model's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import edit, make_sd2, put_estimator, put_unet
from velatura.models.errors import ModelError
from velatura.models.families.clip import make_tokenizer
from velatura.models.families.sd2 import SD2
from velatura.models.families.sd15 import SD15
from velatura.models.library import Library
from velatura.models.starter.recipe.tiny import make_tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_sd2(tmp_path_factory.mktemp("families") / "tiny")


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "models" / "two"))


@pytest.fixture
def library(tmp_path) -> Library:
    (tmp_path / "models").mkdir(exist_ok=True)
    return Library([tmp_path / "models"], starter=tmp_path / "no-starter")


def test_an_exclamation_mark_in_a_prompt_is_not_the_padding(copy, library):
    """As OpenCLIP's own tokenizer: only the filling up is 0."""
    shutil.rmtree(copy / "tokenizer")
    make_tokenizer("!").save_pretrained(copy / "tokenizer")
    edit(copy / "tokenizer" / "tokenizer_config.json", split_special_tokens=False)
    loaded = library.load("two", CPU, torch.float32, lambda *_: None)
    for tokenizer in (make_tokenizer("!"), loaded.tokenizer):
        told = tokenizer(["wow!", "! !! !!!"], padding="max_length").input_ids
        assert told[0][:5] == [49406, 2781, 256, 49407, 0]
        assert told[1][:6] == [49406, 256, 748, 995, 49407, 0]
    assert loaded.denoiser.text.tokenize("wow!") == [2781, 256]


@pytest.mark.parametrize(("sample", "native"), [(64, 512), (96, 768)])
def test_its_width_of_text_and_native_size_are_read_from_the_configs(copy, sample, native):
    edit(copy / "unet" / "config.json", sample_size=sample)
    assert SD2.detect(copy, "unet").native == native
    assert SD15.detect(copy, "unet") is None


@pytest.mark.parametrize(("channels", "extra"), [(4, ""), (5, "depth"), (9, "inpaint")])
def test_what_it_takes_is_told_by_its_channels(copy, channels, extra):
    edit(copy / "unet" / "config.json", in_channels=channels)
    assert SD2.detect(copy, "unet").extra == extra


def test_it_loads_under_its_own_family_with_its_prediction(copy, library):
    edit(copy / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    (info,) = library.models()
    assert (info.family, info.native) == ("sd2", 64)
    loaded = library.load("two", CPU, torch.float32, lambda *_: None)
    assert loaded.family is SD2
    assert loaded.scheduler_config["prediction_type"] == "v_prediction"


def test_a_depth_checkpoint_brings_its_estimator(copy, library):
    put_unet(copy, in_channels=5)
    put_estimator(copy)
    loaded = library.load("two", CPU, torch.float32, lambda *_: None)
    assert loaded.extra == "depth"
    picture = torch.arange(64 * 48 * 3, dtype=torch.uint8).reshape(48, 64, 3).numpy()
    assert loaded.estimate_depth(picture).ndim == 2


def test_a_depth_unet_beside_a_models_own_is_a_second_model(tmp_path, library):
    folder = make_tiny(tmp_path / "models" / "one")
    put_unet(folder, "unet-depth", in_channels=5)
    plain, depth = library.models()
    assert (plain.name, depth.name, depth.family) == ("one", "one depth", plain.family)
    assert "depth" not in plain.controls
    assert depth.controls == ("depth",)
    assert "depth guide" in depth.words
    assert (library.snapshot().entry("one").extra, library.snapshot().entry("one depth").extra) == (
        "",
        "depth",
    )
    both = [library.load(n, CPU, torch.float32, lambda *_: None) for n in ("one", "one depth")]
    assert [loaded.unet.config.in_channels for loaded in both] == [4, 5]
    assert both[0].digest != both[1].digest


@pytest.mark.parametrize("fault", ["channels", "weights", "config"])
def test_a_depth_unet_that_cannot_paint_is_named_and_leaves_its_model(tmp_path, library, fault):
    folder = make_tiny(tmp_path / "models" / "one")
    put_unet(folder, "unet-depth", in_channels=4 if fault == "channels" else 5)
    if fault == "weights":
        (folder / "unet-depth" / "diffusion_pytorch_model.safetensors").unlink()
    if fault == "config":
        (folder / "unet-depth" / "config.json").write_text(json.dumps({"in_channels": 5}))
    assert [info.name for info in library.models()] == ["one"]
    (broken,) = library.unusable()
    assert broken.name == "one depth"
    with pytest.raises(ModelError, match="one depth"):
        library.snapshot().entry("one depth")
