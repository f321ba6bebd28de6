"""The history's entries: which are found, and which go when there are too many. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

Key = tuple[str, int]
"""(job, variant): one finished picture."""


@dataclass(frozen=True)
class Entry:
    """One picture of the history. at: seconds since 1970. size: bytes in the file.

    kept: it is, or was, a layer too.
    """

    key: Key
    title: str
    prompt: str
    at: float
    size: int
    favourite: bool = False
    kept: bool = False


def to_evict(entries: Collection[Entry], most_bytes: int) -> list[Key]:
    """Which go when all together are larger: what also is a layer first, then the oldest.

    Favourites never go, even if they alone are too large.
    """
    over = sum(entry.size for entry in entries) - most_bytes
    gone = []
    for entry in sorted(entries, key=lambda entry: (not entry.kept, entry.at)):
        if over <= 0:
            break
        if not entry.favourite:
            gone.append(entry.key)
            over -= entry.size
    return gone


def search(entries: Sequence[Entry], words: str, *, favourites: bool = False) -> list[Entry]:
    """Those whose prompt or title has every word, in any case and order."""
    wanted = words.casefold().split()
    return [
        entry
        for entry in entries
        if (entry.favourite or not favourites)
        and all(word in f"{entry.prompt} {entry.title}".casefold() for word in wanted)
    ]
