"""A pickle becomes safetensors in a process of its own; one that asks for more is refused."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from velatura.models import convert as module
from velatura.models.convert import convert, targets
from velatura.models.errors import ModelError


class Attack:
    """What a hostile pickle does: it runs a command when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def child(source: Path, target: Path, capsys) -> tuple[int, str]:
    """What the process does, in this one: (status, its last line)."""
    status = module._main(source, target)
    return status, (capsys.readouterr().err.strip().splitlines() or [""])[-1]


def test_a_checkpoints_weights_come_out_under_their_names(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    weights = {"a.weight": shared, "b.weight": shared.T, "c": torch.ones(2).half()}
    source = tmp_path / "my model.ckpt"
    torch.save({"state_dict": weights, "global_step": 7}, source)
    (pair,) = targets(source)
    convert(*pair)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "my model.ckpt",
        "my model.safetensors",
    ]
    made = load_file(tmp_path / "my model.safetensors")
    assert made.keys() == weights.keys()
    assert all(torch.equal(made[name], weights[name]) for name in made)
    assert made["c"].dtype == torch.float16


def test_a_pickle_that_runs_code_is_refused_and_leaves_nothing(tmp_path):
    mark = tmp_path / "mark"
    source = tmp_path / "bad.pt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Attack(mark)}, source)
    with pytest.raises(ModelError, match=r"bad.pt: it asks for \w+.system.* get a safetensors"):
        convert(source, tmp_path / "bad.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]


@pytest.mark.parametrize("legacy", [False, True])
def test_what_it_asks_for_is_named(tmp_path, capsys, legacy):
    torch.save(
        {"args": argparse.Namespace()},
        tmp_path / "a.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    status, said = child(tmp_path / "a.pt", tmp_path / "a.part", capsys)
    assert (status, said[:30]) == (3, "it asks for argparse.Namespace")


def test_a_textual_inversion_becomes_the_form_that_is_known(tmp_path, capsys):
    vectors = torch.randn(3, 768)
    torch.save({"string_to_param": {"*": vectors}, "name": "x", "step": 5}, tmp_path / "a.pt")
    assert child(tmp_path / "a.pt", tmp_path / "a.part", capsys)[0] == 0
    assert torch.equal(load_file(tmp_path / "a.part")["emb_params"], vectors)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken"),
        (b"\x80\x04junk", "broken"),
        (b"PK\x03\x04junk", "broken"),
        (b"\x80\x02}q\x00.", "no weights|broken"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, capsys, content, reason):
    (tmp_path / "a.pt").write_bytes(content)
    status, said = child(tmp_path / "a.pt", tmp_path / "a.part", capsys)
    assert status == 3
    assert re.search(reason, said)


def test_an_archive_without_weights_is_one_sentence(tmp_path, capsys):
    torch.save({"steps": 3}, tmp_path / "a.pt")
    assert child(tmp_path / "a.pt", tmp_path / "x", capsys) == (3, "it holds no weights.")


def test_a_full_disk_is_one_sentence(tmp_path, capsys):
    torch.save({"a": torch.ones(9)}, tmp_path / "a.pt")
    status, said = child(tmp_path / "a.pt", Path("/dev/full/x"), capsys)
    assert status == 3
    assert "could not be written" in said


def test_a_folder_is_converted_part_by_part_under_the_libraries_names(tmp_path):
    for name in ("unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.fp16.bin"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
        (tmp_path / name).with_name("config.json").touch()
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "optimizer.bin").touch()
    assert [target.relative_to(tmp_path).as_posix() for _, target in targets(tmp_path)] == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
    ]


def test_what_was_converted_before_is_left_alone(tmp_path):
    (tmp_path / "a.pt").touch()
    (tmp_path / "a.safetensors").write_text("mine")
    with pytest.raises(ModelError, match="there already"):
        targets(tmp_path / "a.pt")
    with pytest.raises(ModelError, match="nothing to convert"):
        targets(tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="nothing to convert"):
        targets(tmp_path / "nowhere")
