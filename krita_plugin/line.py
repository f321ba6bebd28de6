"""The connection to one server, on threads of its own.

Two threads stand behind it: one waits for the server's messages, the other (``Line``) does everything
else, fed by one queue.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..protocol import messages as m
from ..protocol.client import Client, open_websocket
from ..protocol.discovery import read_launch, read_running, read_token
from ..protocol.errors import LocalError, ProtocolError, RemoteError
from ..protocol.messages import Message
from . import state
from .launch import last_line, start_detached
from .ledger import Ledger, Request
from .mailbox import Mailbox
from .servers import Server, refused
from .session_file import SessionFile
from .state import LinkState
from .ui.words import tr

NAME = "krita"
# Seconds between attempts after failures in a row. Looking for a server costs one small read.
BACK_OFF = (0.2, 0.4, 0.8, 1.5, 3.0)
LOOK_EVERY = 0.5
NO_SERVER = LinkState(state.NO_SERVER, "No server yet.")
STARTING = LinkState(state.CONNECTING, "The server is starting.")
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


def _outlive_what_is_torn() -> None:
    """In this thread and those that it starts, writing to a server that is gone is an error only.

    Krita leaves SIGPIPE as it is: it would end Krita, with every picture that is not saved.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows, where no such signal is
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})


class _Socket:
    """An open WebSocket that is read elsewhere once greeted: ``recv`` returns what was fed."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._fed: list[bytes] = []

    @property
    def protocol(self) -> Any:
        return self._socket.protocol

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


class Line:
    """What was asked of one server, and the connection to it. Only ``put`` is called from outside.

    tell(this line, the name of one of the link's signals, its value): called on a thread of ours.
    server: the id of a Server, which stays; where it is, ``aim`` says.
    """

    def __init__(
        self,
        folder: Path,
        server: str,
        tell: Callable[[Line, str, object], None],
        mailbox: Mailbox,
    ) -> None:
        self.thread = threading.Thread(target=self._run, name="velatura-link", daemon=True)
        self.mailbox = mailbox
        self._folder = folder
        self._pass = tell
        self._ledger = Ledger()
        self._session = SessionFile(folder, server)
        self._target: Server | None = None
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._state: LinkState | None = None
        self._client: Client | None = None
        self._socket: _Socket | None = None
        self._launched: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._ended = False
        self._lives: set[str] = set()  # live canvases that are open, or being closed
        self._errors: tuple[type[BaseException], ...] = (OSError,)
        self._connect: Callable[..., Any] = lambda *args, **options: None

    def put(self, wish: Callable[[], None]) -> None:
        self._inbox.put(wish)

    def _say(self, signal: str, value: object) -> None:
        self._pass(self, signal, value)

    # Wishes

    def aim(self, server: Server | None) -> None:
        """Talk to ``server`` from now on, anew if it is the same; None: rest. Nothing is forgotten."""
        self._close()
        self._end_lives()
        self._target, self._state, self._failures = server, None, 0

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
            self._say("live", m.LiveClosed(job=job))

    def launch(self) -> None:
        found = read_launch(self._folder)
        if found is None:
            self._tell(
                LinkState(
                    state.NO_SERVER,
                    "No server is installed on this computer: take a release's zip, or run `velatura "
                    "plugin install` once.",
                )
            )
            return
        self._tell(STARTING)
        try:
            self._launched = start_detached(found.command, self._folder / "server-start.log")
        except OSError as error:
            self._tell(
                LinkState(
                    state.NO_SERVER,
                    tr(
                        "{program} did not start ({why}): repair the server from the light's menu.",
                        program=found.command[0],
                        why=error.strerror,
                    ),
                )
            )

    def end_server(self) -> None:
        """Ask the server of this computer to end, where it answered us: its process is the one that
        is written down, and no other that got its number."""
        running = read_running(self._folder)
        if self._client is not None and running is not None:
            with contextlib.suppress(OSError):
                os.kill(running.pid, signal.SIGTERM)

    def hang_up(self) -> None:
        self._ended = True

    # The thread

    def _run(self) -> None:
        _outlive_what_is_torn()
        # Importing costs a tenth of a second, which the GUI thread does not have.
        self._connect, self._errors = websockets()
        while not self._ended:
            if self._target is None:
                self._inbox.get()()
            elif self._open(self._target):
                while self._client is not None and not self._ended:
                    self._inbox.get()()
            else:
                self._wait()
        self._close()
        self._session.release()

    def _wait(self) -> None:
        """Until it is time for another attempt, or something is wished for."""
        pause = BACK_OFF[min(self._failures, len(BACK_OFF)) - 1] if self._failures else LOOK_EVERY
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=pause)()

    def _place(self, server: Server) -> tuple[str, str] | None:
        """(URL, token); None where no server runs on this computer. Raises LocalError."""
        if server.id:
            return server.place
        self._watch_launched()
        running, token = read_running(self._folder), read_token(self._folder)
        return None if running is None or token is None else (running.url, token)

    def _open(self, server: Server) -> bool:
        """One attempt. True when the conversation can go on."""
        try:
            place = self._place(server)
        except LocalError as error:
            self._failures += 1
            self._tell(LinkState(state.REFUSED, error.message))
            return False
        if place is None:
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
                connect, *place, NAME, session=self._session.read(), timeout=5.0
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
            said = refused(error, place[0], tr, is_here=not server.id)
            if said is None:
                self._no_server()
            else:
                self._tell(said)
            return False
        self._greeted(client, opened[0])
        return True

    def _greeted(self, client: Client, socket: _Socket) -> None:
        self._client, self._socket = client, socket
        self._failures = 0
        self._launched = None
        self._session.write(client.welcome.session)
        self._tell(LinkState(state.LOADING, "Connected."))
        self._say("limits", client.welcome.limits)
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
            self._say("live", event)
        elif isinstance(event, (m.Progress, m.Preview)):
            self.mailbox.put(event)
        elif isinstance(event, m.Result):
            if self._ledger.take(event):
                self._say("result", event)
            else:
                self._acknowledge(event.job)
        elif isinstance(event, m.Error) and event.job is not None:
            if self._ledger.take(event):
                self._say("failed", event)
            self._acknowledge(event.job)
        elif isinstance(event, m.ControlMap):
            if self._ledger.take(event):
                self._say("control_map", event)
            self._acknowledge(event.job)
        elif isinstance(event, m.Catalogue):
            self._say("catalogue", event.models)
            self._say("addons", event.addons)
            self._say("styles", event.styles)
        elif isinstance(event, m.Status):
            self._tell(state.worker_state(event, tr))

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
                self._say("live", refusal)
                if not isinstance(message, (m.LiveOpen, m.LiveClose)):
                    self._send(m.LiveClose(job=job))
            elif isinstance(message, (m.Generate, m.Annotate)) and self._ledger.take(refusal):
                self._say("failed", refusal)
        except self._errors:
            self._lost(self._socket)

    def _over(self, job: str) -> None:
        self._say("failed", m.Error(code="cancelled", message="Cancelled.", job=job))

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
            self._say("state_changed", new)

    def _no_server(self) -> None:
        if self._launched is not None:
            self._tell(STARTING)
        elif self._state is None or self._state.kind != state.NO_SERVER:
            self._tell(NO_SERVER)

    def _watch_launched(self) -> None:
        """A server that ends before it listens says why in its log."""
        if self._launched is None or self._launched.poll() is None:
            return
        code, self._launched = self._launched.returncode, None
        last = last_line(self._folder / "server-start.log") or tr("it said nothing")
        said = tr("The server stopped ({code}): {last}", code=code, last=last)
        self._tell(LinkState(state.NO_SERVER, said))
