"""Words of a painter's own (textual inversion, Gal et al. 2022) in a prompt's text.

A word's rows take the place of its tokens' embeddings while one chunk is encoded. Neither the
tokenizer nor the encoder is changed, so a prompt that does not name it has nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from velatura.models.addon import AddOn
from velatura.models.addon_names import AddOns
from velatura.models.embeddings import FIRST, SECOND, find_rows
from velatura.models.errors import ModelError
from velatura.models.families.base import Loaded
from velatura.models.weights import check_safetensors, read_header

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


@dataclass(frozen=True)
class OwnWords:
    """The textual inversions that one job's prompts name: where they stand, and their rows.

    addons      all that there are, which read the names; those that ``rows`` lacks stay words
    text_width  of the model's text embeddings
    """

    addons: AddOns = field(default_factory=AddOns)
    text_width: int = 0
    rows: Mapping[AddOn, OwnWord] = field(default_factory=dict)

    def split(self, text: str) -> Iterator[str | AddOn]:
        """Cut ``text`` into words and, in the place of its name, each textual inversion."""
        at = 0
        for mention in self.addons.mentions(text, self.text_width) if self.rows else ():
            if len(mention.addons) == 1 and mention.addons[0] in self.rows:
                yield text[at : mention.start]
                yield mention.addons[0]
                at = mention.end
        yield text[at:]

    def tokenize(self, text: str, plain: Callable[[str], Sequence[int]]) -> list[int]:
        """Return the tokens of ``text``; below zero for rows of textual inversions."""
        places = {addon: place for place, addon in enumerate(self.rows)}
        tokens: list[int] = []
        for piece in self.split(text):
            if isinstance(piece, str):
                tokens += plain(piece)
            else:
                first, count = places[piece] * _MOST_ROWS, len(self.rows[piece].first)
                tokens += [-(first + row) - 1 for row in range(count)]
        return tokens

    def row(self, token: int, which: str) -> torch.Tensor:
        """Return the row (width,) that ``tokenize`` means by ``token``; which: first or second."""
        place, row = divmod(-token - 1, _MOST_ROWS)
        rows: torch.Tensor = getattr(tuple(self.rows.values())[place], which)
        return rows[row]


@contextmanager
def spoken(
    encoder: torch.nn.Module,
    tokens: Sequence[int],
    words: OwnWords,
    which: str,
) -> Iterator[None]:
    """Let ``encoder`` (``which``: first or second) read rows of textual inversions while it lasts.

    ``tokens`` of one chunk without its start, as OwnWords.tokenize made them.
    """
    rows = {1 + index: words.row(token, which) for index, token in enumerate(tokens) if token < 0}
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
