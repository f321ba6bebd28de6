"""A picture tells what made it, to A1111 and to us, whatever the texts are."""

from __future__ import annotations

import io
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from velatura.protocol.errors import LocalError
from velatura.protocol.png_text import (
    PngText,
    from_parameters,
    read_text,
    to_parameters,
    write_text,
)


def picture(info: PngImagePlugin.PngInfo | None = None) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (3, 2), (200, 10, 30, 40)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


RECIPE = {
    "prompt": "a red house, <lora:wash, 2:0.8>",
    "negative": "night",
    "steps": 20,
    "sampler": "DPM++ 2M Karras",
    "guidance": 7.0,
    "seed": 4294967295,
    "size": {"width": 512, "height": 768},
    "digest": "0123456789abcdef",
    "model": "anime/ink: two, three",
    "strength": 0.55,
}


def test_a1111s_text_is_as_a1111_writes_it():
    assert to_parameters(RECIPE) == (
        "a red house, <lora:wash, 2:0.8>\n"
        "Negative prompt: night\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 4294967295, Size: 512x768, "
        'Model hash: 0123456789abcdef, Model: "anime/ink: two, three", Denoising strength: 0.55, '
        "Version: Velatura"
    )


def test_what_a1111_wrote_is_read():
    text = (
        "masterpiece, (red:1.2)\nsecond line\nNegative prompt: bad\nworse\n"
        'Steps: 28, Sampler: Euler a, CFG scale: 6.5, Seed: 12, Size: 640x512, Model: "a, b", '
        'Lora hashes: "wash: 0123, ink: 4567", Clip skip: 2, Version: v1.10.1'
    )
    assert from_parameters(text) == {
        "prompt": "masterpiece, (red:1.2)\nsecond line",
        "negative": "bad\nworse",
        "steps": 28,
        "sampler": "Euler a",
        "guidance": 6.5,
        "seed": 12,
        "size": {"width": 640, "height": 512},
        "model": "a, b",
        "clip_skip": 2,
    }


@pytest.mark.parametrize(
    ("schedule", "sampler"),
    [
        ("Karras", "DPM++ 2M Karras"),
        ("Automatic", "DPM++ 2M"),
        ("SGM Uniform", "DPM++ 2M SGM Uniform"),
    ],
)
def test_newer_a1111_tells_the_schedule_apart(schedule, sampler):
    text = f"a boat\nSteps: 20, Sampler: DPM++ 2M, Schedule type: {schedule}, CFG scale: 7, Seed: 1"
    assert from_parameters(text)["sampler"] == sampler


def test_pillow_reads_both_and_the_picture_is_the_same():
    png = write_text(picture(), RECIPE)
    with Image.open(io.BytesIO(png)) as opened:
        assert opened.text["parameters"] == to_parameters(RECIPE)
        assert json.loads(opened.text["velatura"]) == RECIPE
        with Image.open(io.BytesIO(picture())) as plain:
            assert opened.tobytes() == plain.tobytes()


NUMBERS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 512x768"


@pytest.mark.parametrize(
    "more",
    [
        "Hires upscale: 2, Hires steps: 10, Hires upscaler: Latent",
        "Hires resize: 1024x1536, Hires upscaler: 4x-UltraSharp",
        "First pass size: 0x0",
        "HiRes mode: 1, Second pass: True",
    ],
)
def test_the_strength_of_a_second_pass_over_a_txt2img_is_not_its_strength(more):
    found = from_parameters(f"a castle\n{NUMBERS}, Denoising strength: 0.4, {more}")
    assert "strength" not in found
    assert found["unread"][0] == "Denoising strength"
    img2img = from_parameters(f"a castle\n{NUMBERS}, Denoising strength: 0.4, Mask blur: 4")
    assert (img2img["strength"], img2img["unread"]) == (0.4, ["Mask blur"])


@pytest.mark.parametrize(
    "behind",
    [
        "",
        "\nTemplate: {a|b} castle",
        "\nTemplate: {a|b}\nNegative Template: x, y: z, a: b",
        "\n\n1",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_of_numbers_is_found_wherever_it_stands(behind, end):
    text = f"a castle\nat sea\nNegative prompt: x\n{NUMBERS}{behind}".replace("\n", end)
    found = from_parameters(text)
    assert (found["prompt"], found["negative"]) == ("a castle\nat sea", "x")
    assert (found["steps"], found["seed"], found["size"]["height"]) == (20, 7, 768)
    assert "unread" not in found


def test_what_a_field_holds_that_is_no_such_text_hides_none_behind_it():
    line = f'{NUMBERS}, Civitai resources: [{{"type":"lora","weight":0.8}}], Clip skip: 2, odd'
    assert from_parameters(f"a castle\n{line}")["clip_skip"] == 2


def test_fields_of_any_case_are_read_and_those_without_a_place_are_named():
    found = from_parameters(
        "a boat\nsteps: 9, sampler: Euler a, cfg Scale: 4.5, SEED: 1.5, Variation seed: 3, "
        "Variation seed strength: 0.2, Version: 1"
    )
    assert (found["steps"], found["guidance"]) == (9, 4.5)
    assert found["unread"] == ["SEED", "Variation seed", "Variation seed strength"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("keyword", [b"parameters", b"Parameters"])
def test_a_text_in_utf_8_is_read_in_every_chunk(kind, packed, keyword):
    said = "\u7d05\u3044\u5bb6 caf\xe9 \U0001f3a8".encode()
    body = zlib.compress(said) if kind == b"zTXt" or (packed and kind == b"iTXt") else said
    if kind == b"zTXt":
        body = b"\0" + body
    elif kind == b"iTXt":
        body = bytes([packed, 0]) + b"\0\0" + body
    info = PngImagePlugin.PngInfo()
    info.add(kind, keyword + b"\0" + body)
    assert read_text(picture(info)).parameters == said.decode()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("how", ["add_text", "add_itxt"])
def test_texts_of_other_programs_are_read_in_every_form(how, packed):
    info = PngImagePlugin.PngInfo()
    getattr(info, how)("parameters", "a caf\xe9, Steps: 3", zip=packed)
    assert read_text(picture(info)) == PngText("a caf\xe9, Steps: 3", None)


hostile = st.text(max_size=200) | st.sampled_from(
    ['"', "\\", "\n\n", "a,b:c", 'x" , y', "\x00\x1b", "\ud800", "雨の家 🎨", ":" * 999, "Steps: 1"]
)


@settings(max_examples=60, deadline=None)
@given(prompt=hostile, negative=hostile, model=hostile, extra=st.dictionaries(hostile, hostile))
def test_a_recipe_comes_back_as_it_was_whatever_its_texts(prompt, negative, model, extra):
    recipe = {**RECIPE, "prompt": prompt, "negative": negative, "model": model, "more": extra}
    png = write_text(picture(), recipe)
    read = read_text(png)
    assert read.recipe == recipe
    assert read.parameters == to_parameters(recipe)
    assert "\0" not in read.parameters
    assert write_text(png, recipe) == png, "what it said before is replaced"
    from_parameters(read.parameters)


line = st.text(
    st.characters(blacklist_categories=["Cc", "Cs"], blacklist_characters="\u2028\u2029")
)


@settings(max_examples=150, deadline=None)
@given(prompt=line, negative=line, model=line.filter(bool))
def test_a1111s_text_comes_back_when_no_line_reads_like_another(prompt, negative, model):
    recipe = {**RECIPE, "prompt": prompt.strip(), "negative": negative.strip(), "model": model}
    if not recipe["prompt"].startswith("Negative prompt:"):
        assert from_parameters(to_parameters(recipe)) == recipe


def test_a_megabyte_of_prompt_is_kept_and_read_in_a_moment():
    recipe = {**RECIPE, "prompt": 'a "(((,: ' * 120_000}
    png = write_text(picture(), recipe)
    assert read_text(png).recipe == recipe
    with Image.open(io.BytesIO(png)) as opened:
        assert len(opened.text["parameters"]) > 1_000_000
    assert from_parameters(to_parameters(recipe))["prompt"] == recipe["prompt"].strip()


@pytest.mark.parametrize("last", ['Steps: "' + "\\" * 300_001, "a: " * 200_000, '"' * 200_000])
def test_hostile_numbers_are_read_in_linear_time(last):
    from_parameters("prompt\n" + last)


def test_a_text_that_unpacks_into_all_of_memory_is_passed_over():
    info = PngImagePlugin.PngInfo()
    bomb = zlib.compress(b"a" * (64 << 20))
    info.add(b"zTXt", b"parameters\0\0" + bomb)
    info.add(b"iTXt", b"velatura\0\1\0\0\0" + bomb)
    assert read_text(picture(info)) == PngText()


def test_a_broken_recipe_is_none():
    for text in ("{", "[]", "[" * 100_000, "7"):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("velatura", text)
        assert read_text(picture(info)) == PngText()


@pytest.mark.parametrize("cut", [0, 4, 20, 60])
def test_what_is_no_whole_png_is_refused(cut):
    with pytest.raises(LocalError):
        read_text(write_text(picture(), RECIPE)[:cut])
    damaged = bytearray(write_text(picture(), RECIPE))
    damaged[60] ^= 1
    with pytest.raises(LocalError, match="checksum"):
        read_text(bytes(damaged))
