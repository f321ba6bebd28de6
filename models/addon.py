"""One LoRA or textual inversion on disk, and how a sentence calls it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from velatura.models import loras
from velatura.models.items import Item
from velatura.models.places import EMBEDDING, LORA
from velatura.models.weights import FileStamp, stamp_of

WORDS = {LORA: "LoRA", EMBEDDING: "embedding"}
_FAMILY_WORDS = {
    "sd15": "Stable Diffusion 1.5",
    "sd2": "Stable Diffusion 2",
    "sdxl": "Stable Diffusion XL",
}


@dataclass(frozen=True)
class AddOn:
    """One file.

    text_width  width of the text embeddings of the models that it fits
    reason      why it cannot be used, or none
    stamp       stays the same while the file does
    aliases     other names that the file itself says it has
    bundled     the textual inversions that a LoRA's file holds, which are known where it is named
    """

    item: Item
    text_width: int
    reason: str
    stamp: FileStamp
    aliases: tuple[str, ...] = ()
    bundled: tuple[AddOn, ...] = ()

    @property
    def kind(self) -> str:
        return self.item.kind

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def path(self) -> Path:
        return self.item.path

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return self.stamp[1]

    @property
    def changed(self) -> bool:
        """Whether its file is another than the one that was seen."""
        try:
            return stamp_of(self.path) != self.stamp
        except OSError:
            return True

    def fits(self, text_width: int) -> bool:
        """Whether a model with text embeddings of ``text_width`` can use it."""
        return self.text_width == text_width and not self.reason


def family_words(text_width: int) -> str:
    """Name the family of models with text embeddings of ``text_width`` in a sentence."""
    family = loras.FAMILY_OF_WIDTH.get(text_width, "")
    return _FAMILY_WORDS.get(family, f"a model with {text_width} values per word")


def quote(name: str) -> str:
    """Quote any name on one line without control characters, for a sentence."""
    short = name[:100]
    return f"'{short}'" if short.isprintable() else ascii(short)
