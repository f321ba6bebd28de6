"""The picture while it is being painted: in the docker always, over the canvas where it will lie."""

from __future__ import annotations

from typing import Any

from ..protocol import messages as m
from .images import rgba_image
from .overlay import Overlay
from .painting import Painting
from .qt import Qt, QtCore, QtGui
from .ui.panel import Panel

_Format = QtGui.QImage.Format
_INVERTED = bytes(255 - value for value in range(256))


class Preview(QtCore.QObject):
    """Shows the newest Preview of the job that is being painted."""

    def __init__(self, panel: Panel, parent: Any = None) -> None:
        super().__init__(parent)
        self._panel = panel
        self._overlay = Overlay(self)
        self._job = self._hidden = ""
        self._shape: Any = None

    def show(self, event: m.Preview, painting: Painting | None) -> None:
        picture = event.picture
        image = rgba_image(picture.data, picture.width, picture.height)
        self._panel.show_preview(image)
        if painting is None or event.job == self._hidden:
            return
        if event.job != self._job:
            self._job, self._shape = event.job, shape(painting.request)
        document = painting.document
        if document.is_open:
            area = painting.placed(event.area, document.size)
            self._overlay.show(cut(image, self._shape), area, document=document)

    def hide(self) -> None:
        """Off the canvas until the next job; the painting goes on."""
        self._hidden = self._job
        self._overlay.hide()

    def end(self) -> None:
        """The job is over."""
        self._panel.progress.picture.show_image(None)
        self._overlay.hide()
        self._job, self._shape = "", None

    def follow(self) -> None:
        """Another view is active."""
        self._overlay.follow()


def shape(request: m.Generate) -> Any:
    """Where the layer will lie in its region, as a QImage of alpha; None: all over it."""
    region = request.region
    if request.selection is not None:
        alpha = bytes(request.selection.data)
    elif request.action == "expand":
        alpha = bytes(request.surroundings.data)[3::4].translate(_INVERTED)
    else:
        return None
    size = region.width, region.height, region.width
    return QtGui.QImage(alpha, *size, _Format.Format_Alpha8).copy()


def cut(image: Any, alpha: Any) -> Any:
    """The image (RGBA8) where ``alpha`` (of any size) lets it be seen."""
    if alpha is None:
        return image
    image = image.convertToFormat(_Format.Format_ARGB32_Premultiplied)
    painter = QtGui.QPainter(image)
    painter.setCompositionMode(QtGui.QPainter.CompositionMode.CompositionMode_DestinationIn)
    painter.drawImage(
        0,
        0,
        alpha.scaled(
            image.size(),
            Qt.AspectRatioMode.IgnoreAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        ),
    )
    painter.end()
    return image
