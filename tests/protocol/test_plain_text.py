"""What a painter pastes can be sent, and no word of it runs into the next one."""

from __future__ import annotations

import doctest
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from velatura.protocol import plain_text as module
from velatura.protocol.plain_text import plain_text
from velatura.protocol.style import Style

BLANKS = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) == "Zs"]


def test_its_examples_hold():
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed


def test_every_blank_of_unicode_becomes_a_blank():
    assert len(BLANKS) > 15
    assert plain_text("".join(f"a{blank}" for blank in (*BLANKS, "\t"))) == "a " * (len(BLANKS) + 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_every_end_of_a_line_is_one(end):
    assert plain_text(f"one{end}two") == "one\ntwo"


@pytest.mark.parametrize(
    "kept", ["👩\u200d🎨", "می\u200cخواهم", "a\u200bb", "e\u0301", "\u202eb", "\ue000"]
)
def test_what_joins_and_parts_letters_stays(kept):
    assert plain_text(kept) == kept


@settings(deadline=None)
@given(st.text(st.characters(categories=None), max_size=300))
def test_whatever_is_pasted_can_be_sent_and_pasted_again(text):
    plain = plain_text(text)
    assert Style(name="a", before=plain).before == plain
    assert plain_text(plain) == plain
    assert len(plain.split()) >= len("".join(c for c in text if c.isalnum() or c == "\n").split())
