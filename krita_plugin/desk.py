"""What lies on the docker for one picture: kept with the document, and changed with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .state import Guide

KEY = "desk"


@dataclass(frozen=True)
class Desk:
    """The fields that belong to the picture, not to the painter's habits.

    leave_out: ids of layers.
    """

    prompt: str = ""
    negative: str = ""
    guides: tuple[Guide, ...] = ()
    leave_out: tuple[str, ...] = ()


def to_json(desk: Desk) -> dict[str, Any]:
    return asdict(desk)


def from_json(value: Any) -> Desk:
    """What is missing or from another hand takes its first value."""
    value = value if isinstance(value, dict) else {}
    return Desk(
        prompt=_text(value.get("prompt")),
        negative=_text(value.get("negative")),
        guides=tuple(
            guide for guide in map(_guide, _several(value.get("guides"))) if guide is not None
        ),
        leave_out=tuple(x for x in _several(value.get("leave_out")) if isinstance(x, str)),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _guide(value: Any) -> Guide | None:
    try:
        guide = Guide(**value)
    except TypeError:
        return None
    numbers = (guide.influence, guide.start, guide.end)
    sane = isinstance(guide.kind, str) and isinstance(guide.layer, str)
    return guide if sane and all(isinstance(n, int) and 0 <= n <= 200 for n in numbers) else None
