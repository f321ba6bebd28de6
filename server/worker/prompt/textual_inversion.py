"""Textual inversions (Gal et al. 2022) that a prompt names: where they stand, and their rows.

A word's rows take the place of its tokens' embeddings while one chunk is encoded. Neither the
tokenizer nor the encoder is changed, so a prompt that does not name it has nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from velatura.models.addon import AddOn
from velatura.models.addon_names import AddOns
from velatura.models.embeddings import BUNDLED, FIRST, SECOND, bundled, find_rows
from velatura.models.errors import ModelError
from velatura.models.weights import read_header

_MOST_ROWS = 1 << 12


@dataclass(frozen=True)
class Inversion:
    """A textual inversion: its rows (tokens, width) for each of the model's text encoders."""

    rows: tuple[torch.Tensor, ...]


def load_inversion(addon: AddOn, widths: Sequence[int]) -> Inversion:
    """Read the file of ``addon`` for text encoders of these ``widths`` of token embeddings.

    Raises ModelError (``unsupported``).
    """
    from safetensors import SafetensorError, safe_open

    tensors = read_header(addon.path).tensors
    own = bundled(tensors).get(addon.name)
    prefix = "" if own is None else f"{BUNDLED}{addon.name}."
    names = {key: prefix + name for key, name in find_rows(own or tensors).items()}
    try:
        with safe_open(addon.path, "pt") as file:
            rows = {key: file.get_tensor(name).float() for key, name in names.items()}
    except (SafetensorError, OSError) as error:
        raise ModelError("unsupported", "it is broken: get the file again.") from error
    rows = {key: (tensor[None] if tensor.ndim == 1 else tensor) for key, tensor in rows.items()}
    given = [rows[key] for key in (FIRST, SECOND) if key in rows]
    if len(given) != len(widths):
        raise ModelError("unsupported", "it is made for models with other text encoders.")
    for one, width in zip(given, widths, strict=True):
        if one.shape[1] != width:
            raise ModelError(
                "unsupported",
                f"its rows hold {one.shape[1]} values, and this model's text encoder takes "
                f"{width}: get the one made for it.",
            )
    if len({len(one) for one in given}) > 1:
        raise ModelError("unsupported", "its two parts differ in length: get it again.")
    return Inversion(tuple(given))


@dataclass(frozen=True)
class Inversions:
    """The textual inversions that one job's prompts name: where they stand, and their rows.

    addons      all that there are, which read the names; those that ``rows`` lacks stay words
    text_width  of the model's text embeddings
    """

    addons: AddOns = field(default_factory=AddOns)
    text_width: int = 0
    rows: Mapping[AddOn, Inversion] = field(default_factory=dict)

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
                first, count = places[piece] * _MOST_ROWS, len(self.rows[piece].rows[0])
                tokens += [-(first + row) - 1 for row in range(count)]
        return tokens

    def row(self, token: int, encoder: int) -> torch.Tensor:
        """Return the row (width,) for text encoder ``encoder`` that ``tokenize`` means by ``token``."""
        place, row = divmod(-token - 1, _MOST_ROWS)
        return tuple(self.rows.values())[place].rows[encoder][row]
