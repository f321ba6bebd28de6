"""Turn any text, from a clipboard or another program's file, into text that a message may hold."""

from __future__ import annotations

import re

_LINE_END = re.compile("\r\n|[\r\x85\u2028\u2029]")
_BLANK = re.compile(r"[^\S\n]")
# Control characters, and halves of a surrogate pair, which UTF-8 cannot hold.
_UNSENDABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain_text(text: str) -> str:
    r"""Replace ends of lines by ``\n`` and all other white space by blanks; drop control characters.

    What only joins or parts letters (U+200D in emoji, U+200C in Persian) is part of a word and stays.

    >>> plain_text("red\u00a0boat\tat\u3000sea\u2028night\r\n\x1b[1m")
    'red boat at sea\nnight\n[1m'
    """
    return _UNSENDABLE.sub("", _BLANK.sub(" ", _LINE_END.sub("\n", text)))
