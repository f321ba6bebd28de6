"""Checkpoints in one file: told by their header alone, loaded tensor by tensor, refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import make_sd2, make_sd15, make_sdxl, make_single
from ldm import full_size, save_sparse
from velatura.models.errors import ModelError
from velatura.models.families import sdxl, single
from velatura.models.library import Library
from velatura.models.weights import read_header

CPU = torch.device("cpu")
MAKERS = {
    "sd15": make_sd15,
    "sd2": make_sd2,
    "sdxl": lambda folder: make_sdxl(folder, (768, 1280)),
}
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    return {name: full_size(single.CONFIGS / name) for name in MAKERS}


@pytest.fixture
def models(tmp_path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def library(models, tmp_path) -> Library:
    return Library([models], starter=tmp_path / "no-starter")


@pytest.mark.parametrize(
    ("family", "native", "largest"), [("sd15", 512, 1024), ("sd2", 512, 1024), ("sdxl", 1024, 2048)]
)
def test_a_full_size_file_is_known_by_its_header(models, library, shapes, family, native, largest):
    path = save_sparse(models / "Painter's own.safetensors", shapes[family])
    (info,) = library.models()
    assert (info.name, info.family) == ("Painter's own", family)
    assert (info.native, info.largest) == (native, largest)
    # The files are as large as real ones, and none of it was read.
    assert path.stat().st_size > 2 * 10**9


@pytest.mark.parametrize(
    ("family", "channels", "extra"),
    [(f, 9, "inpaint") for f in MAKERS] + [("sd15", 5, "depth"), ("sd2", 5, "depth")],
)
def test_its_channels_tell_what_it_takes(models, library, shapes, family, channels, extra):
    width = (320, channels, 3, 3)
    save_sparse(
        models / "a.safetensors", shapes[family] | {f"{UNET}input_blocks.0.0.weight": width}
    )
    assert library.snapshot().entry("a").extra == extra


def test_marks_of_a_derivative_tell_what_it_predicts(models, library, shapes):
    save_sparse(models / "a.safetensors", shapes["sdxl"] | {"v_pred": (), "ztsnr": ()})
    assert [info.family for info in library.models()] == ["sdxl"]
    found = sdxl.SDXL.detect_file(read_header(models / "a.safetensors"))
    assert found.schedule == {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


def test_the_refiner_is_named(models, library):
    refiner = {
        f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (768, 1280),
        f"{UNET}label_emb.0.0.weight": (1536, 2560),
    }
    save_sparse(models / "a.safetensors", refiner)
    assert "the refiner of Stable Diffusion XL" in library.unusable()[0].reason


def test_a_copy_of_moving_averages_changes_nothing(models, library, shapes):
    more = {f"model_ema.{name}": shape for name, shape in shapes["sd15"].items()}
    save_sparse(models / "a.safetensors", shapes["sd15"] | more)
    assert [info.family for info in library.models()] == ["sd15"]


def test_metadata_tells_what_stable_diffusion_2_predicts(models, library, shapes):
    save_sparse(models / "a.safetensors", shapes["sd2"], {"modelspec.prediction_type": "v"})
    (info,) = library.models()
    assert info.native == 768


@pytest.mark.parametrize(("spread", "v"), [(0.02, False), (0.2, True)])
def test_one_bias_tells_what_stable_diffusion_2_predicts(tmp_path, spread, v):
    from safetensors.torch import save_file

    name = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
    bias = spread * torch.randn(320, generator=torch.Generator().manual_seed(0))
    save_file({"first": torch.ones(7), name: bias.half()}, tmp_path / "a.safetensors")
    assert single.predicts_v(read_header(tmp_path / "a.safetensors")) is v


@pytest.mark.parametrize(
    ("shapes_of", "looks"),
    [
        ({"lora_unet_down_blocks_0_attn.lora_down.weight": (4, 320)}, "a LoRA"),
        ({"unet.down_blocks.0.to_k.lora_A.weight": (4, 320)}, "a LoRA"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3)}, "a VAE"),
        ({"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}, "a VAE"),
        ({"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "FLUX"),
        ({f"{UNET}double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "FLUX"),
        ({"joint_blocks.0.context_block.x": (4,)}, "Stable Diffusion 3"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "a ControlNet"),
        ({"emb_params": (4, 768)}, "a textual inversion"),
        ({"something": (1,)}, "nothing that is known here"),
        (
            {f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 1280)},
            "a Stable Diffusion model of an unknown kind",
        ),
    ],
    ids=str,
)
def test_a_file_of_no_family_is_named_for_what_it_looks_like(models, library, shapes_of, looks):
    save_sparse(models / "a.safetensors", shapes_of)
    assert library.models() == ()
    (other,) = library.unusable()
    assert f"it looks like {looks}" in other.reason


@pytest.mark.parametrize(
    ("without", "part"),
    [("cond_stage_model.", "text encoder"), ("first_stage_model.", "autoencoder")],
)
def test_a_file_without_a_part_is_told_apart(models, library, shapes, without, part):
    rest = {n: s for n, s in shapes["sd15"].items() if not n.startswith(without)}
    save_sparse(models / "a.safetensors", rest)
    (other,) = library.unusable()
    assert f"without its {part}" in other.reason


@pytest.mark.parametrize("family", MAKERS)
def test_every_weight_arrives_where_it_belongs(models, library, tmp_path, monkeypatch, family):
    folder = MAKERS[family](tmp_path / "folder")
    parts = make_single(models / "a.safetensors", folder, tmp_path / "configs", family)
    monkeypatch.setattr(single, "CONFIGS", tmp_path / "configs")
    loaded = library.load("a", CPU, torch.float32, lambda *_: None)
    assert loaded.family.name == family
    assert len(loaded.digest) == 16
    assert len(loaded.tokenizer) == 49408
    for name, part in parts.items():
        theirs = part.state_dict()
        ours = getattr(loaded, name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


@pytest.mark.parametrize(
    "start",
    [
        f"{UNET}time_embed.0.weight",
        "first_stage_model.quant_conv.",
        "cond_stage_model.transformer.text_model.final",
    ],
)
def test_missing_weights_are_refused_not_made_up(models, library, tmp_path, monkeypatch, start):
    from safetensors.torch import load_file, save_file

    make_single(
        models / "a.safetensors", make_sd15(tmp_path / "folder"), tmp_path / "configs", "sd15"
    )
    monkeypatch.setattr(single, "CONFIGS", tmp_path / "configs")
    tensors = load_file(models / "a.safetensors")
    save_file(
        {n: t for n, t in tensors.items() if not n.startswith(start)}, models / "a.safetensors"
    )
    with pytest.raises(ModelError, match=r"'a'.*get (it again|the whole)") as caught:
        library.load("a", CPU, torch.float32, lambda *_: None)
    assert caught.value.code == "unsupported"
