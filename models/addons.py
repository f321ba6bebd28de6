"""LoRAs and textual inversions by name: which models each one fits, told from its header."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from velatura.models import embeddings, loras
from velatura.models.errors import ModelError
from velatura.models.items import Item, pick
from velatura.models.places import EMBEDDING, LORA
from velatura.protocol.sentences import Sentence

WORDS = {LORA: "LoRA", EMBEDDING: "embedding"}
_FAMILY_WORDS = {
    "sd15": "Stable Diffusion 1.5",
    "sd2": "Stable Diffusion 2",
    "sdxl": "Stable Diffusion XL",
}
_LARGEST_HEADER = 16 * 2**20
_MOST_NAMED = 12

_Key = tuple[str, Path, int, int]


@dataclass(frozen=True)
class AddOn:
    """One file. ``text_width``: of the text embeddings of the models that it fits.

    reason: why it cannot be used, or none. stamp: size and time of the file.
    """

    item: Item
    text_width: int
    reason: str
    stamp: tuple[int, int]

    @property
    def kind(self) -> str:
        return self.item.kind

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def word(self) -> str:
        """What stands for it in a text, in lower case: its name without folders."""
        return self.name.rpartition("/")[2].lower()

    @property
    def path(self) -> Path:
        return self.item.path


class AddOnReader:
    """Reads each file's header once for as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[_Key, AddOn] = {}

    def read(self, items: Iterable[Item]) -> tuple[AddOn, ...]:
        """What ``items``, of the two kinds, are; with its reason what cannot be used."""
        known: dict[_Key, AddOn] = {}
        for item in items:
            try:
                status = item.path.stat()
            except OSError:
                continue
            stamp = (status.st_size, status.st_mtime_ns)
            key = (item.kind, item.path, *stamp)
            before = self._known.get(key)
            same = before is not None and before.item == item
            known[key] = before if before and same else AddOn(item, *_look(item), stamp)
        self._known = known
        return tuple(known.values())


def fitting(addons: Iterable[AddOn], kind: str, text_width: int) -> list[AddOn]:
    """Those of one kind that fit a model with text embeddings of ``text_width``."""
    return [
        one
        for one in addons
        if one.kind == kind and one.text_width == text_width and not one.reason
    ]


def choose(addons: Sequence[AddOn], kind: str, name: str, text_width: int, model: str) -> AddOn:
    """The add-on called ``name``, by any form of its name that means only one, for a model.

    Raises ModelError: ``missing_weights`` with what there is, ``unsupported`` when it cannot be used
    or is made for models of another family.
    """
    word, shown = WORDS[kind], quote(name)
    fits = fitting(addons, kind, text_width)
    same = [one for one in addons if one.kind == kind]
    for there in (fits, same):
        by_path = {one.path: one for one in there}
        item = pick((one.item for one in there), name) or _stem(there, name)
        if item is not None:
            found = by_path[item.path]
            break
    else:
        names = [one.name for one in fits]
        lower = {one.lower(): one for one in names}
        alike = difflib.get_close_matches(name.lower(), lower, _MOST_NAMED, 0.5)
        close = [lower[one] for one in alike]
        some = [*close, *(one for one in names if one not in close)][:_MOST_NAMED]
        listed = ", ".join(some) or "none"
        others = len(names) - len(some)
        raise ModelError(
            "missing_weights",
            Sentence(
                "there is no {kind} {name}; for {model} there are: {listed} and {others} more."
                if others
                else "there is no {kind} {name}; for {model} there are: {listed}.",
                kind=Sentence(word),
                name=shown,
                model=model,
                listed=listed,
                others=others,
            ),
        )
    if found.reason:
        why = Sentence("{kind} {name}: {why}", kind=Sentence(word), name=shown, why=found.reason)
        raise ModelError("unsupported", why)
    if found.text_width != text_width:
        raise ModelError(
            "unsupported",
            Sentence(
                "{kind} {name} is made for {its}, and {model} is {family}: choose another one or "
                "another model.",
                kind=Sentence(word),
                name=shown,
                its=family_words(found.text_width),
                model=model,
                family=family_words(text_width),
            ),
        )
    return found


def _stem(addons: Sequence[AddOn], name: str) -> Item | None:
    """The only one whose file has this name without its suffix: of a pickle, say."""
    found = [one.item for one in addons if one.path.stem.casefold() == name.casefold()]
    return found[0] if len(found) == 1 else None


def family_words(text_width: int) -> str:
    """The family of models with text embeddings of ``text_width``, for a sentence."""
    family = loras.FAMILY_OF_WIDTH.get(text_width, "")
    return _FAMILY_WORDS.get(family, f"a model with {text_width} values per word")


def quote(name: str) -> str:
    """Any name on one line without control characters, for a sentence."""
    short = name[:100]
    return f"'{short}'" if short.isprintable() else ascii(short)


def read_tensors(path: Path) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, str]]:
    """(tensors, metadata) of a safetensors header, unchecked: what is loaded is checked then.

    Raises ModelError (``unsupported``) when the file has no such header.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _LARGEST_HEADER:
                raise ValueError(length)
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        return header, {str(key): str(value) for key, value in metadata.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError("unsupported", "it is broken: get the file again.") from error


def _look(item: Item) -> tuple[int, str]:
    """(text width, "") of one file, or (0, why it cannot be used)."""
    if item.reason:
        return 0, item.reason
    if not item.path.is_file():
        return 0, "it is a folder: put the file itself there."
    try:
        tensors, metadata = read_tensors(item.path)
        if item.kind == EMBEDDING:
            return embeddings.find_width(tensors), ""
        return loras.find_width(tensors, metadata), ""
    except ModelError as error:
        return 0, error.message
