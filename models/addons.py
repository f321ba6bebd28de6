"""List LoRAs and textual inversions: which models each one fits, told from its header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from velatura.models import embeddings, loras
from velatura.models.addon import AddOn
from velatura.models.addon_names import AddOns
from velatura.models.errors import ModelError
from velatura.models.guard import reading
from velatura.models.items import Item
from velatura.models.places import EMBEDDING
from velatura.models.weights import FileStamp, read_header, stamp_of
from velatura.protocol.messages import AddOnInfo


class AddOnReader:
    """Reads each file's header once for as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, FileStamp], AddOn] = {}

    def read(self, items: Iterable[Item]) -> AddOns:
        """Read what ``items``, of the two kinds, are; with its reason what cannot be used."""
        known: dict[tuple[str, FileStamp], AddOn] = {}
        for item in items:
            try:
                stamp = stamp_of(item.path)
            except OSError:
                continue
            key = (item.kind, stamp)
            before = self._known.get(key)
            same = before is not None and before.item == item
            known[key] = before if before and same else _look(item, stamp)
        self._known = known
        return AddOns(known.values())


def _look(item: Item, stamp: FileStamp) -> AddOn:
    """Tell from its header what one file fits, or why it cannot be used."""
    try:
        with reading():
            if item.reason:
                raise ModelError("unsupported", item.reason)
            if not item.path.is_file():
                raise ModelError("unsupported", "it is a folder: put the file itself there.")
            header = read_header(item.path)
            tensors, metadata = header.tensors, header.metadata
            if item.kind == EMBEDDING:
                width, aliases = embeddings.find_width(tensors), embeddings.find_aliases(tensors)
                _check(item, width)
                return AddOn(item, width, "", stamp, aliases)
            width, aliases = loras.find_width(tensors, metadata), loras.find_aliases(metadata)
            _check(item, width)
            return AddOn(item, width, "", stamp, aliases, tuple(_bundled(item, tensors, stamp)))
    except ModelError as error:
        return AddOn(item, 0, error.message, stamp)


def _check(item: Item, width: int) -> None:
    """Check that the catalogue can say it. Raises LocalError."""
    AddOnInfo(kind=item.kind, name=item.name, family="any", text_width=width)


def _bundled(
    item: Item, tensors: Mapping[str, Mapping[str, Any]], stamp: FileStamp
) -> Iterator[AddOn]:
    """Tell what the textual inversions in a LoRA's file fit, each by its own name."""
    for name, own in embeddings.bundled(tensors).items():
        word = replace(item, kind=EMBEDDING, name=name)
        try:
            with reading():
                width = embeddings.find_width(own)
                _check(word, width)
            yield AddOn(word, width, "", stamp)
        except ModelError as error:
            yield AddOn(word, 0, error.message, stamp)
