"""A picture in memory that capture can read: layers of RGBA8 rows over each other, no blending."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from velatura.krita_plugin.canvas import Limits
from velatura.protocol.region import Rect, Size

CLEAR, WHITE, RED = bytes(4), b"\xff\xff\xff\xff", b"\xff\x00\x00\xff"


@dataclass
class Sheet:
    """One layer: one colour in ``bounds`` (x, y, width, height)."""

    id: str
    bounds: tuple[int, int, int, int]
    colour: bytes = RED
    name: str = "layer"
    type: str = "paintlayer"
    parent: str | None = None
    visible: bool = True

    @property
    def is_picture(self) -> bool:
        return not self.type.endswith("mask")

    def pixel(self, x: int, y: int) -> bytes:
        left, top, width, height = self.bounds
        return self.colour if left <= x < left + width and top <= y < top + height else CLEAR


@dataclass
class Easel:
    width: int
    height: int
    sheets: list[Sheet] = field(default_factory=list)
    selection: tuple[Rect, int] | None = None
    active_layer: str | None = None
    lines_read: int = 0

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def layers(self) -> list[Sheet]:
        return self.sheets

    def selection_bounds(self) -> Rect | None:
        return None if self.selection is None else self.selection[0]

    def read_projection(self, rect: Rect) -> bytes:
        self.lines_read += 1
        shown = [sheet for sheet in reversed(self.sheets) if sheet.visible and sheet.is_picture]
        return b"".join(
            next((p for sheet in shown if (p := sheet.pixel(x, y)) != CLEAR), CLEAR)
            for y in range(rect.y, rect.bottom)
            for x in range(rect.x, rect.right)
        )

    def read_layer(self, layer: str, rect: Rect) -> bytes:
        sheet = next(sheet for sheet in self.sheets if sheet.id == layer)
        return b"".join(
            sheet.pixel(x, y) for y in range(rect.y, rect.bottom) for x in range(rect.x, rect.right)
        )

    def limits(self) -> Limits:
        return Limits()

    def has_transparency(self, layer: str) -> bool:
        sheet = next(sheet for sheet in self.sheets if sheet.id == layer)
        return any(not sheet.pixel(x, y)[3] for y in range(self.height) for x in range(self.width))

    @contextmanager
    def without(self, layers: Collection[str], rect: Rect | None = None) -> Iterator[Easel]:
        yield replace(self, sheets=[s for s in self.sheets if s.id not in layers])

    def read_selection(self, rect: Rect) -> bytes | None:
        if self.selection is None:
            return None
        area, value = self.selection
        return bytes(
            value if area.x <= x < area.right and area.y <= y < area.bottom else 0
            for y in range(rect.y, rect.bottom)
            for x in range(rect.x, rect.right)
        )
