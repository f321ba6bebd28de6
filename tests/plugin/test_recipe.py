from __future__ import annotations

import base64
import json
import uuid
import zlib

import pytest
from velatura.krita_plugin import recipe
from velatura.krita_plugin.state import FIRST_STRENGTHS, LAYER, Guide, Memory, Settings, action_at
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from velatura.protocol.style import Style

DOT = Image(1, 1, "rgba8", bytes(4))


def made():
    request = m.Generate(
        job=str(uuid.uuid4()),
        action="fill",
        model="tiny",
        canvas=Size(20, 10),
        region=Rect(3, 4, 1, 1),
        surroundings=DOT,
        selection=Image(1, 1, "gray8", b"\x80"),
        prompt="a boat",
        steps=9,
        seed=40,
        variants=3,
        soft_edge=4,
    )
    result = m.Result(
        job=request.job,
        variant=2,
        seed=42,
        x=3,
        y=4,
        picture=DOT,
        recipe={"model_hash": "abc", "device": "cpu"},
        last=True,
    )
    settings = Settings(
        prompt="a boat",
        guides=(Guide("line", "{id}", 80, 10, 60), Guide("depth", "{2}", on=False)),
        leave_out=("{3}",),
        context="wide",
        variants=3,
        style=Style(name="Oil", before="oil painting of ", guidance=6.0),
    )
    return recipe.of_result("fill", settings, request, result, "{9}")


def test_a_recipe_holds_the_numbers_that_were_used_and_the_seed_of_its_own_variant():
    kept = made()
    assert (kept.seed, kept.settings.seed, kept.settings.variants) == (42, 42, 1)
    assert (kept.settings.steps, kept.settings.guidance) == (9, 5.0)
    assert kept.server["model_hash"] == "abc"
    assert kept.selection == recipe.Selected(Rect(3, 4, 1, 1), b"\x80")
    assert kept.source == "{9}"


def test_a_recipe_outlives_json():
    kept = made()
    assert recipe.from_json(json.loads(json.dumps(recipe.to_json(kept)))) == kept


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: None,
        lambda value: [],
        lambda value: {**value, "velatura_recipe": 99},
        lambda value: {**value, "region": {"x": 1}},
        lambda value: {**value, "action": "explode"},
        lambda value: {**value, "settings": {"colour": 1}},
        lambda value: {**value, "selection": {"rect": value["region"], "mask": "????"}},
        lambda value: {**value, "selection": {"rect": value["region"], "mask": bomb()}},
        lambda value: {k: v for k, v in value.items() if k != "seed"},
    ],
)
def test_what_is_no_recipe_of_ours_is_none(damage):
    assert recipe.from_json(damage(recipe.to_json(made()))) is None


def bomb():
    return base64.b64encode(zlib.compress(bytes(10**6))).decode()


def test_a_recipe_is_found_by_the_id_of_its_layer_and_by_the_pixels_of_a_copy():
    mine, other = recipe.key("{7}", (40, 30, 255)), recipe.key("{8}", (40, 30, 1))
    names = ["history", other, mine]
    assert recipe.layer_of(mine) == "{7}"
    assert recipe.layer_of("history") is None
    assert recipe.find(names, "{7}") == mine
    assert recipe.find(names, "{") is None
    assert recipe.find_original(names, (40, 30, 255)) == mine
    assert recipe.find_original(names, (40, 30, 256)) is None
    assert recipe.may_be_copy(names, 40, 30)
    assert not recipe.may_be_copy(names, 4, 30)
    assert not recipe.may_be_copy([recipe.key("{7}", (0, 0, 0))], 0, 0)


def test_a_layer_is_named_by_prompt_and_action_on_one_line():
    assert recipe.layer_name("fill", "a red\n boat ") == "a red boat (Fill)"
    assert recipe.layer_name("expand", "") == "Expand"
    assert len(recipe.layer_name("fill", "word " * 100)) < 70


def test_a_selection_is_filled_at_full_strength_and_refined_below():
    assert action_at("fill", 99) == "refine_selection"
    assert action_at("refine_selection", 100) == "fill"
    assert action_at("refine", 100) == "refine"


def test_the_memory_outlives_json_and_damage():
    memory = Memory(FIRST_STRENGTHS, LAYER, 3, "tiny").with_strength("refine", 70)
    assert Memory.from_json(json.loads(json.dumps(memory.to_json()))) == memory
    assert memory.strengths["refine_selection"] == 45
    damaged = {"strengths": {"refine": 900, "x": 1}, "variants": "many", "model": 4}
    assert Memory.from_json(damaged) == Memory(FIRST_STRENGTHS)
    assert Memory.from_json(None) == Memory(FIRST_STRENGTHS)
