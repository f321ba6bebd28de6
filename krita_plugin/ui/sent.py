"""A thumbnail of what a press would send."""

from __future__ import annotations

from typing import Any

from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from .parts import label, row
from .words import tr

SIDE = 96
_SQUARE = 6
_LIGHT, _DARK = QtGui.QColor(160, 160, 160), QtGui.QColor(110, 110, 110)


class _View(QtWidgets.QWidget):
    """wanted: it is seen, and what it shows is no longer so."""

    wanted = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("sent")
        self.image: QtGui.QImage | None = None
        self._is_stale = False
        # Not while it is drawn; and a timer of its own ends with it.
        self._ask = QtCore.QTimer(self)
        self._ask.setSingleShot(True)
        self._ask.timeout.connect(self.wanted)
        policy = QtWidgets.QSizePolicy.Policy
        self.setSizePolicy(policy.Expanding, policy.Fixed)
        self.setFixedHeight(SIDE)
        self.setMinimumWidth(40)

    def refresh(self) -> None:
        """Ask for another picture when this one is seen: reading the canvas is not free."""
        self._is_stale = True
        self.update()

    def show_image(self, image: QtGui.QImage | None) -> None:
        self.image = image
        self.update()

    def paintEvent(self, event: Any) -> None:
        if self._is_stale:
            self._is_stale = False
            self._ask.start()
        if self.image is None:
            return
        size = self.image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QtCore.QRect(QtCore.QPoint(0, 0), size)
        place.moveTop((self.height() - size.height()) // 2)
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        painter.setClipRect(place)
        painter.fillRect(place, _LIGHT)
        for y in range(place.top(), place.bottom() + 1, _SQUARE):
            for x in range(place.left() + y // _SQUARE % 2 * _SQUARE, place.right(), 2 * _SQUARE):
                painter.fillRect(x, y, _SQUARE, _SQUARE, _DARK)
        painter.drawImage(place, self.image)
        painter.end()


class SentRow(QtWidgets.QWidget):
    """wanted: show a new picture now."""

    wanted = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.view = _View()
        words = label(tr("Sends"))
        words.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.setLayout(row(words, self.view, stretch=1))
        self.view.wanted.connect(self.wanted)

    def refresh(self) -> None:
        self.view.refresh()

    def show_picture(self, image: QtGui.QImage | None, width: int = 0, height: int = 0) -> None:
        """``image`` of a part of the canvas that has width x height pixels."""
        self.view.show_image(image)
        self.setToolTip(
            ""
            if image is None
            else tr(
                "What the model sees, {width} x {height} pixels of the canvas; darker where nothing "
                "is selected (context)",
                width=width,
                height=height,
            )
        )
