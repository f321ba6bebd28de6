"""Chunks of 30 tokens; a token is the length of its word, and a comma is 0."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from velatura.server.worker.prompt.chunks import Chunk, cut_chunks
from velatura.server.worker.prompt.language import parse

ROOM = 30


def tokenize(text: str) -> list[int]:
    return [0 if word == "," else len(word) for word in text.replace(",", " , ").split()]


def cut(text: str) -> list[Chunk]:
    return cut_chunks(parse(text).parts, tokenize, ROOM, 0)


def lengths(text: str) -> list[int]:
    return [len(chunk.tokens) for chunk in cut(text)]


def test_no_words_are_one_empty_chunk() -> None:
    assert cut("") == cut("()") == [Chunk((), ())]


def test_every_token_carries_the_weight_of_its_part() -> None:
    assert cut("a (bb, ccc:1.5)") == [Chunk((1, 2, 0, 3), (1.0, 1.5, 1.5, 1.5))]


def test_a_full_chunk_is_followed_by_the_next() -> None:
    assert lengths("a " * ROOM) == [ROOM]
    assert lengths("a " * (ROOM + 1)) == [ROOM, 1]
    assert lengths("a " * (3 * ROOM)) == [ROOM, ROOM, ROOM]


def test_a_phrase_near_the_end_is_moved_whole() -> None:
    assert lengths("a " * 20 + ", " + "b " * 20) == [21, 20]
    assert lengths("a " * 10 + ", " + "b " * 20) == [11, 20]
    assert lengths("a " * 9 + ", " + "b " * 21) == [ROOM, 1]
    assert lengths("a " * ROOM + ", b") == [ROOM, 2]


def test_break_fills_the_chunk() -> None:
    assert lengths("a BREAK b c") == [1, 2]
    assert lengths("(a BREAK b:1.2) c") == [1, 2]
    assert lengths("a BREAK BREAK b") == [1, 0, 1]
    assert lengths("a BREAK") == [1]
    assert lengths("BREAK a") == [0, 1]
    assert lengths("a " * ROOM + "BREAK b") == [ROOM, 1]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", ",", "BREAK", "(bb:1.2)"]), max_size=120))
def test_no_token_is_lost_and_no_chunk_too_long(words: list[str]) -> None:
    chunks = cut(" ".join(words))
    tokens = [token for chunk in chunks for token in chunk.tokens]
    assert tokens == [t for w in words if w != "BREAK" for t in ([2] if "b" in w else tokenize(w))]
    assert all(len(chunk.tokens) <= ROOM for chunk in chunks)
    assert all(len(chunk.tokens) == len(chunk.weights) for chunk in chunks)
