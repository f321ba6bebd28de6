"""What is being painted right now: bar, words and the picture so far."""

from __future__ import annotations

from typing import Any

from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from .parts import ElidedLabel, WrappedLabel, column, row, tool_button
from .words import tr

_TALLEST = 180


class Picture(QtWidgets.QWidget):
    """An image that fits the docker's width and keeps its proportions."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("preview")
        self.image: QtGui.QImage | None = None
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)

    def show_image(self, image: QtGui.QImage | None) -> None:
        self.image = image
        self._fit()
        self.setVisible(image is not None)
        self.update()

    def resizeEvent(self, event: Any) -> None:
        self._fit()

    def _fit(self) -> None:
        if self.image is not None and self.image.width():
            tall = self.image.height() * max(1, self.width()) // self.image.width()
            self.setFixedHeight(max(24, min(tall, self.most_height())))

    def most_height(self) -> int:
        return _TALLEST

    def paintEvent(self, event: Any) -> None:
        if self.image is None:
            return
        size = self.image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QtCore.QRect(QtCore.QPoint(0, 0), size)
        place.moveCenter(self.rect().center())
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(place, self.image)
        painter.end()


class ProgressGroup(QtWidgets.QWidget):
    """``picture`` and ``note`` are placed elsewhere: they may be tall."""

    all_cancelled = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.bar = QtWidgets.QProgressBar()
        self.bar.setObjectName("progress")
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.stage = ElidedLabel("stage")
        tip = tr("Stop painting, also what waits; finished pictures stay")
        self.all = tool_button("cancel_all", tr("Cancel all"), tip)
        self.all.clicked.connect(lambda checked=False: self.all_cancelled.emit())
        self.note = WrappedLabel("stage_note")
        self.picture = Picture()
        lines = column(self)
        lines.addWidget(self.bar)
        lines.addLayout(row(self.stage, self.all, stretch=0))
        self.hide_all()

    def show_stage(self, words: str, done: float, note: str = "", *, others: int = 0) -> None:
        """done: 0..1. note: a sentence of the server's. others: how many wait behind it."""
        # Left to itself the bar paints at once, and with it all of Krita's window: 20 ms each step.
        self.bar.setUpdatesEnabled(False)
        self.bar.setValue(round(done * 1000))
        self.bar.setUpdatesEnabled(True)
        self.stage.setText(words)
        self.all.setVisible(others > 0)
        self.note.setText(note)
        self.note.setVisible(bool(note))
        self.setVisible(True)

    def hide_all(self) -> None:
        self.picture.show_image(None)
        self.note.setVisible(False)
        self.setVisible(False)
