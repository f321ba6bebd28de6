"""The picture while it is being painted: in the docker always, over the canvas where it will lie."""

from __future__ import annotations

from typing import Any

from ..protocol import messages as m
from .images import rgba_image
from .overlay import Overlay
from .painting import Painting
from .qt import QtCore
from .ui.panel import Panel


class Preview(QtCore.QObject):
    """Shows the newest Preview of the job that is being painted, until a stroke or Esc."""

    def __init__(self, panel: Panel, parent: Any = None) -> None:
        super().__init__(parent)
        self._panel = panel
        self.overlay = Overlay(self)
        self.overlay.stroked.connect(self.hide)
        self.overlay.escaped.connect(self.hide)
        self._job = self._hidden = ""

    def show(self, event: m.Preview, painting: Painting | None) -> None:
        picture = event.picture
        image = rgba_image(picture.data, picture.width, picture.height)
        self._panel.show_preview(image)
        if painting is None or event.job == self._hidden:
            return
        self._job = event.job
        document = painting.document
        if document.is_open:
            # Its alpha is the layer's already: the area is no more than the layer's bounds.
            area = painting.placed(event.area, document.size)
            self.overlay.show(image, area, document=document)

    def hide(self) -> None:
        """Off the canvas until the next job; the painting goes on."""
        self._hidden = self._job
        self.overlay.hide()

    def end(self) -> None:
        """The job is over."""
        self._panel.progress.picture.show_image(None)
        self.overlay.hide()
        self._job = ""

    def follow(self) -> None:
        """Another view is active."""
        self.overlay.follow()
