"""What the docker inserts always applies: a mark is read back as exactly the file that it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from velatura.krita_plugin.ui.addons import mark
from velatura.models.addon import AddOn
from velatura.models.addon_names import AddOns
from velatura.models.items import Item
from velatura.models.places import EMBEDDING, LORA
from velatura.protocol.messages import AddOnInfo
from velatura.server.worker.errors import JobError
from velatura.server.worker.prompt.encode import Prompts
from velatura.server.worker.prompt.language import parse
from velatura.server.worker.residency.addons import find_named

WIDTH = 768
ODD = [
    "#",
    "[XL]",
    "(v1)",
    "BREAK",
    "embedding:",
    "<lora:",
    ":1.2)",
    "\\",
    "{a|b}",
    ".pt",
    " ",
    ">",
    ",",
]
# What items.py lists: printable, on one line; "/" for folders.
names = (
    st.lists(st.sampled_from(ODD) | st.text(max_size=4), min_size=1, max_size=6)
    .map(lambda pieces: "/".join(part for part in "".join(pieces).split("/") if part))
    .filter(lambda name: name.isprintable() and 0 < len(name) <= 200)
)


def addon(kind: str, name: str) -> AddOn:
    item = Item(kind, name, Path("/models") / kind / name, "models", Path("/models"))
    return AddOn(item, WIDTH, "", (item.path, 1, 1, 0))


def named(addons: AddOns, prompt: str):
    return find_named("tiny", Prompts(parse(prompt), parse("")), addons, WIDTH)


@pytest.mark.parametrize(
    "around", ["{}", "a boat {}", "({}:1.2)", "[{}]", "{{{}|{}}}", "a, {}\n# b"]
)
@settings(deadline=None)
@given(name=names, others=st.lists(names, max_size=3))
@example(name="style #2 [XL]", others=[])
@example(name="neg", others=["old/neg", "NEG", "neg ", "neg.pt"])
@example(name="neg ", others=["neg"])
@example(name="a\\b", others=["a/b"])
@example(name="İx (BREAK)", others=["ix"])
def test_the_mark_of_any_file_name_is_read_back_as_that_file(
    around: str, name: str, others: list[str]
) -> None:
    for kind in (LORA, EMBEDDING):
        wanted = addon(kind, name)
        addons = AddOns([*(addon(kind, one) for one in others if one != name), wanted])
        info = AddOnInfo(kind=kind, name=name, family="any", text_width=WIDTH)
        # The docker sends what the painter typed without the blanks at its ends.
        found = named(addons, around.format(*[mark(info)] * 2).strip())
        assert not found.notes
        if kind == LORA:
            assert [one for one, *_ in found.loras] == [wanted]
        else:
            assert found.words == (wanted,)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("<lora:ink:much>", "'<lora:ink:much>' names no LoRA"),
        ("<lora:ink:0.8 a boat", "'<lora:' names no LoRA"),
        ("<lora::1>", "'<lora::1>' names no LoRA"),
        ("<hypernet:ink:1>", "'<hypernet:ink:1>' names no LoRA"),
        ("<lora:ink:1:lbw=ALL:1:stop=10>", "lbw=ALL stop=10 is not known"),
        ("<lora:ink:1:1:8>", "8 is not known"),
        ("a [red:blue:0.5] boat", "'[red:blue:0.5]': A1111's prompt editing"),
        ("a [red|blue] boat", "'[red|blue]': A1111's prompt editing and alternation"),
        ("neg", "'neg' was read as words: several embeddings"),
        ("<lora:\x1b[1m:x>", r"'<lora:\x1b[1m:x>' names no LoRA"),
    ],
)
def test_what_is_written_and_not_done_is_said(prompt: str, said: str) -> None:
    addons = AddOns([addon(LORA, "ink"), addon(EMBEDDING, "a/neg"), addon(EMBEDDING, "b/neg")])
    (note,) = named(addons, prompt).notes
    assert said in note
    assert note.isprintable()


def test_more_embeddings_than_a_recipe_holds_are_refused() -> None:
    addons = AddOns([addon(EMBEDDING, f"e{n}") for n in range(65)])
    with pytest.raises(JobError, match="more than 64 embeddings"):
        named(addons, ", ".join(one.name for one in addons))
