"""SPEC.md says what the code does: types, fields, ranges, codes and turns."""

from __future__ import annotations

import dataclasses
import re
from importlib.resources import files

import pytest
from velatura.protocol import messages as m
from velatura.protocol.errors import CLOSE_CODES, CODES

SPEC = (files("velatura.protocol") / "SPEC.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### (\w+) \(\w+\)\n(.*?)(?=^#)", SPEC, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("kind", [k for k in m.TYPES if not k.startswith("live")])
def test_every_message_has_a_section_that_names_its_sender_and_every_field(kind):
    assert f"### {kind} ({m.TYPES[kind].sender})" in SPEC
    for field in dataclasses.fields(m.TYPES[kind]):
        assert re.search(rf"\b{field.name}\b", SECTIONS[kind]), field.name


@pytest.mark.parametrize("kind", [k for k in m.TYPES if k.startswith("live")])
def test_the_live_section_names_every_message_and_field(kind):
    live = SPEC.split("## 5. Live painting")[1].split("## 6.")[0]
    assert f"`{kind}`" in live
    for field in dataclasses.fields(m.TYPES[kind]):
        assert f"`{field.name}`" in live, field.name


def test_every_code_and_its_meaning_is_documented():
    for code, meaning in {**CODES, **CLOSE_CODES}.items():
        assert f"| {code} | {meaning} |" in SPEC


@pytest.mark.parametrize("word", [*m.ACTIONS, *m.CONTROL_KINDS, *m.STAGES, *m.WORKER_STATES])
def test_every_choice_is_documented(word):
    assert f"`{word}`" in SPEC
