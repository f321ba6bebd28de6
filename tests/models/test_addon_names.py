"""One reader of the names of LoRAs and embeddings: every public spelling, and never the wrong file."""

from __future__ import annotations

import doctest
import time
from pathlib import Path

import pytest
from velatura.models import addon_names
from velatura.models.addon import AddOn
from velatura.models.addon_names import AddOns
from velatura.models.errors import ModelError
from velatura.models.items import Item
from velatura.models.places import EMBEDDING, LORA
from velatura.protocol import addon_marks

WIDTH, OTHER = 768, 2048


def addon(name: str, kind: str = EMBEDDING, width: int = WIDTH, reason: str = "", alias: str = ""):
    item = Item(kind, name, Path("/models") / f"{name}.safetensors", "models", Path("/models"))
    return AddOn(item, width, reason, (item.path, 1, 1, 0), (alias,) if alias else ())


def found(addons: list[AddOn], text: str) -> list[tuple[str, list[str]]]:
    """(what stands in the text, names of the embeddings that it may mean)."""
    return [
        (text[one.start : one.end], [each.name for each in one.addons])
        for one in AddOns(addons).mentions(text, WIDTH)
    ]


def test_its_examples_hold() -> None:
    for module in (addon_names, addon_marks):
        failed, tried = doctest.testmod(module)
        assert tried
        assert not failed


def test_names_are_found_as_whole_words_only() -> None:
    there = [addon(name) for name in ("old-ink", "ink", "a.b (c)")]
    text = "Old-Ink, inks, ink; A.B (c)"
    assert found(there, text) == [
        ("Old-Ink", ["old-ink"]),
        ("ink", ["ink"]),
        ("A.B (c)", ["a.b (c)"]),
    ]
    for text in ("inkling pre-ink ink-pot", "cafe\u0301 \u0928\u200dink ink\u0301", "myembedding:"):
        assert not found([addon("ink"), addon("cafe"), addon("e")], text)


@pytest.mark.parametrize(
    "written",
    [
        "bad hands",
        "BAD hands",
        "bad\u00a0hands",
        "embedding:bad hands",
        "embedding:bad hands.safetensors",
        "embedding:bad hands.pt",
        "bad hands.pt",
        "embedding:sub/bad hands",
        "embedding:sub\\bad hands",
        "sub/bad hands",
        "embedding:deep/sub/bad hands.bin",
    ],
)
def test_every_public_spelling_means_the_file(written: str) -> None:
    there = [addon("deep/sub/bad hands"), addon("bad"), addon("hands")]
    assert found(there, f"{written}, a cat") == [(written, ["deep/sub/bad hands"])]


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("\u0130x", "\u0130x"),
        ("\u0130x", "i\u0307X"),
        ("stra\u00dfe", "STRASSE"),
        ("n\u00e9g", "ne\u0301g"),
        ("ne\u0301g", "N\u00c9G"),
        (
            "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
            "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3",
        ),
    ],
)
def test_case_and_form_do_not_matter_in_any_script(file: str, written: str) -> None:
    assert found([addon(file)], f"a {written}, \u0130") == [(written, [file])]


def test_the_exact_name_comes_before_all_others() -> None:
    there = [addon("old/neg"), addon("neg"), addon("Neg"), addon("other", alias="<neg>")]
    assert found(there, "neg") == [("neg", ["neg"])]
    assert found(there, "Neg") == [("Neg", ["Neg"])]
    assert found(there, "old/neg, embedding:OLD\\neg") == [
        ("old/neg", ["old/neg"]),
        ("embedding:OLD\\neg", ["old/neg"]),
    ]
    assert found(there, "a <neg> b") == [("<neg>", ["other"])]
    assert found(there[:1], "neg") == [("neg", ["old/neg"])]
    assert found([addon("gs-200"), addon("gs-2000")], "gs-2000") == [("gs-2000", ["gs-2000"])]


def test_what_does_not_say_which_it_means_is_told_and_never_guessed() -> None:
    there = [addon("a/neg"), addon("b/neg")]
    assert found(there, "neg") == [("neg", ["a/neg", "b/neg"])]
    with pytest.raises(ModelError, match=r"2 of the kind embedding called 'neg'.*'a/neg', 'b/neg'"):
        AddOns(there).choose(EMBEDDING, "neg", WIDTH, "tiny")


def test_what_fits_the_model_comes_before_what_does_not_and_what_is_broken_last() -> None:
    pickle = addon("neg.pt", reason="it is a pickle.")
    there = [pickle, addon("xl/neg", width=OTHER), addon("neg")]
    assert found(there, "embedding:neg.pt") == [("embedding:neg.pt", ["neg"])]
    assert found(there[:2], "neg") == [("neg", ["xl/neg"])]
    assert found(there[:1], "neg") == [("neg", ["neg.pt"])]


def test_a_lora_is_found_by_the_name_that_it_was_trained_with_unless_a_file_has_it() -> None:
    def chosen(name: str, *more: AddOn) -> str:
        renamed = addon("my_renamed_v2", LORA, alias="inkwash")
        return AddOns([renamed, *more]).choose(LORA, name, WIDTH, "tiny").name

    assert chosen("inkwash") == chosen("InkWash") == "my_renamed_v2"
    assert chosen("inkwash", addon("sub/inkwash", LORA)) == "sub/inkwash"
    assert chosen("sub\\ink.safetensors", addon("sub/ink", LORA)) == "sub/ink"
    assert chosen(" ink ", addon("ink", LORA)) == "ink"
    with pytest.raises(ModelError, match="2 of the kind LoRA"):
        chosen("inkwash", addon("another", LORA, alias="inkwash"))


def test_copies_of_one_file_are_no_question(tmp_path: Path) -> None:
    made = []
    for number, content in enumerate((b"same", b"same", b"else")):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        item = Item(LORA, f"file {number}", path, "models", tmp_path)
        made.append(AddOn(item, WIDTH, "", (item.path, 4, number, 0), ("ink",)))
    assert AddOns(made[:2]).choose(LORA, "ink", WIDTH, "tiny") == made[0]
    with pytest.raises(ModelError, match="3 of the kind LoRA"):
        AddOns(made).choose(LORA, "ink", WIDTH, "tiny")


def test_thousands_of_embeddings_are_found_in_a_long_prompt_in_a_moment() -> None:
    there = AddOns([addon(f"style {n} {'x' * (n % 90)}") for n in range(5000)])
    text = "style 17 " * 2000
    list(there.mentions(text, WIDTH))
    began = time.process_time()
    list(there.mentions(text, WIDTH))
    long = time.process_time() - began
    began = time.process_time()
    list(there.mentions(text[: len(text) // 8], WIDTH))
    # In proportion to its length; too short to measure is fast enough.
    assert long < 32 * max(time.process_time() - began, 0.001)
