"""A press while no server runs starts it, and is made as soon as it can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import state
from .line import NO_SERVER
from .link import Link
from .qt import QtCore
from .state import LinkState
from .ui.panel import Panel
from .ui.words import tr


class FirstPress(QtCore.QObject):
    """press: what the painter's press does. One waits at a time, and it is the painter's last."""

    def __init__(
        self, panel: Panel, link: Link, press: Callable[[], None], parent: Any = None
    ) -> None:
        super().__init__(parent)
        self._panel, self._link, self._press = panel, link, press
        self._waits = False
        self._state: LinkState | None = None
        link.state_changed.connect(self._changed)
        link.catalogue.connect(lambda models: self._look())

    def ask(self) -> bool:
        """Start this computer's server; False where none could start."""
        if not self._link.can_start:
            return False
        self._waits = True
        self._panel.connection.start_server.emit()
        self._panel.notice.say(
            tr("The server is starting: your press is painted as soon as it is ready."),
            self.forget,
            tr("Cancel"),
            still=lambda: self._waits,
        )
        return True

    def _again(self) -> None:
        self.ask()

    def forget(self) -> None:
        """Nothing is painted by itself any more."""
        self._waits = False

    def _changed(self, link: LinkState) -> None:
        self._state = link
        if self._waits and link.kind == state.NO_SERVER and link != NO_SERVER:
            self._waits = False
            self._panel.notice.say(link.reason, self._again)
        elif link.kind in (state.FAILED, state.REFUSED):
            self._waits = False
        self._look()

    def _look(self) -> None:
        ready = self._state is not None and self._state.kind == state.READY
        if self._waits and ready and self._panel.model.model is not None:
            self._waits = False
            # After everybody has heard that it is ready.
            QtCore.QTimer.singleShot(0, self._press)
