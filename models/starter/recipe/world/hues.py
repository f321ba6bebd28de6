"""The hues behind the colour names: far enough apart to be told in any light and style."""

from __future__ import annotations

_HUES = {
    "red": (206, 44, 40),
    "blue": (44, 92, 200),
    "green": (54, 142, 66),
    "yellow": (246, 206, 48),
    "orange": (240, 128, 30),
    "purple": (136, 66, 172),
    "white": (244, 242, 236),
}


def hue(name: str | None) -> tuple[int, int, int]:
    """sRGB 0..255 of a colour name."""
    return _HUES[name]
