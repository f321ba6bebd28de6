"""Choose the parts of a picture for which passes of a UNet are prepared. Arithmetic alone."""

from __future__ import annotations

from velatura.models.families.unet.parts import FACTOR
from velatura.protocol.region import Rect
from velatura.server.worker.live.plan import WORTH_IT, up

# Sides of the parts for which passes are prepared, of the whole's, in multiples of so many cells: those
# of a UNet's deepest level.
_PREPARED = (1 / 4, 3 / 8, 1 / 2, 3 / 4)
_EVEN = 8
# Model pixels, of the pictures that such passes paint.
EVEN_PIXELS = _EVEN * FACTOR


def part_sizes(whole: Rect) -> list[tuple[int, int]]:
    """(width, height) in cells, rising: the parts of ``whole`` for which passes are prepared."""
    sizes = {
        (up(round(part * whole.width), _EVEN), up(round(part * whole.height), _EVEN))
        for part in _PREPARED
    }
    return sorted(
        size for size in sizes if size[0] * size[1] < WORTH_IT * whole.width * whole.height
    )


def prepared_around(cells: Rect, whole: Rect) -> Rect:
    """The smallest part of ``part_sizes`` that holds ``cells``, about its middle, or ``whole``.

    Where the sides of ``whole`` are multiples of _EVEN so are a part's and its place.
    """

    def along(low: int, high: int, side: int, most: int) -> int | None:
        first = max(0, up(high - side, _EVEN))
        last = min(low, most - side) // _EVEN * _EVEN
        middle = round((low + high - side) / (2 * _EVEN)) * _EVEN
        return min(max(first, middle), last) if first <= last else None

    for width, height in part_sizes(whole):
        x = along(cells.x, cells.right, width, whole.width)
        y = along(cells.y, cells.bottom, height, whole.height)
        if x is not None and y is not None:
            return Rect(x, y, width, height)
    return whole


def times(rect: Rect, factor: int) -> Rect:
    return Rect(*(factor * side for side in (rect.x, rect.y, rect.width, rect.height)))
