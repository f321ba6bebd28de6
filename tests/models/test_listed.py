"""What cannot load says so when it is listed; what lies beside other files is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import make_sd15, make_sdxl
from ldm import full_size, save_sparse
from velatura.models.control_nets import kind_in
from velatura.models.families.single import CONFIGS
from velatura.models.library import Library
from velatura.models.snapshot import Snapshot

Shapes = dict[str, tuple[int, ...]]
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def sd15() -> Shapes:
    return full_size(CONFIGS / "sd15")


@pytest.fixture(scope="module")
def sdxl() -> Shapes:
    return full_size(CONFIGS / "sdxl")


def look(*folders: Path) -> Snapshot:
    return Library(folders, starter=Path("none")).snapshot()


def reason(folder: Path) -> str:
    """Why the only thing in a folder cannot be used."""
    seen = look(folder)
    assert not seen.entries
    (other,) = seen.unusable
    return other.reason


@pytest.mark.parametrize(
    "mark", ["edm_vpred.sigma_max", "edm_vpred.sigma_min", "edm_mean", "edm_std"]
)
def test_a_checkpoint_with_edms_noise_is_refused(tmp_path: Path, sdxl: Shapes, mark: str) -> None:
    save_sparse(tmp_path / "cosxl.safetensors", sdxl | {mark: ()})
    assert "EDM's noise" in reason(tmp_path)


def test_a_folder_with_edms_scheduler_is_refused(tmp_path: Path) -> None:
    config = make_sd15(tmp_path / "a") / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({"_class_name": "EDMDPMSolverMultistepScheduler"}))
    assert "EDM's noise" in reason(tmp_path)


def test_a_text_encoder_with_names_of_an_old_version_is_refused(
    tmp_path: Path, sd15: Shapes
) -> None:
    old = {name.replace(".transformer.text_model.", ".transformer."): s for name, s in sd15.items()}
    save_sparse(tmp_path / "old.safetensors", old)
    assert "names of an old version" in reason(tmp_path)


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ("first_stage_model.encoder.", "autoencoder is not whole"),
        ("first_stage_model.quant_conv.", "autoencoder is not whole"),
        ("conditioner.embedders.1.model.text_projection", "text encoder is not whole"),
        ("conditioner.embedders.0.transformer.text_model.encoder.layers.11", "is not whole"),
        (f"{UNET}input_blocks.8.1.transformer_blocks.9", "reduced or changed"),
        (f"{UNET}middle_block.1", "reduced or changed"),
        (f"{UNET}output_blocks.5.", "reduced or changed"),
    ],
)
def test_a_checkpoint_that_lacks_a_layer_is_refused(
    tmp_path: Path, sdxl: Shapes, lost: str, why: str
) -> None:
    save_sparse(
        tmp_path / "a.safetensors", {n: s for n, s in sdxl.items() if not n.startswith(lost)}
    )
    assert why in reason(tmp_path)


def test_averaged_weights_alone_are_called_so(tmp_path: Path) -> None:
    save_sparse(tmp_path / "a.safetensors", {"model_ema.diffusion_modelinput_blocks00weight": (3,)})
    assert "averaged weights (EMA)" in reason(tmp_path)


@pytest.mark.parametrize(
    ("part", "lost"),
    [("vae", "encoder.conv_in.weight"), ("text_encoder_2", "text_projection.weight")],
)
def test_a_part_in_a_folder_that_is_not_whole_is_refused(
    tmp_path: Path, part: str, lost: str
) -> None:
    from safetensors.torch import load_file, save_file

    (path,) = (make_sdxl(tmp_path / "xl") / part).glob("*.safetensors")
    tensors = load_file(path)
    del tensors[lost]
    save_file(tensors, path)
    assert f"{part} is not whole" in reason(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("num_hidden_layers", 10**6), ("vocab_size", 10**18)])
def test_a_config_that_cannot_be_true_is_refused(tmp_path: Path, name: str, value: int) -> None:
    config = make_sd15(tmp_path / "a") / "text_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), name: value}))
    assert "cannot be true" in reason(tmp_path)


def test_a_folder_whose_weights_are_all_of_one_variant_is_a_model(tmp_path: Path) -> None:
    made = make_sd15(tmp_path / "a")
    for path in [*made.glob("*/*.safetensors")]:
        path.rename(path.with_suffix(".bf16.safetensors"))
    assert [*look(tmp_path).entries] == ["a"]


@pytest.mark.parametrize("line", ["parameterization: v", '    parameterization: "v"  # 768'])
def test_a_yaml_beside_a_file_says_that_it_predicts_v(
    tmp_path: Path, sd15: Shapes, line: str
) -> None:
    save_sparse(tmp_path / "a.safetensors", sd15)
    library = Library([tmp_path], starter=Path("none"))
    assert library.prediction("a") == "epsilon"
    (tmp_path / "a.yaml").write_text(f"model:\n  params:\n{line}\n")
    assert library.prediction("a") == "v_prediction"


def test_a_stray_config_or_unet_folder_hides_no_file(tmp_path: Path, sd15: Shapes) -> None:
    for folder, mark in (("one", "config.json"), ("two", "unet")):
        save_sparse(tmp_path / folder / "photo.safetensors", sd15)
        (tmp_path / folder / mark).mkdir() if mark == "unet" else (
            tmp_path / folder / mark
        ).write_text("{}")
    save_sparse(tmp_path / "loras" / "hf" / "pytorch_lora_weights.safetensors", {"a": (1,)})
    (tmp_path / "loras" / "hf" / "config.json").write_text("{}")
    seen = look(tmp_path)
    assert [*seen.entries] == ["one/photo", "two/photo"]
    assert [one.name for one in seen.addons] == ["hf/pytorch_lora_weights"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mistoLine_fp16", "line"),
        ("noobaiXLControlnet_epsTile", "tile"),
        ("noobaiXLControlnet_epsSegment", "segmentation"),
        ("noobaiXLControlnet_epsMLSD", "straight"),
        ("OpenPoseXL2", "pose"),
        ("t2i.SoftEdge", "soft_edge"),
    ],
)
def test_camel_case_tells_a_nets_kind(name: str, kind: str) -> None:
    assert kind_in(name) == kind


def test_what_is_no_net_is_named_with_its_reason_and_only_there(tmp_path: Path) -> None:
    nets = tmp_path / "controlnet"
    save_sparse(nets / "ip-adapter.safetensors", {"image_proj.proj.weight": (3,)})
    save_sparse(nets / "t2i" / "diffusion_pytorch_model.safetensors", {"adapter.x": (3,)})
    (nets / "t2i" / "config.json").write_text('{"_class_name": "T2IAdapter"}')
    save_sparse(nets / "canny-difference.safetensors", {"difference": (), "a": (1,)})
    seen = look(tmp_path)
    assert all(item.reason for item in seen.of_kind("controlnet"))
    reasons = {one.name: one.reason for one in seen.unusable}
    assert "an IP-Adapter" in reasons["ip-adapter"]
    assert "a T2I-Adapter" in reasons["t2i"]
    assert "saved as a difference" in reasons["canny-difference"]


def test_one_file_is_listed_once_however_it_is_reached(tmp_path: Path, sd15: Shapes) -> None:
    store, models = tmp_path / "store", tmp_path / "models"
    save_sparse(store / "ckpt" / "photo.safetensors", sd15)
    save_sparse(store / "Lora" / "ink.safetensors", {"a": (1,)})
    (models / "loras").mkdir(parents=True)
    (models / "photo.safetensors").symlink_to(store / "ckpt" / "photo.safetensors")
    (models / "hard.safetensors").hardlink_to(store / "ckpt" / "photo.safetensors")
    (models / "loras" / "ink.safetensors").symlink_to(store / "Lora" / "ink.safetensors")
    seen = look(models, store / "ckpt", store / "Lora", store)
    assert [*seen.entries] == ["hard"]
    assert [one.name for one in seen.addons] == ["ink"]


def test_a_folder_of_loras_alone_is_one(tmp_path: Path) -> None:
    save_sparse(tmp_path / "Lora" / "ink.safetensors", {"a": (1,)})
    seen = look(tmp_path / "Lora")
    assert [one.name for one in seen.of_kind("lora")] == ["ink"]
    assert seen.of_kind("checkpoint") == ()


def test_of_the_hubs_cache_a_whole_snapshot_goes_before_a_newer_half(tmp_path: Path) -> None:
    snapshots = tmp_path / "models--painter--tiny" / "snapshots"
    whole = make_sd15(snapshots / "old")
    shutil.copytree(whole, snapshots / "new")
    next((snapshots / "new" / "unet").glob("*.safetensors")).unlink()
    refs = tmp_path / "models--painter--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("new")
    assert look(tmp_path).entry("painter/tiny").path == whole
