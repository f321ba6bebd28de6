"""Rectangles of cells: which of each level of a net lie in one of its latents. Arithmetic alone."""

from __future__ import annotations

from velatura.protocol.region import Rect

# Layers' sizes are those of what a net is given, doubled (where it makes pixels, or looks at them
# beside latents) or halved so often.
LEVELS = range(-3, 6)


def in_level(rect: Rect, level: int) -> Rect:
    """The cells of that level that ``rect`` of the latents is in."""
    if level < 0:
        k = 1 << -level
        return Rect(rect.x * k, rect.y * k, rect.width * k, rect.height * k)
    x, y = rect.x >> level, rect.y >> level
    right, bottom = -(-rect.right >> level), -(-rect.bottom >> level)
    return Rect(x, y, right - x, bottom - y)


def shifted(rect: Rect, by: int, whole: Rect) -> Rect:
    """As ``grown``, but as large at a border as anywhere, where ``whole`` is large enough."""

    def along(low: int, side: int, most: int) -> tuple[int, int]:
        size = min(side + 2 * by, most)
        return min(max(0, low - by), most - size), size

    x, width = along(rect.x, rect.width, whole.width)
    y, height = along(rect.y, rect.height, whole.height)
    return Rect(x, y, width, height)
