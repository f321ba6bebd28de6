"""Styles are small files; one that is wrong is a sentence and the others stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from velatura.models.library import Library
from velatura.models.samplers import SAMPLERS
from velatura.models.styles import SHIPPED, Styles, read_style
from velatura.protocol.messages import Catalogue
from velatura.protocol.style import Style

WHOLE = """
name = "Paper"
model = "starter"
before = "watercolour of "
after = ", loose wash"
negative = "photo"
sampler = "Euler a"
steps = 12
guidance = 4
live_sampler = "LCM"

[loras]
"paper texture" = 0.8
grain = 1
"""


def write(folder: Path, text: str, name: str = "a.toml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_a_file_is_read_whole_and_its_loras_stand_in_the_prompt(tmp_path):
    assert read_style(write(tmp_path, WHOLE)) == Style(
        name="Paper",
        model="starter",
        before="watercolour of ",
        after=", loose wash <lora:paper texture:0.8> <lora:grain:1>",
        negative="photo",
        sampler="Euler a",
        steps=12,
        guidance=4.0,
        live_sampler="LCM",
    )


def test_an_empty_file_is_a_style_by_its_own_name(tmp_path):
    assert read_style(write(tmp_path, "", "größer.toml")) == Style(name="größer")


def test_a_byte_order_mark_and_capitals_do_not_matter(tmp_path):
    text = WHOLE.replace("name", "Name").replace("steps", "STEPS").replace("[loras]", "[Loras]")
    path = write(tmp_path, "\ufeff" + text.replace("\n", "\r\n"), "A.TOML")
    assert read_style(path) == read_style(write(tmp_path / "b", WHOLE))
    assert [style.name for style in Styles([tmp_path]).styles()] == ["Paper"]


def test_a_folder_that_cannot_be_read_holds_no_styles(tmp_path):
    (tmp_path / "file").write_text("name = 'a'")
    assert Styles([tmp_path / "none", tmp_path / "file"]).styles() == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = ", "not readable TOML"),
        ("a = " + "[" * 50_000, "not readable TOML"),
        ("x" * 70_000, "too large"),
        ("colour = 3", "colour is not known"),
        ("steps = 0", "steps must be"),
        ("steps = 2\nSteps = 3", "says one thing twice"),
        ("guidance = nan", "guidance must be"),
        ("before = 3", "before must be"),
        ('before = "' + "x" * 3000 + '"', "before must be"),
        ('name = "two\\nlines"', "name must be"),
        ("loras = 3", "loras must be"),
        ("[loras]\na = 'b'", "weight of the LoRA a must be"),
        ("[loras]\na = nan", "weight of the LoRA a must be a number from -100 to 100"),
        ("[loras]\n'a\u2028b' = 1", "one line of text"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence_and_the_others_stay(tmp_path, text, reason):
    write(tmp_path, text)
    write(tmp_path, WHOLE, "b.toml")
    styles = Styles([tmp_path])
    assert [style.name for style in styles.styles()] == ["Paper"]
    (said,) = styles.unusable()
    assert said.startswith("Style 'a.toml': ")
    assert reason in said
    assert "\n" not in said


def test_changes_on_disk_appear_and_the_painters_own_come_before_ours(tmp_path):
    own, ours = tmp_path / "own", tmp_path / "ours"
    write(ours, "steps = 5", "Oil.toml")
    styles = Styles([own, ours])
    first = styles.styles()
    assert [style.steps for style in first] == [5]
    assert styles.styles() is first
    write(own, "steps = 7", "Oil.toml")
    assert [style.steps for style in styles.styles()] == [7]


def test_three_ship_and_name_what_the_starter_has():
    styles = Styles([SHIPPED])
    assert styles.unusable() == ()
    assert [style.name for style in styles.styles()] == ["Blue ink", "Oil painting", "Watercolour"]
    Catalogue(styles=styles.styles())
    library = Library([])
    loras = [addon.name for addon in library.snapshot().addons]
    for style in styles.styles():
        assert style.model in [model.name for model in library.models()]
        assert {style.sampler, style.live_sampler} <= set(SAMPLERS)
        for named in style.after.split("<lora:")[1:]:
            assert named.partition(":")[0] in loras


@pytest.mark.parametrize(
    ("own", "whole"),
    [
        ("a boat", "oil of a boat, thick"),
        ("  a boat\n", "oil of a boat, thick"),
        ("", "oil of , thick"),
        ("a boat # mine", "oil of a boat # mine\n, thick"),
        ("# mine\na boat", "oil of # mine\na boat, thick"),
    ],
)
def test_its_words_go_around_the_painters(own, whole):
    style = Style(name="oil", before="oil of ", after=", thick", negative="photo")
    assert style.prompt_around(own) == whole
    assert style.negative_after("") == "photo"
    assert style.negative_after("night") == "night, photo"
    assert style.negative_after("night # x") == "night # x\nphoto"
    assert Style(name="none").negative_after("night") == "night"
