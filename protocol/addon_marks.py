r"""Write the mark that names a LoRA or an embedding in a prompt, for a file of any name.

What the server's prompt parser reads otherwise, a backslash before it makes a plain character:

>>> lora_mark("styles/ink #2 [XL]", 0.8), embedding_mark("style(v1)")
('<lora:styles/ink #2 [XL]:0.8>', 'embedding:style\\(v1\\)')
"""

from __future__ import annotations

import re

# What a backslash may stand before: in a LoRA's mark, and in a prompt's text.
ESCAPED_IN_MARK = "\\<>:{|}"
ESCAPED_IN_TEXT = ESCAPED_IN_MARK + "#()[]"
EMBEDDING = "embedding:"
_DECIMALS = 6


def lora_mark(name: str, weight: float = 1.0) -> str:
    r"""Return the mark of the LoRA called ``name`` on one line, with its weight.

    >>> lora_mark("a:b|{c}>\\", 1e-5)
    '<lora:a\\:b\\|\\{c\\}\\>\\\\:0.00001>'
    """
    number = f"{weight:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return f"<lora:{_escape(name, ESCAPED_IN_MARK)}:{number}>"


def embedding_mark(name: str) -> str:
    r"""Return the mark of the embedding (textual inversion) called ``name``, with its folders.

    >>> embedding_mark("old/neg, v2"), embedding_mark("a BREAK b")
    ('embedding:old/neg, v2', 'embedding:a \\BREAK b')
    """
    # A blank at the end of a prompt is lost.
    end = ".safetensors" if name[-1:].isspace() else ""
    return EMBEDDING + re.sub(r"\bBREAK\b", r"\\BREAK", _escape(name, ESCAPED_IN_TEXT)) + end


def _escape(name: str, characters: str) -> str:
    return "".join(f"\\{c}" if c in characters else c for c in name)
