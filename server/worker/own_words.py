"""Words of a painter's own (textual inversion, Gal et al. 2022) in a prompt's text.

A word's rows take the place of its tokens' embeddings while one chunk is encoded. Neither the
tokenizer nor the encoder is changed, so a prompt that does not name it has nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from velatura.models.addons import AddOn
from velatura.models.embeddings import FIRST, SECOND, find_rows
from velatura.models.errors import ModelError
from velatura.models.families.base import Loaded
from velatura.models.weights import check_safetensors, read_header

# ComfyUI's way of naming one, which is never an ordinary word.
EXPLICIT = re.compile(r"\bembedding:([^\s,:()<>{}\[\]|]+)")
_MOST_ROWS = 1 << 12


@dataclass(frozen=True)
class OwnWord:
    """Rows (tokens, width) for the first and, where the model has one, the second encoder."""

    first: torch.Tensor
    second: torch.Tensor | None = None


def load_word(addon: AddOn, loaded: Loaded) -> OwnWord:
    """Read the file of ``addon`` for ``loaded``. Raises ModelError (``unsupported``)."""
    from safetensors import SafetensorError, safe_open

    check_safetensors(addon.path)
    names = find_rows(read_header(addon.path).tensors)
    try:
        with safe_open(addon.path, "pt") as file:
            rows = {key: file.get_tensor(name).float() for key, name in names.items()}
    except (SafetensorError, OSError) as error:
        raise ModelError("unsupported", "it is broken: get the file again.") from error
    rows = {key: (tensor[None] if tensor.ndim == 1 else tensor) for key, tensor in rows.items()}
    encoders = {FIRST: loaded.text_encoder, SECOND: loaded.text_encoder_2}
    for key, encoder in encoders.items():
        if (encoder is None) != (key not in rows):
            raise ModelError("unsupported", "it is made for models with other text encoders.")
        if encoder is not None and rows[key].shape[1] != encoder.config.hidden_size:
            raise ModelError(
                "unsupported",
                f"its rows hold {rows[key].shape[1]} values, and this model's text encoder takes "
                f"{encoder.config.hidden_size}: get the one made for it.",
            )
    if SECOND in rows and len(rows[FIRST]) != len(rows[SECOND]):
        raise ModelError("unsupported", "its two parts differ in length: get it again.")
    return OwnWord(rows[FIRST], rows.get(SECOND))


@lru_cache(64)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str] | None:
    if not names:
        return None
    longest = sorted(names, key=len, reverse=True)
    choice = "|".join(re.escape(name) for name in longest)
    return re.compile(rf"(?<![\w-])(?:embedding:)?({choice})(?![\w-])", re.IGNORECASE)


def find_words(text: str, names: Sequence[str]) -> list[str]:
    """Which of ``names`` stand in ``text`` as words, in lower case, each once.

    >>> find_words("a photo, EasyNegative, easy-negatives", ["easynegative", "a-b"])
    ['easynegative']
    """
    pattern = _pattern(tuple(names))
    found = pattern.findall(text) if pattern else []
    return list(dict.fromkeys(name.lower() for name in found))


def tokenize(
    text: str, words: Mapping[str, OwnWord], plain: Callable[[str], Sequence[int]]
) -> list[int]:
    """Tokens of ``text``; below zero for the rows of ``words`` (lower-case name -> word)."""
    pattern = _pattern(tuple(words))
    if pattern is None:
        return list(plain(text))
    tokens: list[int] = []
    places = list(words)
    for number, piece in enumerate(pattern.split(text)):
        # Every second piece is a name that was found.
        if number % 2:
            place = places.index(piece.lower())
            count = len(words[piece.lower()].first)
            tokens += [-(place * _MOST_ROWS + row) - 1 for row in range(count)]
        else:
            tokens += plain(piece)
    return tokens


def without(text: str, words: Mapping[str, OwnWord]) -> str:
    """``text`` with a space in the place of each of ``words``."""
    pattern = _pattern(tuple(words))
    return text if pattern is None else pattern.sub(" ", text)


def _row(token: int) -> int:
    return (-token - 1) % _MOST_ROWS


@contextmanager
def spoken(
    encoder: torch.nn.Module,
    tokens: Sequence[int],
    words: Mapping[str, OwnWord],
    which: str,
) -> Iterator[None]:
    """While it lasts, ``encoder`` (``which``: first or second) reads rows for own words.

    ``tokens`` of one chunk without its start, as tokenize made them.
    """
    places = list(words)
    rows = {
        1 + index: getattr(words[places[(-token - 1) // _MOST_ROWS]], which)[_row(token)]
        for index, token in enumerate(tokens)
        if token < 0
    }
    if not rows:
        yield
        return

    def put(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        for position, row in rows.items():
            changed[0, position] = row.to(output)
        return changed

    table = encoder.get_input_embeddings()  # type: ignore[operator]
    handle = table.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()
