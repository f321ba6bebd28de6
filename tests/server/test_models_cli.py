"""The command line's verbs about models: what is there, what it is, and what to type next."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from ldm import full_size, save_sparse
from PIL import Image
from typer.testing import CliRunner
from velatura.models.families import single
from velatura.protocol.discovery import read_model_folders
from velatura.protocol.png_text import write_text
from velatura.server.cli import app


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    return full_size(single.CONFIGS / "sd15")


@pytest.fixture
def comfy(tmp_path, shapes) -> Path:
    models = tmp_path / "ComfyUI" / "models"
    save_sparse(models / "checkpoints" / "anime" / "ink.safetensors", shapes)
    save_sparse(models / "checkpoints" / "flux.safetensors", {"double_blocks.0.x": (4,)})
    torch.save({"a": torch.ones(1)}, models / "checkpoints" / "old.ckpt")
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    save_sparse(models / "loras" / "wash.safetensors", {f"{layer}.lora_down.weight": (4, 768)})
    flux = {"lora_unet_double_blocks_0_img_mlp_0.lora_up.weight": (4, 4)}
    save_sparse(models / "loras" / "odd.safetensors", flux)
    return tmp_path / "ComfyUI"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """(exit status, what is printed) of a command on its own data folder."""
    monkeypatch.setenv("VELATURA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str | Path) -> tuple[int, str]:
        done = CliRunner().invoke(app, [str(one) for one in arguments])
        return done.exit_code, done.output

    return invoke


def test_a_folder_is_added_listed_and_removed(run, comfy, tmp_path):
    status, said = run("add", comfy)
    assert status == 0
    assert "is read as ComfyUI: 1 of 3 models can paint; 2 LoRAs." in said
    assert read_model_folders(tmp_path / "home") == (comfy,)
    assert run("add", comfy)[0] == 0
    assert read_model_folders(tmp_path / "home") == (comfy,)
    status, said = run("list")
    assert status == 0
    assert "anime/ink" in said
    assert "wash (sd15)" in said
    assert "LoRA 'odd': it looks like a LoRA for FLUX" in said
    assert "it looks like FLUX" in said
    assert "velatura convert 'old.ckpt'" in said
    assert run("add", "--remove", comfy)[0] == 0
    assert "anime/ink" not in run("list")[1]
    status, said = run("add", "--remove", comfy)
    assert status == 1
    assert "was not added" in said
    assert run("add", tmp_path / "nowhere")[0] == 1


def test_a_model_is_shown_with_its_family_size_precision_and_hash(run, comfy, monkeypatch):
    from velatura.models.weights import Digests

    # The file is as large as a real one, and to read it takes as long.
    monkeypatch.setattr(Digests, "of", lambda self, files: "0123456789abcdef")
    run("add", comfy)
    status, said = run("show", "anime/ink")
    assert status == 0
    facts = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert facts["Family"] == "sd15"
    assert facts["Predicts"] == "epsilon"
    assert facts["Precision"] == "F16"
    assert facts["Size"].startswith("2.13 GB, 1066 million")
    assert facts["Hash"] == "0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nothing", "There is no model 'nothing'; there are: starter"),
        ("ink", "Did you mean: velatura show 'anime/ink'"),
        ("wash", "wash is a lora:"),
        ("flux", "it looks like FLUX"),
        ("old.ckpt", "velatura convert 'old.ckpt'"),
        ("picture.png", "picture.png cannot be read"),
    ],
)
def test_a_name_that_is_no_model_says_what_to_do(run, comfy, name, hint):
    run("add", comfy)
    status, said = run("show", name)
    assert status == 1
    assert hint in said
    assert said.count("\n") == 1


def test_a_picture_says_what_made_it(run, tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    recipe = {"prompt": "ein Haus, größer", "steps": 4, "sampler": "LCM", "seed": 3}
    (tmp_path / "a.png").write_bytes(write_text(file.getvalue(), recipe))
    status, said = run("show", tmp_path / "a.png")
    assert status == 0
    assert said.startswith("ein Haus, größer\nSteps: 4, Sampler: LCM, Seed: 3")
    assert json.loads(said[said.index("{") :]) == recipe
    (tmp_path / "b.png").write_bytes(file.getvalue())
    assert run("show", tmp_path / "b.png")[1].endswith("b.png does not say what made it.\n")
    (tmp_path / "c.png").write_bytes(b"no picture")
    assert "not a PNG" in run("show", tmp_path / "c.png")[1]


def test_a_pickle_is_converted_by_its_name(run, comfy):
    run("add", comfy)
    status, said = run("convert", "old.ckpt")
    assert status == 0
    assert "old.safetensors is ready." in said
    assert (comfy / "models" / "checkpoints" / "old.safetensors").is_file()
    status, said = run("convert", "old.ckpt")
    assert (status, said.count("\n")) == (1, 1)
    assert "there already" in said
    assert "is not there" in run("convert", "nothing")[1]
