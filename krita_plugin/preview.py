"""The picture while it is being painted: in the docker always, over the canvas where it will lie."""

from __future__ import annotations

import contextlib
from typing import Any

from ..protocol import messages as m
from ..protocol.region import Rect
from . import placing
from .document import Document, DocumentError
from .images import rgba_image
from .overlay import Overlay
from .painting import Painting, is_as_asked
from .qt import Qt, QtCore
from .trial import Trial
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
        self._trial: Trial | None = None

    def show(self, event: m.Preview, painting: Painting | None) -> None:
        picture = event.picture
        image = rgba_image(picture.data, picture.width, picture.height)
        self._panel.show_preview(image)
        if painting is None or event.job == self._hidden:
            return
        if event.job != self._job:
            self._close_trial()
            self._job = event.job
        document = painting.document
        if document.is_open and is_as_asked(painting):
            # Its alpha is the layer's already: the area is no more than the layer's bounds.
            area = painting.placed(event.area, document.size)
            with contextlib.suppress(DocumentError):  # said when it is kept
                image = self._as_kept(document, painting, area, image)
            if (
                event.job == self._job
            ):  # Krita may have let other events in, and the job may be over
                self.overlay.show(image, area, document=document)
            else:
                self._close_trial()

    def _as_kept(self, document: Document, painting: Painting, area: Rect, image: Any) -> Any:
        if not document.is_active or not placing.can_try(document, painting):
            return placing.in_own_colours(document, image)
        if self._trial is None or self._trial.rect != area:
            self._close_trial()
            if not placing.needs_trial(document, painting):
                return image
            self._trial = placing.open_trial(document, painting, area)
        size = area.width, area.height
        ratio, smooth = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode
        return self._trial.look(image.scaled(*size, ratio, smooth.SmoothTransformation))

    def _close_trial(self) -> None:
        if self._trial is not None:
            self._trial.close()
            self._trial = None

    def hide(self) -> None:
        """Off the canvas until the next job; the painting goes on."""
        self._hidden = self._job
        self.overlay.hide()
        self._close_trial()

    def end(self) -> None:
        """The job is over."""
        self._panel.progress.picture.show_image(None)
        self.overlay.hide()
        self._close_trial()
        self._job = ""

    def follow(self) -> None:
        """Another view is active."""
        self.overlay.follow()
