"""What a document would look like with a picture kept, tried on a copy of it that nobody sees.

Blending, opacity, clipping, the layers above and the document's own colours: all of it is Krita's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ..protocol.region import Rect
from . import writing
from .images import rgba_bytes
from .nodes import cloned, id_of, stack
from .qt import QtCore, QtGui

# Canvas pixels around what is tried, for layers that blur.
_AROUND = 64
_SHOWN = bytes([0]) + b"\xff" * 255
_Format = QtGui.QImage.Format


class Trial:
    """A layer that may be repainted, in a copy of the part of a document that ``rect`` (canvas
    pixels) needs. Opening takes Krita some 80 ms at 1024 x 1024, each look 20 ms. ``close`` it."""

    def __init__(
        self, handle: Any, rect: Rect, place: writing.Place, hides: Collection[str]
    ) -> None:
        self.rect = rect
        left, top = max(0, rect.x - _AROUND), max(0, rect.y - _AROUND)
        right = min(handle.width(), rect.right + _AROUND)
        bottom = min(handle.height(), rect.bottom + _AROUND)
        self._inner = replace(rect, x=rect.x - left, y=rect.y - top)
        with contextlib.ExitStack() as ends:
            self._copy = ends.enter_context(cloned(handle))
            self._prepare(Rect(left, top, right - left, bottom - top), place, hides)
            self._end = ends.pop_all()

    def _prepare(self, part: Rect, place: writing.Place, hides: Collection[str]) -> None:
        self._copy.resizeImage(part.x, part.y, part.width, part.height)
        self._copy.waitForDone()
        rect = self.rect
        empty = writing.Sheet("trial", self._inner, bytes(4 * rect.width * rect.height))
        (layer,) = writing.insert(self._copy, [empty], place)
        for node in stack(self._copy):
            if id_of(node) in hides and node.visible():
                node.setVisible(False)
        self._layer = next(node for node in stack(self._copy) if id_of(node) == layer)

    def look(self, image: QtGui.QImage) -> QtGui.QImage:
        """``image`` (RGBA of the size of ``rect``) as it would be seen, where it has alpha."""
        at, copy = self._inner, self._copy
        rgba = rgba_bytes(image)
        sheet = writing.sheet("trial", at, rgba, "U8")
        space = copy.colorModel(), copy.colorDepth(), copy.colorProfile()
        writing.repaint(copy, self._layer, sheet, space)
        copy.refreshProjection()
        copy.waitForDone()
        seen = copy.projection(at.x, at.y, at.width, at.height)
        seen = seen.convertToFormat(_Format.Format_ARGB32_Premultiplied)
        covered = rgba[3::4].translate(_SHOWN)
        mask = QtGui.QImage(covered, at.width, at.height, at.width, _Format.Format_Alpha8)
        painter = QtGui.QPainter(seen)
        painter.setCompositionMode(QtGui.QPainter.CompositionMode.CompositionMode_DestinationIn)
        painter.drawImage(QtCore.QPoint(0, 0), mask)
        painter.end()
        return seen

    def close(self) -> None:
        self._end.close()
