"""A picture over the canvas that is no part of it: History, layers, saves know nothing of it.

A widget over Krita's own, transparent to pen and mouse. Krita redraws it with the canvas, so it
follows zoom, pan, rotation and mirror by asking where the canvas is each time that it is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..protocol.region import Rect
from .document import Document
from .qt import Qt, QtCore, QtGui, QtWidgets, Signal
from .view import PenWatch, View, active_view

# How long the picture takes to go when the pen comes down, and to come back, in ms.
_FADE_OUT, _FADE_IN = 80, 160
# Between the strokes of a quick hand it stays away, in ms.
_AWAY = 250
# From this many screen pixels per canvas pixel on, pixels are squares, as Krita draws them.
_SQUARES = 2.0
_Attribute = Qt.WidgetAttribute


@dataclass(frozen=True)
class Shown:
    """``image`` (QImage) laid over ``rect`` (canvas pixels) of ``document``; opacity 0..1.

    framed: a thin line around it shows where it ends.
    """

    image: Any
    rect: Rect
    opacity: float
    document: Document
    framed: bool


class Overlay(QtCore.QObject):
    """One picture over the canvas. It is drawn in the view that is active, if that shows its document.

    Make one for each thing that may be shown; a newer one lies on top.

    It makes way while the pen is down. stroked: the pen did not only touch the canvas, it painted.
    escaped: the painter pressed Esc while it was shown.
    """

    stroked = Signal()
    escaped = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._shown: Shown | None = None
        self._sheet: _Sheet | None = None
        self._pen = PenWatch(self)
        self._pen.moved.connect(self._pen_moved)
        self._pen.escaped.connect(self.escaped)
        self._is_touched = False
        self._fade = QtCore.QVariantAnimation(self)
        self._fade.valueChanged.connect(self._faded)
        self._back = QtCore.QTimer(self)
        self._back.setSingleShot(True)
        self._back.setInterval(_AWAY)
        self._back.timeout.connect(lambda: self._fade_to(1.0, _FADE_IN))

    @property
    def is_shown(self) -> bool:
        return self._shown is not None

    def show(
        self,
        image: Any,
        rect: Rect,
        opacity: float = 1.0,
        *,
        document: Document,
        framed: bool = False,
    ) -> None:
        """Lay a QImage of any size over ``rect`` (canvas pixels of ``document``) instead of what was
        there. opacity: 0..1. The image must not be painted on afterwards: hand over a copy."""
        self._shown = Shown(image, rect, opacity, document, framed)
        if self._sheet is None:
            self.follow()
        else:
            self._sheet.show_picture(self._shown)

    def hide(self) -> None:
        """Take it away. Nothing of it is left on the canvas, no timer either."""
        self._shown = None
        self._is_touched = False
        self._detach()

    def follow(self) -> None:
        """Another view is active, or may be: go there, or wait until its document is seen again."""
        shown, view = self._shown, active_view()
        if shown is None or view is None or not view.shows(shown.document):
            self._detach()
            return
        if self._sheet is None or self._sheet.view != view:
            self._detach()
            self._sheet = _Sheet(view)
            self._sheet.destroyed.connect(self._lost)
        self._pen.watch(view)
        self._sheet.show_picture(shown)

    def hear_change(self) -> None:
        """The History has another row: what the pen did was a stroke, and did not move the canvas."""
        if self._is_touched:
            self._is_touched = False
            self.stroked.emit()

    def _detach(self) -> None:
        self._pen.watch(None)
        self._fade.stop()
        self._back.stop()
        sheet, self._sheet = self._sheet, None
        if sheet is not None:
            sheet.destroyed.disconnect(self._lost)
            sheet.hide()
            sheet.setParent(None)
            sheet.deleteLater()

    def _lost(self) -> None:
        """Krita closed the view."""
        self._sheet = None

    def _pen_moved(self, down: bool) -> None:
        self._back.stop()
        if down:
            self._is_touched = True
            self._fade_to(0.0, _FADE_OUT)
        elif self._sheet is not None:
            self._back.start()

    def _fade_to(self, target: float, duration: int) -> None:
        self._fade.stop()
        if self._sheet is None:
            return
        self._fade.setStartValue(self._sheet.presence)
        self._fade.setEndValue(target)
        self._fade.setDuration(duration)
        self._fade.start()

    def _faded(self, presence: float) -> None:
        if self._sheet is not None:
            self._sheet.set_presence(float(presence))


class _Sheet(QtWidgets.QWidget):
    """Lies over one view's widget."""

    def __init__(self, view: View) -> None:
        super().__init__(view.widget)
        self.setObjectName("velatura_overlay")
        self.view = view
        self.presence = 1.0
        self._shown: Shown | None = None
        for attribute in (
            _Attribute.WA_TransparentForMouseEvents,
            _Attribute.WA_NoSystemBackground,
            _Attribute.WA_TranslucentBackground,
        ):
            self.setAttribute(attribute)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setGeometry(view.widget.rect())
        view.widget.installEventFilter(self)
        self.show()

    def show_picture(self, shown: Shown) -> None:
        self._shown = shown
        self.update()

    def set_presence(self, presence: float) -> None:
        """0..1 of the picture's own opacity."""
        self.presence = presence
        self.update()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        if event.type() == QtCore.QEvent.Type.Resize:
            self.setGeometry(self.view.widget.rect())
        return False

    def paintEvent(self, event: Any) -> None:
        shown = self._shown
        if shown is None or self.presence <= 0:
            return
        transform = self.view.to_widget()
        if transform is None:
            return
        rect = shown.rect
        target = QtCore.QRectF(rect.x, rect.y, rect.width, rect.height)
        painter = QtGui.QPainter(self)
        painter.setTransform(transform)
        painter.setOpacity(shown.opacity * self.presence)
        scale = abs(transform.determinant()) ** 0.5 * rect.width / max(1, shown.image.width())
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform, scale < _SQUARES)
        painter.drawImage(target, shown.image)
        if shown.framed:
            painter.setOpacity(self.presence)
            for colour, dashes in (
                ("black", Qt.PenStyle.SolidLine),
                ("white", Qt.PenStyle.DashLine),
            ):
                line = QtGui.QPen(QtGui.QColor(colour), 1, dashes)
                line.setCosmetic(True)
                painter.setPen(line)
                painter.drawRect(target)
        painter.end()
