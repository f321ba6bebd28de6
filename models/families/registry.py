"""Find the model families that are installed: ours, and those of other packages.

A family is one ``Family`` registered under the entry-point group ``velatura.families``; ours stand in
this project's own pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from velatura.models.families.base import Family

GROUP = "velatura.families"
_OURS = "velatura."


@dataclass(frozen=True)
class Families:
    """The families that can paint, by name, and a sentence for each that cannot."""

    all: tuple[Family, ...]
    refused: tuple[str, ...] = ()


@cache
def families() -> Families:
    """Load every registered family, once in a process."""
    return read_families(entry_points(group=GROUP))


def read_families(registered: Iterable[EntryPoint]) -> Families:
    """Load families from their entry points, ours first and then by name.

    One that does not load, or takes the name of another, is refused and changes nothing.
    """
    known: dict[str, Family] = {}
    refused: list[str] = []
    points = {(point.value, point.name): point for point in registered}.values()
    for point in sorted(points, key=lambda one: (not one.value.startswith(_OURS), one.name)):
        try:
            family = point.load()
        except Exception as error:  # noqa: BLE001  another package's code, whatever it raises
            refused.append(f"Model family {point.name!r} does not load: {error!r:.200}")
            continue
        if not isinstance(family, Family):
            refused.append(f"Model family {point.name!r} is {point.value}, which is no Family.")
        elif family.name in known:
            refused.append(
                f"Model family {point.name!r} of {point.value} has the name {family.name!r}, which "
                "another one has: remove one of the two packages."
            )
        else:
            known[family.name] = family
    return Families(tuple(known.values()), tuple(refused))
