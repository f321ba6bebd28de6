"""Stable Diffusion 1.5: detection from config files, loading of the real classes at toy size."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from velatura.models.errors import ModelError
from velatura.models.families.registry import families, read_families
from velatura.models.families.sd15 import SD15
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol.messages import ACTIONS


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("families") / "tiny")


@pytest.fixture
def copy(tiny, tmp_path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def edit(path: Path, **changes: object) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **changes}))


def test_families_have_different_names_and_know_the_protocols_actions():
    there = families()
    assert {family.name for family in there.all} >= {"sd15", "sd2", "sdxl"}
    assert not there.refused
    assert all(set(family.actions) <= set(ACTIONS) for family in there.all)


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, "velatura.families")


OURS = point("sd15", "velatura.models.families.sd15:SD15")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("velatura.models.families.sdxl:NOTHING", "does not load: AttributeError"),
        ("no_such_package:FAMILY", "does not load: ModuleNotFoundError"),
        ("velatura.models.families.sdxl:detect", "which is no Family"),
        ("velatura.models.families.sd15:SD15", "has the name 'sd15'"),
    ],
)
def test_a_family_that_is_broken_or_takes_anothers_name_is_refused_with_a_sentence(value, why):
    # A name that comes first: the family of the house keeps its own all the same.
    read = read_families([point("a", value), OURS])
    assert [family.name for family in read.all] == ["sd15"]
    (sentence,) = read.refused
    assert "'a'" in sentence or "'sd15'" in sentence
    assert why in sentence


def test_a_family_that_is_registered_twice_alike_is_one():
    assert [family.name for family in read_families([OURS, OURS]).all] == ["sd15"]


def test_a_stable_diffusion_folder_is_recognised_with_its_native_size(tiny):
    found = SD15.detect(tiny, "unet")
    assert found.native == 64
    assert found.extra == ""


def test_nine_input_channels_mean_an_inpaint_checkpoint(copy):
    edit(copy / "unet" / "config.json", in_channels=9)
    assert SD15.detect(copy, "unet").extra == "inpaint"


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("model_index.json", {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}),
        ("unet/config.json", {"in_channels": 7}),
        ("unet/config.json", {"cross_attention_dim": 1024}),
        ("unet/config.json", {"addition_embed_type": "text_time"}),
        ("unet/config.json", {"_class_name": "FluxTransformer2DModel"}),
        ("vae/config.json", {"latent_channels": 16}),
    ],
)
def test_other_families_are_left_to_others(copy, file, changes):
    edit(copy / file, **changes)
    assert SD15.detect(copy, "unet") is None


def test_configs_that_do_not_fit_get_one_sentence(copy):
    edit(copy / "vae" / "config.json", block_out_channels=[8, 8])
    with pytest.raises(ModelError, match="do not fit"):
        SD15.detect(copy, "unet")


def load(folder: Path, dtype: torch.dtype = torch.float32, progress=lambda part, what: None):
    return SD15.load(
        "tiny", folder, SD15.detect(folder, "unet"), torch.device("cpu"), dtype, progress
    )


def test_a_loaded_model_is_ready_to_paint(tiny):
    steps: list[tuple[float, str]] = []
    loaded = load(tiny, torch.bfloat16, lambda part, what: steps.append((part, what)))
    for part in (loaded.text_encoder, loaded.unet, loaded.vae):
        assert not part.training
        assert all(p.dtype == torch.bfloat16 for p in part.parameters())
        assert not any(p.requires_grad for p in part.parameters())
    parts = [part for part, _ in steps]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0, 1)
    assert loaded.tiny_vae is None
    assert loaded.scheduler_config["beta_schedule"] == "scaled_linear"


def test_the_parts_make_diffusers_own_pipeline(tiny):
    from diffusers import StableDiffusionPipeline
    from velatura.models.samplers import make_scheduler

    loaded = load(tiny)
    settings = {"num_inference_steps": 2, "output_type": "np", "guidance_scale": 3.0}
    stock = StableDiffusionPipeline.from_pretrained(tiny, local_files_only=True)
    ours = StableDiffusionPipeline(
        vae=loaded.vae,
        text_encoder=loaded.text_encoder,
        tokenizer=loaded.tokenizer,
        unet=loaded.unet,
        scheduler=stock.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pictures = []
    for pipeline in (stock, ours):
        pipeline.scheduler = make_scheduler("Euler", loaded.scheduler_config)
        pipeline.set_progress_bar_config(disable=True)
        pictures.append(
            pipeline("a red boat", generator=torch.Generator().manual_seed(3), **settings).images[0]
        )
    # The layout in memory differs (channels last), and with it the last bits.
    assert abs(pictures[0] - pictures[1]).max() < 1e-4


def test_a_tiny_autoencoder_is_loaded_where_there_is_one(copy):
    from diffusers import AutoencoderTiny

    AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
    ).save_pretrained(copy / "vae-tiny")
    assert isinstance(load(copy).tiny_vae, AutoencoderTiny)


def test_a_checkpoint_of_half_precision_files_is_loaded(copy):
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (copy / part / f"{stem}.safetensors").rename(copy / part / f"{stem}.fp16.safetensors")
    assert load(copy).unet.dtype == torch.float32


def test_a_checkpoint_in_shards_is_loaded(copy, tiny):
    from diffusers import UNet2DConditionModel

    whole = UNet2DConditionModel.from_pretrained(tiny / "unet")
    shutil.rmtree(copy / "unet")
    whole.save_pretrained(copy / "unet", max_shard_size="64KB")
    assert len(list((copy / "unet").glob("*.safetensors"))) > 1
    assert torch.equal(load(copy).unet.conv_in.weight, whole.conv_in.weight)


def test_an_inpaint_checkpoint_is_loaded_with_its_nine_channels(copy):
    from diffusers import UNet2DConditionModel

    config = UNet2DConditionModel.load_config(copy / "unet")
    shutil.rmtree(copy / "unet")
    UNet2DConditionModel.from_config({**config, "in_channels": 9}).save_pretrained(copy / "unet")
    loaded = load(copy)
    assert loaded.extra == "inpaint"
    assert loaded.unet.conv_in.in_channels == 9


def rewrite(path: Path, change) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_missing_weights_are_refused_not_made_up(copy, part):
    path = next((copy / part).glob("*.safetensors"))
    rewrite(path, lambda tensors: tensors.pop(sorted(tensors)[0]))
    with pytest.raises(ModelError, match=rf"{part} lacks 1 weights") as caught:
        load(copy)
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_weights_of_another_shape_are_refused(copy, part):
    path = next((copy / part).glob("*.safetensors"))

    def grow(tensors):
        name = sorted(tensors)[0]
        tensors[name] = torch.cat([tensors[name], tensors[name]])

    rewrite(path, grow)
    with pytest.raises(ModelError, match=part):
        load(copy)
