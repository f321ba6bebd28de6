"""The connection to the server, on a thread of its own.

The GUI thread only hands over values and gets Qt signals back. Two threads stand behind it: one
waits for the server's messages, the other (``_Line``) does everything else, fed by one queue.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..protocol import messages as m
from ..protocol.client import Client, open_websocket
from ..protocol.discovery import read_launch, read_running, read_token
from ..protocol.errors import ProtocolError, RemoteError
from ..protocol.messages import Message
from . import state
from .launch import last_line, start_detached
from .ledger import Ledger, Request
from .qt import QtCore, Signal
from .session_file import SessionFile
from .state import LinkState

NAME = "krita"
# Seconds between attempts after failures in a row. Looking for a server costs one small read.
BACK_OFF = (0.2, 0.4, 0.8, 1.5, 3.0)
LOOK_EVERY = 0.5
_NO_SERVER = "No server is running."
LiveMessage = m.LiveOpen | m.LiveSettings | m.LiveFrame | m.LiveClose


def websockets() -> tuple[Callable[..., Any], tuple[type[BaseException], ...]]:
    """(connect, what it raises) of the package that the plugin carries, else the installed one."""
    root = f"{__package__.rpartition('.')[0]}._vendor.websockets"
    try:
        client = importlib.import_module(root + ".sync.client")
    except ImportError:
        root = "websockets"
        client = importlib.import_module(root + ".sync.client")
    errors = importlib.import_module(root + ".exceptions")
    return client.connect, (errors.WebSocketException, OSError, EOFError)


class Link(QtCore.QObject):
    """What the GUI holds. Every signal arrives on the GUI thread.

    state_changed(LinkState), catalogue(tuple of ModelInfo), addons(tuple of AddOnInfo),
    styles(tuple of Style),
    limits(Limits).
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

    def __init__(self, folder: Path, parent: Any = None) -> None:
        super().__init__(parent)
        self._mailbox = _Mailbox(self.news.emit)
        self._line = _Line(folder, self, self._mailbox)

    def start(self) -> None:
        self._line.thread.start()

    def stop(self) -> None:
        """Hang up; returns within a second. Nothing is lost: the server keeps what it has."""
        self._line.put(self._line.hang_up)
        if self._line.thread.is_alive():
            self._line.thread.join(1.0)

    def generate(self, request: m.Generate) -> None:
        """Send now, or as soon as there is a connection."""
        self._line.put(lambda: self._line.ask(request))

    def annotate(self, request: m.Annotate) -> None:
        """As ``generate``."""
        self._line.put(lambda: self._line.ask(request))

    def cancel(self, job: str) -> None:
        self._line.put(lambda: self._line.cancel(job))

    def placed(self, job: str, variant: int) -> None:
        self._line.put(lambda: self._line.placed(job, variant))

    def send_live(self, message: LiveMessage) -> None:
        """Send now or never: a live canvas does not outlive its connection. Where there is none, or
        it is lost, the canvas's LiveClosed comes back."""
        self._line.put(lambda: self._line.send_live(message))

    def start_server(self) -> None:
        """Run the command that ``velatura plugin install`` wrote down."""
        self._line.put(self._line.launch)

    def take_news(self) -> list[Message]:
        """The newest Progress and Preview of each job since the last call."""
        return self._mailbox.take()


class _Mailbox:
    """Newest wins: a busy GUI thread finds one message of a kind, not a queue of old ones."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._newest: dict[tuple[type[Message], str], Message] = {}

    def put(self, event: m.Progress | m.Preview) -> None:
        with self._lock:
            ring = not self._newest
            self._newest[type(event), event.job] = event
        if ring:
            self._ring()

    def take(self) -> list[Message]:
        with self._lock:
            newest, self._newest = self._newest, {}
        return list(newest.values())


class _Socket:
    """An open WebSocket that is read elsewhere once greeted: ``recv`` returns what was fed."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._fed: list[bytes] = []

    def send(self, message: Any) -> None:
        self._socket.send(message)

    def recv(self, timeout: float | None = None) -> Any:
        return self._fed.pop() if self._fed else self._socket.recv(timeout)

    def feed(self, blob: bytes) -> None:
        self._fed.append(blob)

    def wait(self) -> Any:
        return self._socket.recv()

    def close(self) -> None:
        self._socket.close()


class _Line:
    """Everything that happens off the GUI thread. Only ``put`` is called from outside."""

    def __init__(self, folder: Path, link: Link, mailbox: _Mailbox) -> None:
        self.thread = threading.Thread(target=self._run, name="velatura-link", daemon=True)
        self._folder = folder
        self._link = link
        self._mailbox = mailbox
        self._ledger = Ledger()
        self._session = SessionFile(folder)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._state: LinkState | None = None
        self._client: Client | None = None
        self._socket: _Socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._ended = False
        self._lives: set[str] = set()  # live canvases that are open, or being closed
        self._errors: tuple[type[BaseException], ...] = (OSError,)
        self._connect: Callable[..., Any] = lambda *args, **options: None

    def put(self, wish: Callable[[], None]) -> None:
        self._inbox.put(wish)

    # Wishes

    def ask(self, request: Request) -> None:
        self._ledger.ask(request)
        self._send(request)

    def cancel(self, job: str) -> None:
        if self._client is None:
            if self._ledger.abandon(job):
                self._over(job)
        elif self._ledger.cancel(job):
            self._send(m.Cancel(job=job))

    def placed(self, job: str, variant: int) -> None:
        self._ledger.placed(job, variant)
        self._acknowledge(job)

    def send_live(self, message: LiveMessage) -> None:
        if isinstance(message, m.LiveOpen):
            self._lives.add(message.job)
            if self._client is None:
                self._end_lives()
        if message.job in self._lives:
            self._send(message)

    def _end_lives(self) -> None:
        lives, self._lives = self._lives, set()
        for job in lives:
            self._link.live.emit(m.LiveClosed(job=job))

    def launch(self) -> None:
        found = read_launch(self._folder)
        if found is None:
            self._tell(
                LinkState(
                    state.NO_SERVER,
                    "It is not known how to start the server: run `velatura plugin install` once.",
                )
            )
            return
        self._tell(LinkState(state.CONNECTING, "The server is starting."))
        try:
            self._server = start_detached(found.command, self._folder / "server-start.log")
        except OSError as error:
            self._tell(
                LinkState(
                    state.NO_SERVER,
                    f"{found.command[0]} did not start ({error.strerror}): "
                    "run `velatura plugin install` again.",
                )
            )

    def hang_up(self) -> None:
        self._ended = True

    # The thread

    def _run(self) -> None:
        # Importing costs a tenth of a second, which the GUI thread does not have.
        self._connect, self._errors = websockets()
        while not self._ended:
            if self._open():
                while self._client is not None and not self._ended:
                    self._inbox.get()()
            else:
                self._wait()
        self._close()
        self._session.release()

    def _wait(self) -> None:
        pause = BACK_OFF[min(self._failures, len(BACK_OFF)) - 1] if self._failures else LOOK_EVERY
        until = time.monotonic() + pause
        while not self._ended:
            left = until - time.monotonic()
            if left <= 0:
                return
            with contextlib.suppress(queue.Empty):
                self._inbox.get(timeout=left)()

    def _open(self) -> bool:
        """One attempt. True when the conversation can go on."""
        self._watch_launched()
        running, token = read_running(self._folder), read_token(self._folder)
        if running is None or token is None:
            self._failures = 0
            self._no_server()
            return False
        if self._state is None:
            self._tell(LinkState(state.CONNECTING, "Connecting."))
        opened: list[_Socket] = []

        def connect(*args: Any, **options: Any) -> _Socket:
            opened.append(_Socket(self._connect(*args, **options)))
            return opened[0]

        try:
            client = open_websocket(
                connect, running.url, token, NAME, session=self._session.read(), timeout=5.0
            )
        except RemoteError as error:
            self._failures += 1
            if error.code == "unknown_session":
                self._session.forget()
            else:
                self._tell(LinkState(state.REFUSED, error.message))
            return False
        except self._errors as error:
            self._failures += 1
            self._unreachable(error)
            return False
        self._greeted(client, opened[0])
        return True

    def _greeted(self, client: Client, socket: _Socket) -> None:
        self._client, self._socket = client, socket
        self._failures = 0
        self._server = None
        self._session.write(client.welcome.session)
        self._tell(LinkState(state.LOADING, "Connected."))
        self._link.limits.emit(client.welcome.limits)
        threading.Thread(
            target=self._listen, args=(socket,), name="velatura-listen", daemon=True
        ).start()
        messages, over = self._ledger.resume(client.welcome.jobs)
        for job in over:
            self._over(job)
        for message in messages:
            self._send(message)

    def _listen(self, socket: _Socket) -> None:
        """The second thread: wait for the server, pass on what comes."""
        try:
            while True:
                blob = socket.wait()
                self.put(lambda blob=blob: self._hear(socket, blob))  # type: ignore[misc]
        except self._errors:
            self.put(lambda: self._lost(socket))

    def _hear(self, socket: _Socket, blob: Any) -> None:
        if socket is not self._socket or self._client is None:
            return
        socket.feed(blob)
        try:
            event = self._client.receive()
        except ProtocolError as error:
            self._failures += 1
            self._lost(socket, error.message)
            return
        self._pass_on(event)

    def _pass_on(self, event: Message) -> None:
        if getattr(event, "job", None) in self._lives:
            if isinstance(event, (m.LiveClosed, m.Error)):
                self._lives.discard(event.job or "")
            self._link.live.emit(event)
        elif isinstance(event, (m.Progress, m.Preview)):
            self._mailbox.put(event)
        elif isinstance(event, m.Result):
            if self._ledger.take(event):
                self._link.result.emit(event)
            else:
                self._acknowledge(event.job)
        elif isinstance(event, m.Error) and event.job is not None:
            if self._ledger.take(event):
                self._link.failed.emit(event)
            self._acknowledge(event.job)
        elif isinstance(event, m.ControlMap):
            if self._ledger.take(event):
                self._link.control_map.emit(event)
            self._acknowledge(event.job)
        elif isinstance(event, m.Catalogue):
            self._link.catalogue.emit(event.models)
            self._link.addons.emit(event.addons)
            self._link.styles.emit(event.styles)
        elif isinstance(event, m.Status):
            self._tell(state.worker_state(event))

    def _send(self, message: Message) -> None:
        """Send if there is a connection; otherwise the ledger sends it after the next welcome."""
        if self._client is None:
            return
        try:
            self._client.send(message)
        except ProtocolError as error:
            job = getattr(message, "job", None)
            refusal = m.Error(code=error.code, message=error.message, job=job, field=error.field)
            if job in self._lives:
                # What is open on the server is closed there with it.
                self._lives.discard(job)
                self._link.live.emit(refusal)
                if not isinstance(message, (m.LiveOpen, m.LiveClose)):
                    self._send(m.LiveClose(job=job))
            elif isinstance(message, (m.Generate, m.Annotate)) and self._ledger.take(refusal):
                self._link.failed.emit(refusal)
        except self._errors:
            self._lost(self._socket)

    def _over(self, job: str) -> None:
        self._link.failed.emit(m.Error(code="cancelled", message="Cancelled.", job=job))

    def _acknowledge(self, job: str) -> None:
        message = self._ledger.acknowledgement(job)
        if message is not None:
            self._send(message)

    def _lost(self, socket: _Socket | None, reason: str = "The connection was lost.") -> None:
        if socket is None or socket is not self._socket:
            return
        self._close()
        self._end_lives()
        self._tell(LinkState(state.CONNECTING, reason))

    def _close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(*self._errors):
                self._socket.close()
        self._client = self._socket = None

    # What to say

    def _tell(self, new: LinkState) -> None:
        if new != self._state:
            self._state = new
            self._link.state_changed.emit(new)

    def _no_server(self) -> None:
        if self._server is not None:  # still starting
            return
        if self._state is None or self._state.kind != state.NO_SERVER:
            self._tell(LinkState(state.NO_SERVER, _NO_SERVER))

    def _unreachable(self, error: BaseException) -> None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401:
            self._tell(
                LinkState(
                    state.REFUSED,
                    "The server refused the token: it runs for another user or folder. Restart it.",
                )
            )
        elif status is not None:
            self._tell(LinkState(state.REFUSED, f"The server refused the connection ({status})."))
        else:
            self._no_server()

    def _watch_launched(self) -> None:
        """A server that ends before it listens says why in its log."""
        if self._server is None or self._server.poll() is None:
            return
        code, self._server = self._server.returncode, None
        last = last_line(self._folder / "server-start.log")
        self._tell(
            LinkState(state.NO_SERVER, f"The server stopped ({code}): {last or 'it said nothing'}")
        )
