"""What the GUI holds of the connections: one to each server that is used, one of them chosen.

The GUI thread only hands over values and gets Qt signals back.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from ..protocol import messages as m
from ..protocol.discovery import read_launch
from ..protocol.messages import Message
from . import state
from .line import Line, LiveMessage
from .mailbox import Mailbox
from .qt import QtCore, Signal
from .servers import HERE, Server
from .state import LinkState

# What only the chosen server has to say.
_OF_THE_SERVER = frozenset(("state_changed", "catalogue", "addons", "styles", "limits"))


class Link(QtCore.QObject):
    """Every signal arrives on the GUI thread.

    It has no parent, whose end would be its own: its threads speak up until they have ended.

    Of the chosen server: state_changed(LinkState), catalogue(tuple of ModelInfo), addons(tuple of
    AddOnInfo), styles(tuple of Style), limits(Limits).
    result(Result): each variant once; call ``placed`` when the painter has it.
    control_map(ControlMap): the answer to an Annotate; nothing need be placed.
    failed(Error): a job's final answer. news(): ``take_news`` has something newer.
    live(message): of a live canvas, in order, none left out: LiveResult, LiveKeyFrame, Progress,
    and at its end LiveClosed or Error.
    """

    state_changed = Signal(object)
    catalogue = Signal(object)
    addons = Signal(object)
    styles = Signal(object)
    limits = Signal(object)
    result = Signal(object)
    control_map = Signal(object)
    failed = Signal(object)
    news = Signal()
    live = Signal(object)
    _said = Signal(object, str, object)  # a line, a signal's name, its value

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._is_over = False
        self.has_started = False  # a server of this computer
        self._lines: dict[str, Line] = {}
        self._line = self._line_to("")
        self._said.connect(self._hear)

    def start(self) -> None:
        """Find this computer's own server."""
        self.use(HERE)

    def use(self, server: Server) -> None:
        """Talk to this server from now on. What was asked of another stays with that one, and comes
        when that one is used again. Where it is used already: try again, now."""
        line = self._line_to(server.id)
        if line is not self._line:
            self._line.put(partial(self._line.aim, None))
            self._line = line
            # At once, whatever its thread is waiting for.
            self.state_changed.emit(LinkState(state.CONNECTING, "Connecting."))
        line.put(partial(line.aim, server))
        if not line.thread.is_alive():
            line.thread.start()

    def hang_up(self) -> None:
        """End the threads, soon, and say nothing any more. Nothing is lost: the servers keep what
        they have for the next one that comes."""
        self._is_over = True
        for line in self._lines.values():
            line.put(line.hang_up)

    def stop(self) -> None:
        """``hang_up``, and wait for it; returns within a second."""
        until = time.monotonic() + 1.0
        self.hang_up()
        for line in self._lines.values():
            if line.thread.is_alive():
                line.thread.join(max(0.0, until - time.monotonic()))

    def generate(self, request: m.Generate) -> None:
        """Send now, or as soon as there is a connection."""
        self._line.put(partial(self._line.ask, request))

    def annotate(self, request: m.Annotate) -> None:
        """As ``generate``."""
        self._line.put(partial(self._line.ask, request))

    def cancel(self, job: str) -> None:
        for line in self._lines.values():
            line.put(partial(line.cancel, job))

    def placed(self, job: str, variant: int) -> None:
        for line in self._lines.values():
            line.put(partial(line.placed, job, variant))

    def send_live(self, message: LiveMessage) -> None:
        """Send now or never: a live canvas does not outlive its connection. Where there is none, or
        it is lost, the canvas's LiveClosed comes back."""
        self._line.put(partial(self._line.send_live, message))

    @property
    def can_start(self) -> bool:
        """True when it is written down what starts this computer's server."""
        return read_launch(self._folder) is not None

    def start_server(self) -> None:
        """Run the command that the installation wrote down."""
        self.has_started = True
        here = self._line_to("")
        here.put(here.launch)

    def stop_server(self) -> None:
        """End this computer's server; finished pictures stay, jobs that run are lost."""
        here = self._line_to("")
        here.put(here.end_server)

    def take_news(self) -> list[Message]:
        """The newest Progress and Preview of each job since the last call."""
        return self._line.mailbox.take()

    def _line_to(self, server: str) -> Line:
        if server not in self._lines:
            # Methods of ours, not of signals: whoever holds these holds this object.
            mailbox = Mailbox(self._tell_news)
            self._lines[server] = Line(self._folder, server, self._tell, mailbox)
        return self._lines[server]

    def _tell(self, line: Line, signal: str, value: object) -> None:
        self._said.emit(line, signal, value)

    def _tell_news(self) -> None:
        self.news.emit()

    def _hear(self, line: Line, signal: str, value: object) -> None:
        if self._is_over:
            return
        if line is self._line or signal not in _OF_THE_SERVER:
            getattr(self, signal).emit(value)
