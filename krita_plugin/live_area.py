"""Which part of a picture is painted live: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..protocol import messages as m
from ..protocol.region import Rect, Size, context_region
from .state import LAYER, VISIBLE

SIDES = (256, 512, 768, 1024)
FIRST_STRENGTH = 40


@dataclass(frozen=True)
class LiveChoice:
    """What the painter chose for live painting; prompt, model and guides are the docker's own.

    strength, opacity: percent. side: canvas pixels, the longest side of a frame that follows the
    view or is pinned. seed: always the same one, so that a picture changes where the canvas does.
    steps: all of them run.
    """

    strength: int = FIRST_STRENGTH
    paint_from: str = VISIBLE
    follow: bool = True
    side: int = 512
    seed: int = 1
    steps: int = 4
    opacity: int = 100

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Any) -> LiveChoice:
        """Every field that is missing or out of range takes its first value."""
        value = value if isinstance(value, Mapping) else {}
        first = cls()

        def number(name: str, low: int, high: int) -> int:
            found = value.get(name)
            fits = isinstance(found, int) and low <= found <= high
            return found if fits else getattr(first, name)

        return cls(
            strength=number("strength", 1, 100),
            paint_from=LAYER if value.get("paint_from") == LAYER else VISIBLE,
            follow=value.get("follow") is not False,
            side=value["side"] if value.get("side") in SIDES else first.side,
            seed=number("seed", 0, m.LARGEST_SEED),
            steps=number("steps", 1, m.MOST_STEPS),
            opacity=number("opacity", 0, 100),
        )


class Scope:
    """The selection; else a pinned frame; else one that follows the view.

    When the selection is lost, nothing takes its place until the painter says so. ``lost`` is True
    then. A frame follows once the view stands still: each new one has to be painted anew.
    """

    def __init__(self) -> None:
        self.pinned: Rect | None = None
        self.lost = False
        self._selected = False
        self._seen: Rect | None = None
        self._frame: Rect | None = None

    def go_on(self) -> None:
        """The painter wants to go on without a selection."""
        self.lost = self._selected = False

    def area(
        self,
        canvas: Size,
        selection: Rect | None,
        visible: Rect | None,
        choice: LiveChoice,
        native: int,
        most_pixels: int,
    ) -> Rect | None:
        """The part of ``canvas`` to paint, or None. visible: the part of it that is seen."""
        if selection is not None:
            self._selected, self.lost = True, False
            strength = choice.strength / 100
            return around(canvas, selection, strength, native, most_pixels)
        if self._selected:
            self.lost = True
            return None
        whole = Rect(0, 0, canvas.width, canvas.height)
        if self.pinned is not None:
            return whole.intersection(self.pinned)
        if not choice.follow or visible is None:
            return None
        moving, self._seen = visible != self._seen, visible
        if not moving or self._frame is None:
            self._frame = framed(visible, choice.side)
        # Enlarged or cropped since.
        return whole.intersection(self._frame)


def around(canvas: Size, selection: Rect, strength: float, native: int, most_pixels: int) -> Rect:
    """The selection with as much of its surroundings as the limit allows."""
    for context in ("auto", "tight"):
        region = context_region(canvas, selection, strength, native, context)
        if region.width * region.height <= most_pixels:
            return region
    return selection


def framed(visible: Rect, side: int) -> Rect:
    """The middle of what is seen, at most ``side`` pixels wide and high."""
    width, height = min(side, visible.width), min(side, visible.height)
    return Rect(
        visible.x + (visible.width - width) // 2,
        visible.y + (visible.height - height) // 2,
        width,
        height,
    )
