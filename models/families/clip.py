"""CLIP's tokenizer, for checkpoints that bring none: single files hold weights alone."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_MERGES = Path(__file__).parent / "configs" / "clip" / "merges.txt.gz"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_LENGTH = 77


def make_tokenizer(pad: str = _END) -> CLIPTokenizer:
    """Make the tokenizer of Radford et al. 2021; ``pad`` fills prompts up (OpenCLIP's models: ``!``).

    Filling up is all that it is for: where it stands in a prompt it is read as what it says.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = _vocabulary()
    return CLIPTokenizer(
        vocab=dict(vocabulary),
        merges=list(merges),
        pad_token=pad,
        model_max_length=_LENGTH,
        split_special_tokens=True,
    )


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    lines = gzip.decompress(_MERGES.read_bytes()).decode().splitlines()
    merges = [(first, second) for first, second in (line.split(" ") for line in lines)]
    letters = _letters()
    words = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(first + second for first, second in merges),
        _START,
        _END,
    ]
    return {word: number for number, word in enumerate(words)}, merges


def _letters() -> list[str]:
    """The 256 bytes as letters that can be printed, in the order of GPT-2's byte-level BPE."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printed += range(ord("®"), ord("ÿ") + 1)
    return [chr(n) for n in printed] + [chr(256 + n) for n in range(256 - len(printed))]
