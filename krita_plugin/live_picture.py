"""The polished picture as it stands: results laid on it one after the other, cut to what may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..protocol import messages as m
from ..protocol.region import Rect
from .images import rgba_bytes
from .qt import QtCore, QtGui

_Format = QtGui.QImage.Format
_Mode = QtGui.QPainter.CompositionMode


class LivePicture:
    """Of ``rect`` (canvas pixels). ``masks``: Gray8 of it each, 255 where the picture is seen."""

    def __init__(self, rect: Rect) -> None:
        self.rect = rect
        self.revision = 0
        self.masks: tuple[bytes, ...] = ()
        self._image = QtGui.QImage(rect.width, rect.height, _Format.Format_RGB32)

    @property
    def is_empty(self) -> bool:
        return self.revision == 0

    def lay(self, result: m.LiveResult) -> None:
        """Results come in order; a part lies on what was there."""
        part = result.picture
        data = bytes(part.data)  # Qt reads it where it lies
        image = QtGui.QImage(
            data, part.width, part.height, 4 * part.width, _Format.Format_RGBA8888
        ).convertToFormat(_Format.Format_RGB32)
        if (part.width, part.height) == (self.rect.width, self.rect.height):
            self._image = image
        else:
            painter = QtGui.QPainter(self._image)
            painter.drawImage(QtCore.QPoint(result.x, result.y), image)
            painter.end()
        self.revision = result.revision

    def shown(self) -> Any:
        """A QImage of its own to look at: opaque, or with the masks as its alpha."""
        if not self.masks:
            return self._image.copy()
        image = self._image.convertToFormat(_Format.Format_ARGB32_Premultiplied)
        _cut(image, self.masks)
        return image

    def rgba(self) -> bytes:
        """RGBA8, straight alpha: the layer that Keep makes."""
        if not self.masks:
            return rgba_bytes(self._image)
        alpha = QtGui.QImage(self._image.size(), _Format.Format_ARGB32_Premultiplied)
        alpha.fill(QtCore.Qt.GlobalColor.white)
        _cut(alpha, self.masks)
        # Not by QImage.setAlphaChannel: it premultiplies, and colours lose bits where alpha is low.
        pixels = bytearray(rgba_bytes(self._image))
        pixels[3::4] = rgba_bytes(alpha)[3::4]
        return bytes(pixels)


def _cut(image: Any, masks: Sequence[bytes]) -> None:
    """Multiply the image's alpha with each mask."""
    width, height = image.width(), image.height()
    painter = QtGui.QPainter(image)
    painter.setCompositionMode(_Mode.CompositionMode_DestinationIn)
    for mask in masks:
        alpha = QtGui.QImage(mask, width, height, width, _Format.Format_Alpha8)
        painter.drawImage(0, 0, alpha)
    painter.end()
