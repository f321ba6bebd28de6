"""A sentence with names in it is whole in English, and a template for whoever translates."""

from __future__ import annotations

import pytest
from velatura.protocol import messages as m
from velatura.protocol.codec import decode, encode
from velatura.protocol.sentences import Sentence, sentence_of, words_of

WHY = Sentence("there is no model {name}; there are: {names}.", name="{x}", names="a, b")
INNER = Sentence("prompt: {why}", why=WHY)


def told(sentence: str, **fields: object) -> str:
    """The sentence of an Error as its reader has it."""
    error = m.Error(code="internal", message=sentence, **{"words": words_of(sentence), **fields})
    read = decode(b"".join(encode(error)))
    assert isinstance(read, m.Error)
    return read.sentence


def test_it_is_a_plain_sentence_and_no_name_is_filled_into():
    assert INNER == "prompt: there is no model {x}; there are: a, b."


def test_it_is_translated_as_its_template_and_so_are_the_sentences_inside():
    assert INNER.translated(str.upper) == "PROMPT: {WHY}"
    german = {"prompt: {why}": "{why} (im Text)", WHY.template: "statt {name}: {names}"}
    assert INNER.translated(german.__getitem__) == "statt {x}: a, b (im Text)"


def test_it_survives_the_wire_and_any_other_text_stays_as_it_is():
    heard = told(INNER)
    assert heard == INNER
    assert isinstance(heard, Sentence)
    assert words_of(heard) == words_of(INNER)
    assert not isinstance(told("The job was cancelled."), Sentence)


def nested(depth: int) -> dict:
    words: dict = {"template": "deep", "values": {}}
    for _ in range(depth):
        words = {"template": "{a}", "values": {"a": words}}
    return words


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"template": 1, "values": {}},
        {"template": "deep"},
        {"template": "something else", "values": {}},
        {"template": "{a.__class__}", "values": {"a": "deep"}},
        {"template": "{a:999999999}", "values": {"a": "deep"}},
        nested(300),
    ],
)
def test_words_that_do_not_make_the_message_are_passed_over(words):
    heard = told("deep", words=words)
    assert heard == "deep"
    assert not isinstance(heard, Sentence)


def test_a_name_may_be_called_as_an_argument_is():
    words = {"template": "{template} {cls}", "values": {"template": "a", "cls": "b"}}
    assert isinstance(sentence_of("a b", words), Sentence)
