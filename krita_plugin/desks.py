"""Each document has its own desk: prompt and guides change when another one becomes active."""

from __future__ import annotations

from typing import Any

from . import desk
from .desk import Desk
from .document import Document
from .qt import QtCore
from .ui.panel import Panel

# How long a painter may go on typing before it is written into the document, in ms.
_SETTLE = 400


class Desks(QtCore.QObject):
    """Writes only what the painter changed: opening a document does not modify it."""

    def __init__(self, panel: Panel, parent: Any = None) -> None:
        super().__init__(parent)
        self._panel = panel
        self._document: Document | None = None
        self._kept = Desk()
        self._settle = QtCore.QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE)
        self._settle.timeout.connect(self.keep)
        panel.desk_changed.connect(self._settle.start)

    def follow(self, document: Document | None) -> None:
        """Show the desk of the document that is active now."""
        if document == self._document:
            return
        self.keep()
        self._panel.give_back()
        typed = self._panel.desk if self._document is None else Desk()
        self._document = document
        stored = None if document is None else document.annotation(desk.KEY)
        self._kept = desk.from_json(stored)
        # What was typed before any picture was open is meant for the first one.
        if stored is None and document is not None and typed != Desk():
            self.keep()
        else:
            self._panel.show_desk(self._kept)
            self._settle.stop()

    def keep(self) -> None:
        """Write what is not written yet."""
        self._settle.stop()
        document, now = self._document, self._panel.desk
        if document is None or now == self._kept or not document.is_open:
            return
        self._kept = now
        document.set_annotation(desk.KEY, desk.to_json(now))
