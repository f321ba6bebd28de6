from __future__ import annotations

import json

import pytest
from velatura.krita_plugin import desk
from velatura.krita_plugin.desk import Desk
from velatura.krita_plugin.state import FIRST_STRENGTHS, MOST_PROMPTS, Guide, Memory


def test_a_desk_comes_back_from_the_file_as_it_was():
    full = Desk("a boat\nat sea", "fog", (Guide("line", "{1}", 80, 10, 60, on=False),), ("{2}",))
    for made in (full, Desk()):
        assert desk.from_json(json.loads(json.dumps(desk.to_json(made)))) == made


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"prompt": 3, "negative": None, "guides": "x", "leave_out": [1]},
        {"guides": [{"kind": "line"}, {"kind": 1, "layer": "{1}"}, 7]},
        {"guides": [{"kind": "line", "layer": "{1}", "influence": 10**9}]},
        {"guides": [{"kind": "line", "layer": "{1}", "unknown": 1}]},
    ],
)
def test_a_desk_from_another_hand_takes_its_first_values(value):
    assert desk.from_json(value) == Desk()


def test_prompts_are_remembered_newest_first_each_once_and_not_for_ever():
    memory = Memory(FIRST_STRENGTHS)
    for prompt in ("a boat", "a tree", "", "a boat"):
        memory = memory.with_prompt(prompt)
    assert memory.prompts == ("a boat", "a tree")
    assert Memory.from_json(json.loads(json.dumps(memory.to_json()))) == memory
    for number in range(2 * MOST_PROMPTS):
        memory = memory.with_prompt(str(number))
    assert len(memory.prompts) == MOST_PROMPTS
    assert Memory.from_json({"prompts": ["a", 3, "b"]}).prompts == ("a", "b")
    assert Memory.from_json({"prompts": "abc"}).prompts == ()
