"""A small picture of what a press would send, before the press."""

from __future__ import annotations

from collections.abc import Callable

from ..protocol.region import Rect
from .canvas import Readable
from .capture import Plan
from .images import gray_image, rgba_image
from .qt import Qt, QtGui

# Up to this many pixels are read whole and scaled smoothly; of more, some lines.
_WHOLE = 1_100_000
# Beyond this, leaving visible layers out (a copy of the document) would be felt at each stroke.
_COPIED = 4_200_000
_FORMAT = QtGui.QImage.Format
# How dark it is where nothing is selected, 0..255.
_SHADE = 150


def picture(document: Readable, plan: Plan, side: int) -> QtGui.QImage:
    """The region at most ``side`` pixels long (RGBA), darker where nothing is selected.

    Transparent where the model is to invent, as around a picture that is expanded.
    """
    region = plan.region
    scale = min(1.0, side / max(region.width, region.height))
    width, height = max(1, round(region.width * scale)), max(1, round(region.height * scale))
    shown = QtGui.QImage(width, height, _FORMAT.Format_RGBA8888)
    shown.fill(Qt.GlobalColor.transparent)
    inner = region if plan.painted is None else region.intersection(plan.painted)
    if inner is None:
        return shown
    painter = QtGui.QPainter(shown)
    at = _scaled(inner, region, scale)
    painter.drawImage(at.x, at.y, _colours(document, plan, inner, at))
    if plan.selected:
        painter.drawImage(0, 0, _shade(document, plan, width, height))
    painter.end()
    return shown


def _scaled(inner: Rect, region: Rect, scale: float) -> Rect:
    x, y = round((inner.x - region.x) * scale), round((inner.y - region.y) * scale)
    right = max(x + 1, round((inner.right - region.x) * scale))
    bottom = max(y + 1, round((inner.bottom - region.y) * scale))
    return Rect(x, y, right - x, bottom - y)


def _colours(document: Readable, plan: Plan, inner: Rect, at: Rect) -> QtGui.QImage:
    rect = Rect(inner.x + plan.origin[0], inner.y + plan.origin[1], inner.width, inner.height)
    small = rect.width * rect.height <= _WHOLE
    layer = plan.layer
    # Of a layer that is not 8-bit sRGB every read costs a few ms: none by lines.
    if layer is not None and small:
        return _read(lambda part: document.read_layer(layer, part), rect, at, 4)
    size = document.size
    if plan.left_out and size.width * size.height <= _COPIED:
        with document.without(plan.left_out, rect) as rest:
            return _read(rest.read_projection, rect, at, 4)
    return _read(document.read_projection, rect, at, 4)


def _shade(document: Readable, plan: Plan, width: int, height: int) -> QtGui.QImage:
    """Dark where nothing is selected, clear where all is."""

    def read(part: Rect) -> bytes:
        return document.read_selection(part) or bytes(part.width * part.height)

    selected = _read(read, plan.read, Rect(0, 0, width, height), 1)
    selected.invertPixels()
    shade = QtGui.QImage(width, height, _FORMAT.Format_ARGB32_Premultiplied)
    shade.fill(Qt.GlobalColor.black)
    shade.setAlphaChannel(_times(selected, _SHADE))
    return shade


def _times(gray: QtGui.QImage, most: int) -> QtGui.QImage:
    """Gray8 scaled so that 255 becomes ``most``."""
    made = QtGui.QImage(gray.width(), gray.height(), _FORMAT.Format_Grayscale8)
    made.fill(0)
    painter = QtGui.QPainter(made)
    painter.setOpacity(most / 255)
    painter.drawImage(0, 0, gray)
    painter.end()
    return made


def _read(read: Callable[[Rect], bytes], rect: Rect, at: Rect, depth: int) -> QtGui.QImage:
    """``rect`` scaled to the size of ``at``. depth: bytes of a pixel, 4 or 1."""
    image = rgba_image if depth == 4 else gray_image
    if rect.width * rect.height <= _WHOLE:
        return image(read(rect), rect.width, rect.height).scaled(
            at.width,
            at.height,
            Qt.AspectRatioMode.IgnoreAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
    rows = []
    for i in range(at.height):
        y = rect.y + (2 * i + 1) * rect.height // (2 * at.height)
        line = memoryview(read(Rect(rect.x, y, rect.width, 1))).cast("I" if depth == 4 else "B")
        step = rect.width / at.width
        rows.append(line[int(step / 2) :: max(1, int(step))][: at.width].tobytes())
    width = min(len(row) for row in rows) // depth
    data = b"".join(row[: width * depth] for row in rows)
    return image(data, width, at.height).scaled(at.width, at.height)
