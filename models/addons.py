"""List LoRAs and textual inversions: which models each one fits, told from its header."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from velatura.models import embeddings, loras
from velatura.models.addon import AddOn
from velatura.models.addon_names import AddOns
from velatura.models.errors import ModelError
from velatura.models.items import Item
from velatura.models.places import EMBEDDING

_LARGEST_HEADER = 16 * 2**20

_Key = tuple[str, Path, int, int]


class AddOnReader:
    """Reads each file's header once for as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[_Key, AddOn] = {}

    def read(self, items: Iterable[Item]) -> AddOns:
        """Read what ``items``, of the two kinds, are; with its reason what cannot be used."""
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
            known[key] = before if before and same else _look(item, stamp)
        self._known = known
        return AddOns(known.values())


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


def _look(item: Item, stamp: tuple[int, int]) -> AddOn:
    """Tell from its header what one file fits, or why it cannot be used."""
    try:
        if item.reason:
            raise ModelError("unsupported", item.reason)
        if not item.path.is_file():
            raise ModelError("unsupported", "it is a folder: put the file itself there.")
        tensors, metadata = read_tensors(item.path)
        if item.kind == EMBEDDING:
            width, aliases = embeddings.find_width(tensors), embeddings.find_aliases(tensors)
            return AddOn(item, width, "", stamp, aliases)
        width, aliases = loras.find_width(tensors, metadata), loras.find_aliases(metadata)
        return AddOn(item, width, "", stamp, aliases, tuple(_bundled(item, tensors, stamp)))
    except ModelError as error:
        return AddOn(item, 0, error.message, stamp)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return AddOn(item, 0, "it is broken: get the file again.", stamp)


def _bundled(
    item: Item, tensors: Mapping[str, Mapping[str, Any]], stamp: tuple[int, int]
) -> Iterator[AddOn]:
    """Tell what the textual inversions in a LoRA's file fit, each by its own name."""
    for name, own in embeddings.bundled(tensors).items():
        word = replace(item, kind=EMBEDDING, name=name)
        try:
            yield AddOn(word, embeddings.find_width(own), "", stamp)
        except ModelError as error:
            yield AddOn(word, 0, error.message, stamp)
