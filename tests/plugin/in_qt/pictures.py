"""Pictures that say what made them, into the docker's fields. Run by test_in_qt.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import MODEL
from velatura.krita_plugin import png_files
from velatura.krita_plugin.images import png_bytes, rgba_image
from velatura.krita_plugin.state import Settings
from velatura.protocol.messages import ModelInfo
from velatura.protocol.png_text import read_text
from velatura.protocol.style import Style

NOW = Settings(prompt="mine", model="tiny", steps=5, style=Style(name="Oil"))
PNG = png_bytes(rgba_image(bytes(range(16)), 2, 2))
A1111 = (
    "a boat <lora:ink:1>\nNegative prompt: fog\n"
    "Steps: 28, Sampler: Euler a, CFG scale: 6.5, Seed: 12, Size: 64x64, Clip skip: 2"
)


def settings_of(said: dict[str, object], *models: ModelInfo) -> tuple[Settings, list[str]]:
    return png_files.settings_of(said, NOW, models or (MODEL,))


def test_what_it_says_replaces_the_fields_and_the_rest_stays():
    said = {"prompt": "a boat", "steps": 28, "guidance": 6, "seed": 3, "strength": 0.355}
    found, remarks = settings_of({**said, "sampler": MODEL.sampler, "detail": "full"})
    assert not remarks
    assert found == replace(
        NOW, prompt="a boat", steps=28, guidance=6.0, seed=3, strength=36,
        sampler=MODEL.sampler, detail="full", style=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [
        ({"steps": 10**30}, "steps", 150),
        ({"steps": "4"}, "steps", 5),
        ({"guidance": float("nan")}, "guidance", None),
        ({"guidance": float("inf")}, "guidance", 50.0),
        ({"seed": -4}, "seed", None),
        ({"seed": 1125899906842624}, "seed", None),
        ({"seed": 2**32 - 1}, "seed", 2**32 - 1),
        ({"prompt": "red\u00a0boat\x1b"}, "prompt", "red boat"),
        ({"seed": True}, "seed", None),
        ({"prompt": ["a"]}, "prompt", "mine"),
        ({"detail": {}}, "detail", "auto"),
        ({"strength": 7}, "strength", 100),
    ],
)
def test_what_is_odd_or_hostile_is_passed_over_or_brought_into_range(said, field, value):
    found, _ = settings_of(said)
    assert getattr(found, field) == value


def test_what_there_is_not_is_named_and_stays_as_it_was():
    found, remarks = settings_of({"model": "dreamy", "sampler": "Mystery", "prompt": "a boat"})
    assert (found.model, found.sampler, found.prompt) == ("tiny", None, "a boat")
    assert remarks == [
        'its model "dreamy" is not on this server',
        'there is no sampler "Mystery"',
    ]


@pytest.mark.parametrize(
    ("said", "remark"),
    [
        ({"steps": 400}, "its steps became 150"),
        ({"guidance": 77}, "its guidance became 50"),
        ({"strength": 0}, "its strength became 1%"),
        ({"clip_skip": 0}, "its clip skip became 1"),
        ({"seed": 2**32}, "its seed 4294967296 is not one from 0 to 4294967295 and was left out"),
        ({"seed": -1}, "its seed -1 is not one from 0 to 4294967295 and was left out"),
        (
            {"unread": ["Hires upscale", "ControlNet 0", "a", "b", "c", "d", "e"]},
            "these are not taken over: Hires upscale, ControlNet 0, a, b, c, d, ...",
        ),
    ],
)
def test_what_is_not_taken_over_as_it_stands_is_said(said, remark):
    assert settings_of(said)[1] == [remark]


def test_a_model_is_found_without_the_folder_that_it_lies_in():
    ink = replace(MODEL, name="anime/ink")
    found, remarks = settings_of({"model": "ink"}, MODEL, ink)
    assert (found.model, remarks) == ("anime/ink", [])
    two = replace(MODEL, name="oil/ink")
    found, (remark,) = settings_of({"model": "ink"}, MODEL, ink, two)
    assert (found.model, remark) == ("tiny", 'its model "ink" is not on this server')


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path):
    made = json.dumps({"server": {"prompt": "ein Boot, größer", "steps": 3}}).encode()
    path = tmp_path / "a.png"
    assert png_files.save(PNG, made, "a boat", path) == "a.png is written, with what made it."
    assert read_text(path.read_bytes()).parameters.startswith("ein Boot, größer\n")
    assert png_files.read(path) == {"prompt": "ein Boot, größer", "steps": 3}
    said = png_files.save(PNG, made, "a boat", tmp_path / "no" / "a.png")
    assert "could not be written" in said
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]
    for damaged in (b"", b"[]", b'{"server": 3}'):
        png_files.save(PNG, damaged, "a boat", path)
        assert png_files.read(path) == {"prompt": "a boat"}


def test_what_is_no_such_picture_is_one_sentence(tmp_path: Path):
    (tmp_path / "junk.png").write_bytes(b"junk")
    (tmp_path / "mute.png").write_bytes(PNG)
    assert "no PNG" in png_files.read(tmp_path / "junk.png")
    assert "no PNG" in png_files.read(tmp_path / "none.png")
    assert "does not say what made it" in png_files.read(tmp_path / "mute.png")


def test_a1111s_numbers_come_into_the_docker(panel, tmp_path: Path):
    theirs = rgba_image(bytes(16), 2, 2)
    theirs.setText("parameters", A1111)
    (tmp_path / "theirs.png").write_bytes(png_bytes(theirs))
    panel.show_models((replace(MODEL, samplers=("Euler a", *MODEL.samplers)),))
    said = png_files.read(tmp_path / "theirs.png")
    found, remarks = png_files.settings_of(said, panel.settings, panel.model.models)
    assert not remarks
    panel.show_recipe(panel.action, found)
    now = panel.settings
    assert (now.prompt, now.negative) == ("a boat <lora:ink:1>", "fog")
    assert (now.steps, now.guidance, now.sampler) == (28, 6.5, "Euler a")
    assert (now.seed, now.clip_skip) == (12, 2)
