"""Where the painter looks: the widget that Krita draws a picture on, and the way there and back.

Krita 5.2 says how canvas pixels are laid on it; for 5.1 it follows from zoom, rotation, mirror and
the scroll bars, to a pixel of the screen.
"""

from __future__ import annotations

import math
from typing import Any

from krita import Krita

from ..protocol.region import Rect
from .document import Document
from .qt import Qt, QtCore, QtGui, QtWidgets, Signal

_CANVASES = ("KisOpenGLCanvas2", "KisQPainterCanvas")
# Krita's zoom counts pixels of the screen for each point of print.
_POINTS_PER_INCH = 72.0
_Type = QtCore.QEvent.Type
_DOWN = (_Type.TabletPress, _Type.MouseButtonPress, _Type.MouseButtonDblClick)
_UP = (_Type.TabletRelease, _Type.MouseButtonRelease)


class View:
    """One view of a document. ``widget`` lives as long as Krita shows it."""

    def __init__(self, handle: Any, widget: QtWidgets.QWidget) -> None:
        self._handle = handle
        self.widget = widget

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and self.widget is other.widget

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_seen(self) -> bool:
        """False once it is closed, or behind another tab."""
        try:
            return bool(self.widget.isVisible())
        except RuntimeError:  # Qt deleted it
            return False

    def shows(self, document: Document) -> bool:
        found = self._handle.document()
        return found is not None and document == Document(found)

    def to_widget(self) -> QtGui.QTransform | None:
        """Canvas pixels of the picture -> pixels of the widget; None while it is going away."""
        document, canvas = self._handle.document(), self._handle.canvas()
        if document is None or canvas is None:
            return None
        if hasattr(self._handle, "flakeToCanvasTransform"):
            to_flake, possible = self._handle.flakeToImageTransform().inverted()
            return to_flake * self._handle.flakeToCanvasTransform() if possible else None
        scale = canvas.zoomLevel() * _POINTS_PER_INCH / document.resolution()
        return laid_out(
            QtCore.QRectF(0, 0, document.width(), document.height()),
            scale,
            canvas.rotation(),
            canvas.mirror(),
            _scrolled(self.widget),
        )

    def visible(self) -> Rect | None:
        """The part of the picture that is seen, in whole canvas pixels; None when nothing is."""
        transform = self.to_widget()
        if transform is None:
            return None
        inverse, possible = transform.inverted()
        if not possible:
            return None
        seen = inverse.mapRect(QtCore.QRectF(self.widget.rect()))
        document = self._handle.document()
        left, top = max(0, math.floor(seen.left())), max(0, math.floor(seen.top()))
        right = min(document.width(), math.ceil(seen.right()))
        bottom = min(document.height(), math.ceil(seen.bottom()))
        return (
            Rect(left, top, right - left, bottom - top) if right > left and bottom > top else None
        )


def laid_out(
    canvas: QtCore.QRectF, scale: float, degrees: float, mirrored: bool, scrolled: tuple[int, int]
) -> QtGui.QTransform:
    """Mirror, then turn clockwise, then put where the scroll bars say.

    canvas: of any size, also of one that is too large to be painted on. scale: widget pixels per
    canvas pixel. scrolled: how far the widget's corner lies to the right of and below the corner of
    the turned picture's bounds.
    """
    turned = QtGui.QTransform()
    turned.rotate(degrees)
    turned = QtGui.QTransform.fromScale(-scale if mirrored else scale, scale) * turned
    bounds = turned.mapRect(canvas)
    x, y = scrolled
    return turned * QtGui.QTransform.fromTranslate(-x - bounds.x(), -y - bounds.y())


def active_view() -> View | None:
    """The view that the painter works in, of the active window. Takes about a millisecond."""
    window = Krita.instance().activeWindow()
    handle = None if window is None else window.activeView()
    if handle is None or handle.document() is None:
        return None
    area = window.qwindow().findChild(QtWidgets.QMdiArea)
    frame = None if area is None else area.currentSubWindow()
    if frame is None:
        return None
    for widget in frame.findChildren(QtWidgets.QWidget):
        if widget.metaObject().className() in _CANVASES:
            return View(handle, widget)
    return None


def take_gl() -> None:
    """Make the active canvas's OpenGL context the current one, before the canvas gets another size.

    Krita 5.1 makes the textures of the new size in whatever context is current, and ends itself
    where there is none: a window that was closed leaves none.
    """
    view = active_view()
    if view is not None and hasattr(view.widget, "makeCurrent"):  # it is drawn by OpenGL
        view.widget.makeCurrent()


def _scrolled(widget: QtWidgets.QWidget) -> tuple[int, int]:
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QtWidgets.QAbstractScrollArea):
        above = above.parentWidget()
    if above is None:
        return 0, 0
    return above.horizontalScrollBar().value(), above.verticalScrollBar().value()


class PenWatch(QtCore.QObject):
    """moved(down): the pen or the left button touches the canvas, or leaves it. escaped: Esc was
    pressed in its window.

    It listens to the whole window: on the canvas itself Krita's own ear swallows what it uses.
    """

    moved = Signal(bool)
    escaped = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.is_down = False
        self._widget: QtWidgets.QWidget | None = None
        self._window: Any = None

    def watch(self, view: View | None) -> None:
        """Listen for that view's widget; None: for nothing any more."""
        widget = None if view is None else view.widget
        window = None if widget is None else widget.window().windowHandle()
        if widget is self._widget and window is self._window:
            return
        if self._window is not None:
            self._window.destroyed.disconnect(self._gone)
            self._window.removeEventFilter(self)
        self._widget, self._window = widget, window
        self._tell(False)
        if window is not None:
            window.destroyed.connect(self._gone)
            window.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        kind = event.type()
        if kind in _UP and event.button() == Qt.MouseButton.LeftButton:
            self._tell(False)
        elif kind in _DOWN and event.button() == Qt.MouseButton.LeftButton:
            at = event.globalPos() if hasattr(event, "globalPos") else event.globalPosition()
            at = at.toPoint() if isinstance(at, QtCore.QPointF) else at
            if QtWidgets.QApplication.widgetAt(at) is self._widget:
                self._tell(True)
        elif kind == _Type.KeyPress and event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        return False

    def _gone(self) -> None:
        self._widget = self._window = None
        self._tell(False)

    def _tell(self, down: bool) -> None:
        if down != self.is_down:
            self.is_down = down
            self.moved.emit(down)
