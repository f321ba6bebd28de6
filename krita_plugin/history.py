"""What a document remembers of its finished pictures: in the .kra, searchable, capped by size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .document import Document
from .entries import Entry, Key, to_evict
from .finished import Finished, of_record, to_record

MOST_BYTES = 64 << 20
_PREFIX = "past/"
_RECORD, _PARTS = "record", ("picture", "thumbnail", "recipe")


# --- with the document -----------------------------------------------------------------------------


def entries(document: Document) -> list[Entry]:
    """The newest first."""
    suffix = "/" + _RECORD
    found = []
    for name in document.annotation_keys():
        if name.startswith(_PREFIX) and name.endswith(suffix):
            entry = _entry(name[len(_PREFIX) : -len(suffix)], document.get_bytes(name))
            if entry is not None:
                found.append(entry)
    return sorted(found, key=lambda entry: (-entry.at, entry.key[1]))


def has(document: Document, key: Key) -> bool:
    return bool(document.get_bytes(_name(key, _RECORD)))


def store(document: Document, finished: Finished, at: float, most_bytes: int = MOST_BYTES) -> None:
    """Remember a picture; older ones may have to go."""
    record = to_record(finished, at)
    _write(document, finished.key, record)
    document.set_bytes(_name(finished.key, "picture"), finished.png)
    document.set_bytes(_name(finished.key, "thumbnail"), finished.thumbnail)
    document.set_bytes(_name(finished.key, "recipe"), finished.recipe)
    for key in to_evict(entries(document), most_bytes):
        if key != finished.key:
            remove(document, key)


def thumbnail(document: Document, key: Key) -> bytes:
    """A PNG."""
    return document.get_bytes(_name(key, "thumbnail"))


@dataclass(frozen=True)
class Stored:
    """What ``open_stored`` needs, read from the document; no pixels are decoded yet."""

    key: Key
    record: dict[str, Any]
    png: bytes
    thumbnail: bytes
    recipe: bytes


def read(document: Document, key: Key) -> Stored | None:
    record = _record(document.get_bytes(_name(key, _RECORD)))
    if record is None:
        return None
    png, small, made = (document.get_bytes(_name(key, part)) for part in _PARTS)
    return Stored(key, record, png, small, made)


def open_stored(stored: Stored) -> Finished | None:
    """Decode it, on any thread; None for what is damaged."""
    return of_record(stored.key, stored.record, stored.png, stored.thumbnail, stored.recipe)


def mark(
    document: Document, key: Key, *, favourite: bool | None = None, kept: bool | None = None
) -> None:
    record = _record(document.get_bytes(_name(key, _RECORD)))
    if record is not None:
        changes = {"favourite": favourite, "kept": kept}
        new = {**record, **{name: value for name, value in changes.items() if value is not None}}
        if new != record:
            _write(document, key, new)


def remove(document: Document, key: Key) -> None:
    for part in (_RECORD, *_PARTS):
        document.remove_annotation(_name(key, part))


def remove_all(document: Document) -> None:
    for name in document.annotation_keys():
        if name.startswith(_PREFIX):
            document.remove_annotation(name)


# --- inside ----------------------------------------------------------------------------------------


def _name(key: Key, part: str) -> str:
    job, variant = key
    return f"{_PREFIX}{job}.{variant}/{part}"


def _write(document: Document, key: Key, record: dict[str, Any]) -> None:
    document.set_bytes(_name(key, _RECORD), json.dumps(record, ensure_ascii=False).encode())


def _record(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _entry(name: str, data: bytes) -> Entry | None:
    """None for a record of another hand."""
    record = _record(data)
    if record is None:
        return None
    job, _, variant = name.rpartition(".")
    try:
        return Entry(
            key=(job, int(variant)),
            title=str(record["title"]),
            prompt=str(record["prompt"]),
            at=float(record["at"]),
            size=int(record["size"]),
            favourite=bool(record.get("favourite")),
            kept=bool(record.get("kept")),
        )
    except (KeyError, TypeError, ValueError):
        return None
