"""One finished picture: what the strip shows, what a layer is made of, what the history keeps.

Everything here is pure and may run on any thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..protocol import messages as m
from ..protocol.region import Rect, Size
from .entries import Key
from .images import png_bytes, rgba_bytes, rgba_image
from .qt import Qt, QtGui
from .recipe import Recipe, to_json

THUMBNAIL = 96
_SHOWN = bytes([0]) + b"\xff" * 255


@dataclass(frozen=True)
class Finished:
    """rect: where the layer lies (canvas pixels); image: its RGBA8888 pixels, no colour where it is
    transparent. around: the larger part that was painted; png holds it, with the layer's alpha.

    thumbnail: a PNG. recipe: JSON of a recipe.Recipe, b"" for a picture of an earlier start.
    """

    key: Key
    title: str
    prompt: str
    canvas: Size | None
    rect: Rect
    image: QtGui.QImage
    around: Rect
    png: bytes
    thumbnail: bytes
    recipe: bytes = b""
    favourite: bool = False


def of_result(
    result: m.Result,
    title: str,
    *,
    prompt: str = "",
    canvas: Size | None = None,
    made: Recipe | None = None,
) -> Finished:
    """Some 0.2 s of work at 1024 x 1024."""
    picture = result.picture
    around = Rect(result.x, result.y, picture.width, picture.height)
    data = bytes(picture.data)
    rect, image = _layer(around, data)
    return Finished(
        key=(result.job, result.variant),
        title=title,
        prompt=prompt,
        canvas=canvas,
        rect=rect,
        image=image,
        around=around,
        png=png_bytes(rgba_image(data, around.width, around.height)),
        thumbnail=png_bytes(_thumbnail(image)),
        recipe=b"" if made is None else json.dumps(to_json(made), ensure_ascii=False).encode(),
    )


# --- what the history keeps ------------------------------------------------------------------------


def to_record(finished: Finished, at: float) -> dict[str, Any]:
    """All but the pictures, as JSON. at: seconds since 1970."""
    canvas, around = finished.canvas, finished.around
    return {
        "title": finished.title,
        "prompt": finished.prompt,
        "at": at,
        "size": len(finished.png) + len(finished.thumbnail) + len(finished.recipe),
        "favourite": finished.favourite,
        "canvas": None if canvas is None else [canvas.width, canvas.height],
        "around": [around.x, around.y, around.width, around.height],
    }


def of_record(
    key: Key, record: Mapping[str, Any], png: bytes, thumbnail: bytes, made: bytes
) -> Finished | None:
    """Back from ``to_record``; None for what is damaged."""
    try:
        around = Rect(*map(int, record["around"]))
        canvas = record["canvas"]
        image = QtGui.QImage.fromData(png, "PNG")
        if (image.width(), image.height()) != (around.width, around.height):
            return None
        rect, layer = _layer(around, rgba_bytes(image))
        return Finished(
            key=key,
            title=str(record["title"]),
            prompt=str(record["prompt"]),
            canvas=None if canvas is None else Size(*map(int, canvas)),
            rect=rect,
            image=layer,
            around=around,
            png=png,
            thumbnail=thumbnail,
            recipe=made,
            favourite=bool(record["favourite"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


# --- pixels ----------------------------------------------------------------------------------------


def _layer(around: Rect, rgba: bytes) -> tuple[Rect, QtGui.QImage]:
    """The part of ``rgba`` that is not transparent, with colours only where it is opaque."""
    inner = opaque_bounds(rgba, around.width, around.height)
    pitch, left, length = 4 * around.width, 4 * inner.x, 4 * inner.width
    rows = [
        _only_opaque(rgba[y * pitch + left : y * pitch + left + length])
        for y in range(inner.y, inner.bottom)
    ]
    rect = Rect(around.x + inner.x, around.y + inner.y, inner.width, inner.height)
    return rect, rgba_image(b"".join(rows), inner.width, inner.height)


def opaque_bounds(rgba: bytes, width: int, height: int) -> Rect:
    """The smallest rectangle that holds every pixel with alpha; one pixel if there is none."""
    alpha = rgba[3::4]
    start = len(alpha) - len(alpha.lstrip(b"\0"))
    if start == len(alpha):
        return Rect(0, 0, 1, 1)
    top, bottom = start // width, (len(alpha.rstrip(b"\0")) - 1) // width + 1
    left, right = width, 0
    for y in range(top, bottom):
        line = alpha[y * width : (y + 1) * width]
        painted = len(line.rstrip(b"\0"))
        if painted:
            left, right = min(left, width - len(line.lstrip(b"\0"))), max(right, painted)
    return Rect(left, top, right - left, bottom - top)


def _only_opaque(line: bytes) -> bytes:
    """RGBA8 pixels; colour becomes 0 where alpha is."""
    alpha = line[3::4]
    if 0 not in alpha:
        return line
    mask = bytearray(len(line))
    mask[0::4] = mask[1::4] = mask[2::4] = mask[3::4] = alpha.translate(_SHOWN)
    kept = int.from_bytes(line, "little") & int.from_bytes(mask, "little")
    return kept.to_bytes(len(line), "little")


def opaque_with_mask(finished: Finished) -> tuple[bytes, bytes]:
    """All that was painted around, opaque (RGBA8), and the layer's alpha as a mask (Gray8)."""
    data = bytearray(rgba_bytes(QtGui.QImage.fromData(finished.png, "PNG")))
    mask = bytes(data[3::4])
    data[3::4] = b"\xff" * len(mask)
    return bytes(data), mask


def scaled(picture: Finished, size: Size) -> Finished:
    """The picture as it is when its canvas, which it must know, is scaled to ``size``."""
    if picture.canvas is None:
        return picture
    across, down = size.width / picture.canvas.width, size.height / picture.canvas.height

    def moved(rect: Rect) -> Rect:
        left, top = round(rect.x * across), round(rect.y * down)
        right, bottom = round(rect.right * across), round(rect.bottom * down)
        return Rect(left, top, max(1, right - left), max(1, bottom - top))

    def stretched(image: QtGui.QImage, rect: Rect) -> QtGui.QImage:
        ratio, smooth = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode
        return image.scaled(rect.width, rect.height, ratio, smooth.SmoothTransformation)

    rect, around = moved(picture.rect), moved(picture.around)
    whole = stretched(QtGui.QImage.fromData(picture.png, "PNG"), around)
    return replace(
        picture,
        canvas=size,
        rect=rect,
        image=stretched(picture.image, rect),
        around=around,
        png=png_bytes(whole),
    )


@dataclass(frozen=True)
class Outline:
    """The alpha of what is painted over, one byte for each pixel of ``region`` (canvas pixels)."""

    region: Rect
    alpha: bytes


def unclipped(alpha: bytes, rect: Rect, outline: Outline) -> bytes:
    """How much of each pixel of ``rect`` is painted, 0..255, from ``alpha``, which is that much of the
    outline's. A layer of the result that Krita clips to the outline has ``alpha`` again."""
    region, made = outline.region, bytearray(alpha)
    for y in range(rect.height):
        start = (y + rect.y - region.y) * region.width + rect.x - region.x
        limit = outline.alpha[start : start + rect.width]
        line = alpha[y * rect.width : (y + 1) * rect.width]
        if line.count(0) == len(line) or limit.count(255) == len(limit):
            continue
        made[y * rect.width : (y + 1) * rect.width] = bytes(
            min(255, (255 * a + of // 2) // of) if of else 0
            for a, of in zip(line, limit, strict=True)
        )
    return bytes(made)


def _thumbnail(image: QtGui.QImage) -> QtGui.QImage:
    return image.scaled(
        THUMBNAIL,
        THUMBNAIL,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
