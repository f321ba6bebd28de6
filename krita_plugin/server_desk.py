"""Which server paints: the painter's choice, from the settings and the light's menu to the link."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from ..protocol.discovery import data_folder, read_running
from . import state
from .link import Link
from .preferences import Preferences
from .qt import QtCore, Signal
from .servers import Server
from .state import LinkState
from .ui.panel import Panel
from .ui.words import tr

if TYPE_CHECKING:
    from .controller import Controller


class ServerDesk(QtCore.QObject):
    """told(sentence): something came to be that the painter waits for."""

    told = Signal(str)

    def __init__(
        self, panel: Panel, link: Link, controller: Controller, parent: Any = None
    ) -> None:
        super().__init__(parent)
        self._panel, self._link, self._controller = panel, link, controller
        self._servers: tuple[Server, ...] = ()
        self._used: Server | None = None
        self._is_starting = False
        panel.connection.start_server.connect(self._start)
        panel.connection.stop_server.connect(link.stop_server)
        link.state_changed.connect(self._link_changed)

    def follow(self, preferences: Preferences) -> None:
        """Use the chosen server, and show those that there are."""
        chosen = preferences.chosen
        gone = {server.id: server for server in self._servers}
        self._servers = preferences.servers
        for server in self._servers:
            gone.pop(server.id, None)
        self._panel.connection.show_servers([(x.id, x.name) for x in self._servers], chosen.id)
        # Another name is no reason to hang up.
        if self._used is None or _place(chosen) != _place(self._used):
            self.use(chosen)
        self._used = chosen
        for server in gone.values():
            self._controller.remove_server(server.id, server.name)

    def start_with_krita(self) -> None:
        """Start this computer's server unless one runs; nothing where none is installed."""
        if self._link.can_start and read_running(data_folder()) is None:
            self._start()

    def end(self, stays: bool) -> None:
        """Krita ends: so does the server that it started, unless it shall stay."""
        running = read_running(data_folder())
        if self._link.has_started and not stays and running is not None:
            with contextlib.suppress(OSError):
                os.kill(running.pid, signal.SIGTERM)

    def use(self, server: Server) -> None:
        """Switch to it, or try again where it is used already."""
        self._controller.switch(server.id)
        self._link.use(server)

    def _start(self) -> None:
        self._is_starting = True
        self._link.start_server()

    def _link_changed(self, link: LinkState) -> None:
        if link.kind == state.READY and self._is_starting:
            self.told.emit(tr("The model is loaded: Velatura can paint."))
        if link.kind in (state.READY, state.NO_SERVER):
            self._is_starting = False


def _place(server: Server) -> tuple[str, str, str]:
    return server.id, server.address, server.token
