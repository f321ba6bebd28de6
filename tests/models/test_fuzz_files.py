"""Whatever lies in a models folder: it fails alone, with a sentence, and the rest is listed."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from velatura.models import library
from velatura.models.errors import ModelError
from velatura.models.library import Library
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.models.weights import read_header

sys.path.insert(0, str(Path(__file__).parents[1] / "campaigns"))

from fuzz_files import KINDS, campaign

SHORT = 40 * len(KINDS)


def test_mutated_files_of_every_kind_fail_alone(tmp_path: Path) -> None:
    refused = campaign(tmp_path / "models", SHORT)
    for kind in {kind.name for kind in KINDS} - {"weights", "tokenizer", "net"}:
        assert refused[kind] > 0, f"no mutated {kind} was ever noticed"


def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny(tmp_path / "tiny")
    (tmp_path / "lost+found").mkdir()
    access, stat = os.access, Path.stat

    def refuse(path: Any, *more: Any, **named: Any) -> Any:
        if "lost+found/" in f"{path}":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *more, **named)

    # As for a user who may not: the tests may run as one who may read everything.
    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(
        os, "access", lambda path, mode: "lost+found" not in f"{path}" and access(path, mode)
    )
    seen = Library([tmp_path], starter=tmp_path / "none").snapshot()
    assert [*seen.entries] == ["tiny"]
    (other,) = seen.unusable
    assert "'lost+found': it may not be read by this user" in other.reason


def test_more_models_than_the_catalogue_can_name_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("velatura.models.library._MOST_MODELS", 1)
    make_tiny(tmp_path / "one")
    make_tiny(tmp_path / "two")
    seen = Library([tmp_path], starter=tmp_path / "none").snapshot()
    assert [*seen.entries] == ["one"]
    assert "take some folders out" in seen.unusable[0].reason


def test_a_list_of_folders_that_cannot_be_read_is_told_and_the_starter_paints(
    tmp_path: Path,
) -> None:
    def broken() -> list[Path]:
        raise RecursionError("nested too deep")

    seen = Library(broken, starter=make_tiny(tmp_path / "starter")).snapshot()
    assert [*seen.entries] == ["starter"]
    assert "The list of models folders" in seen.unusable[0].reason


def test_a_number_of_thousands_of_digits_is_refused_before_it_is_computed_with(
    tmp_path: Path,
) -> None:
    number = "9" * 4299
    text = f'{{"a": {{"dtype": "F32", "shape": [{number}], "data_offsets": [0, 4]}}}}'.encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(ModelError, match="is broken"):
        read_header(path)


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), MemoryError(), OSError(5, "EIO")])
def test_whatever_a_reader_raises_is_one_sentence_about_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    make_tiny(tmp_path / "bad")
    make_tiny(tmp_path / "good")
    detect = library.detect

    def fail(path: Path, unet: str) -> Any:
        if path.name == "bad":
            raise error
        return detect(path, unet)

    monkeypatch.setattr(library, "detect", fail)
    seen = Library([tmp_path], starter=tmp_path / "none").snapshot()
    assert [*seen.entries] == ["good"]
    assert "Model 'bad': it " in seen.unusable[0].reason
