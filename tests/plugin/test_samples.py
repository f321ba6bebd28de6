"""Files that painters have open for ever: samples written by earlier versions, as they stand there.

Each folder tests/data/samples-N was written once, by the Krita plugin of that time over a tiny model, and
is never written again.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from velatura.krita_plugin import recipe
from velatura.krita_plugin.state import Guide
from velatura.protocol.png_text import from_parameters, read_text
from velatura.protocol.region import Rect, Size

FIRST = Path(__file__).parents[1] / "data" / "samples-1"
# File -> what its layer's recipe says: (action, fields of the settings, region, bounds of the selection).
WHOLE = Rect(0, 0, 64, 64)
EXPECTED: dict[str, tuple[str, dict[str, Any], Rect, Rect | None]] = {
    "generate.kra": ("generate", {"prompt": "a house", "negative": "night"}, WHOLE, None),
    "fill.kra": (
        "fill",
        {
            "prompt": "a red boat",
            "soft_edge": 3,
            "guides": (Guide("line", "derived", 60, 10, 80),),
        },
        WHOLE,
        WHOLE,
    ),
    "expand.kra": ("expand", {"prompt": "the sky"}, WHOLE, None),
    "two-passes.kra": (
        "fill",
        {"prompt": "a house", "detail": "full", "seed": 9},
        Rect(0, 0, 144, 112),
        None,
    ),
    "live.kra": ("refine", {"prompt": "a red boat", "strength": 40, "seed": 1}, WHOLE, None),
}


def annotations_of(path: Path) -> dict[str, bytes]:
    """What is kept with a document under our name: the rest of each key -> its bytes."""
    with zipfile.ZipFile(path) as archive:
        parted = (
            (name, name.partition("/annotations/velatura/")[2]) for name in archive.namelist()
        )
        return {key: archive.read(name) for name, key in parted if key}


def recipe_of(name: str) -> recipe.Recipe:
    kept = annotations_of(FIRST / name)
    (key,) = filter(recipe.is_key, kept)
    made = recipe.from_json(json.loads(kept[key]))
    assert made is not None, "a recipe of an earlier Velatura is not understood"
    return made


def test_every_sample_is_expected() -> None:
    assert {path.name for path in FIRST.glob("*.kra")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_recipe_of_a_layer_says_what_was_asked(name: str) -> None:
    action, asked, region, selected = EXPECTED[name]
    made = recipe_of(name)
    assert made.action == action
    assert made.region.width <= made.canvas.width
    if name != "two-passes.kra":
        assert (made.canvas, made.region) == (Size(64, 64), region)
    told = {field: getattr(made.settings, field) for field in asked}
    assert told == asked
    assert made.seed == made.settings.seed == asked.get("seed", 7)
    assert (made.settings.model, made.settings.steps) == ("tiny", 4)
    assert made.settings.sampler == "DPM++ 2M Karras"
    if selected is not None:
        assert made.selection is not None
        assert made.selection.rect == selected
        mask = made.selection.mask
        # The rectangle that was selected, and nothing around it.
        assert [mask[64 * y + x] for x, y in ((11, 30), (12, 30), (51, 30), (52, 30))] == [
            0,
            255,
            255,
            0,
        ]
    assert made.server["model"] == "tiny"


def test_a_style_is_whole() -> None:
    style = recipe_of("fill.kra").settings.style
    assert style is not None
    assert (style.name, style.before, style.negative) == (
        "Watercolour",
        "watercolour of ",
        "oil painting",
    )
    assert (style.sampler, style.steps, style.guidance, style.live_sampler) == (
        "DPM++ 2M Karras",
        20,
        5.0,
        "LCM",
    )


def test_what_the_server_said_is_kept() -> None:
    assert len(recipe_of("two-passes.kra").server["passes"]) == 2
    assert recipe_of("live.kra").server["live"] is True
    (control,) = recipe_of("fill.kra").server["controls"]
    assert control == {"kind": "line", "weight": 0.6, "start": 0.1, "end": 0.8, "derived": True}


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "live.kra"])
def test_the_history_has_its_pictures(name: str) -> None:
    kept = annotations_of(FIRST / name)
    records = [key for key in kept if key.startswith("past/") and key.endswith("/record")]
    assert records
    for key in records:
        record, folder = json.loads(kept[key]), key.removesuffix("record")
        assert set(record) >= {
            "title",
            "prompt",
            "at",
            "size",
            "favourite",
            "canvas",
            "around",
            "kept",
        }
        assert recipe.from_json(json.loads(kept[folder + "recipe"])) is not None
        for picture in ("picture", "thumbnail"):
            with Image.open(io.BytesIO(kept[folder + picture])) as image:
                image.load()
                assert image.mode == "RGBA"


def test_a_saved_picture_says_what_made_it() -> None:
    png = (FIRST / "generate.png").read_bytes()
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (64, 64)
    said = read_text(png)
    assert said.recipe is not None
    assert said.recipe["seed"] == 7
    read = from_parameters(said.parameters)
    assert (read["prompt"], read["negative"]) == ("a house", "night")
    assert (read["steps"], read["seed"], read["guidance"]) == (4, 7, 5.0)
    assert read["sampler"] == "DPM++ 2M Karras"
