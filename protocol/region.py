"""The geometry both sides must agree on: which part of the canvas is sent for a job.

All rectangles are in canvas pixels, half-open: x..x+width, y..y+height.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .fields import check_record, integer
from .pixels import LARGEST_SIDE

CONTEXTS: tuple[str, ...] = ("auto", "tight", "wide", "whole")
# Context on each side as a part of the selection's longer side. A model that paints from nothing
# needs to see more around the hole than one that refines what is there.
_PADDING = {"tight": (0.10, 0.10), "auto": (0.25, 0.50), "wide": (1.0, 1.0), "close": (0.10, 0.10)}
_LEAST_PADDING = 16
# Around what a second pass works over; no choice of the painter's.
_CLOSE = "close"
# Beyond this ratio of sides, models repeat the subject.
_LONGEST_RATIO = 2.0
# A region this close to the size that the model paints best is not resampled: pixels that were
# never resampled are sharper than what the last few percent of size would gain.
_CLOSE_ENOUGH = 1.15
# A second pass must be this much finer than the first to be worth its time.
_WORTH_A_PASS = 1.25
# Below this strength the composition is that of the source: it needs no pass of its own.
_COMPOSES_FROM = 0.5


@dataclass(frozen=True)
class Size:
    width: int = integer(1, LARGEST_SIDE)
    height: int = integer(1, LARGEST_SIDE)

    def __post_init__(self) -> None:
        check_record(self)


@dataclass(frozen=True)
class Rect:
    x: int = integer(-LARGEST_SIDE, LARGEST_SIDE)
    y: int = integer(-LARGEST_SIDE, LARGEST_SIDE)
    width: int = integer(1, LARGEST_SIDE)
    height: int = integer(1, LARGEST_SIDE)

    def __post_init__(self) -> None:
        check_record(self)

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def contains(self, other: Rect) -> bool:
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def intersection(self, other: Rect) -> Rect | None:
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Rect(x, y, right - x, bottom - y) if right > x and bottom > y else None


def mask_growth(width: int, height: int) -> tuple[int, int]:
    """(grow, feather) in canvas pixels for the denoise mask of a selection of this size.

    The model may repaint this far beyond the selection so that the blend inside it meets pixels
    that already fit; the layer's alpha never does (see server/worker/job/masks.py).
    """
    shorter = min(width, height)
    grow = max(4, min(48, round(0.04 * shorter)))
    return grow, grow


def _extend(start: int, length: int, wanted: int, limit: int) -> tuple[int, int]:
    """Lengthen start..start+length to ``wanted`` about its centre, inside 0..limit."""
    length_new = min(max(length, wanted), limit)
    start_new = start - (length_new - length) // 2
    return max(0, min(start_new, limit - length_new)), length_new


def context_region(
    canvas: Size,
    selection: Rect | None,
    strength: float,
    native: int,
    context: str = "auto",
) -> Rect:
    """Which rectangle of ``canvas`` is sent and seen by the model.

    selection: bounds of the selected pixels, or None for the whole canvas (clipped to it).
    strength: denoising strength 0..1. native: the family's native side in pixels (catalogue).
    context: one of CONTEXTS. The result lies inside the canvas and holds the selection.
    Raises ValueError when the selection lies outside the canvas.
    """
    whole = Rect(0, 0, canvas.width, canvas.height)
    if selection is None or context == "whole":
        return whole
    area = whole.intersection(selection)
    if area is None:
        raise ValueError("The selection lies outside the canvas.")
    refine, fill = _PADDING[context]
    part = refine + (fill - refine) * strength
    grow, feather = mask_growth(area.width, area.height)
    padding = max(_LEAST_PADDING, grow + feather, math.ceil(part * max(area.width, area.height)))
    width, height = area.width + 2 * padding, area.height + 2 * padding
    # A selection smaller than the model's native size gets more context instead of enlargement,
    # unless the painter asked for little.
    if context != "tight":
        width, height = max(width, native), max(height, native)
    width = max(width, math.ceil(height / _LONGEST_RATIO))
    height = max(height, math.ceil(width / _LONGEST_RATIO))
    x, width = _extend(area.x, area.width, width, canvas.width)
    y, height = _extend(area.y, area.height, height, canvas.height)
    return Rect(x, y, width, height)


@dataclass(frozen=True)
class Scales:
    """Model pixels per canvas pixel: of the first pass, and of the second, which works over what the
    first one painted; None where there is one pass only."""

    first: float
    second: float | None

    @property
    def last(self) -> float:
        return self.first if self.second is None else self.second


def paint_scales(
    region: Size, part: Size, native: int, largest: int, strength: float, finest: int
) -> Scales:
    """At which sizes ``region`` is painted; ``part`` is the part of it that a second pass covers.

    strength: denoising strength, 1 for what is made from noise. native, largest: of the catalogue.
    finest: pixels (of the model) of the largest picture that a second pass may have, 0 for none.
    """
    first = _one_pass(region.width, region.height, native, largest, strength)
    covered = region if strength < _COMPOSES_FROM else part
    fine = min(1.0, math.sqrt(finest / (covered.width * covered.height)))
    if first >= 1 or fine < _WORTH_A_PASS * first:
        return Scales(first, None)
    return Scales(fine, None) if strength < _COMPOSES_FROM else Scales(first, fine)


def close_part(region: Size, selection: Rect | None, native: int) -> Rect:
    """The part of ``region`` that a second pass covers, in its pixels: what is around
    ``selection`` (also in them), or all of it."""
    return context_region(region, selection, 0.0, native, _CLOSE)


def most_whole(native: int, largest: int, strength: float) -> float:
    """Pixels of the largest picture that a model paints well at once.

    Invented from noise, a picture has the area of native x native: larger ones repeat their
    subject. The more of the source is kept, the larger it may be, up to ``largest`` a side near
    strength 0.
    """
    return float(native**2 * (largest / native) ** (2 * (1 - strength)))


def _one_pass(width: int, height: int, native: int, largest: int, strength: float) -> float:
    """Model pixels per canvas pixel where the model sees the whole region at once.

    The picture is not larger than the region, and no side is longer than ``largest``.
    """
    area = width * height
    most = most_whole(native, largest, strength)
    wanted = math.sqrt(max(native**2, min(area, most)) / area)
    longest = largest / max(width, height)
    if 1 / _CLOSE_ENOUGH <= wanted <= _CLOSE_ENOUGH and longest >= 1:
        return 1.0
    return min(wanted, longest)


def grown(rect: Rect, by: int, whole: Rect) -> Rect:
    """Grow ``rect`` by ``by`` on every side, inside ``whole``."""
    x, y = max(0, rect.x - by), max(0, rect.y - by)
    right, bottom = min(whole.right, rect.right + by), min(whole.bottom, rect.bottom + by)
    return Rect(x, y, right - x, bottom - y)
