"""The door: who may come in, and bytes <-> messages. Knows no pixels and never imports torch."""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import ssl
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from velatura.protocol import messages as m
from velatura.protocol.client import SUBPROTOCOL
from velatura.protocol.codec import fragments
from velatura.protocol.connection import ABSENT, OPEN, SERVER, Connection
from velatura.protocol.errors import LocalError, RemoteError
from velatura.protocol.pixels import ENCODINGS
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from . import __version__
from .admission import Admission, Refusal
from .bounded import Bounded, Budget, Room, Strangers
from .handles import connections_allowed
from .outbox import Outbox
from .results import Stored
from .sessions import Sessions
from .settings import Settings, StartError
from .studio import Studio

MALFORMED, UNKNOWN_SESSION, HELLO_TIMEOUT, VERSION = 4400, 4404, 4408, 4409
# Of RFC 6455, 7.4.1.
INTERNAL = 1011
REPLACED, TOO_LARGE, RATE = 4410, 4413, 4429
CAPABILITIES = ("live",)
_CLOSE = {
    "too_large": TOO_LARGE,
    "version": VERSION,
    "unknown_session": UNKNOWN_SESSION,
    "rate_limited": RATE,
}
# A slow disk or a suspended laptop is not a dead client.
_PING_INTERVAL, _PING_TIMEOUT, _CLOSE_TIMEOUT = 20.0, 60.0, 2.0
# Longer messages are parsed beside the loop: unpacking a large picture takes a while.
_LARGE = 1 << 20
# Connections that the system accepts for us before we have looked at them: each holds a file.
_BACKLOG = 32
# What a connection may hold besides its largest message.
_SLACK = 4 << 20
# Answers that wait for a client which goes on asking.
_MOST_UNREAD = 1024
_log = logging.getLogger("velatura.gateway")


class _Ended(Exception):
    """The conversation cannot go on: tell the client ``error``, then close with ``code``."""

    def __init__(self, code: int, error: m.Error) -> None:
        super().__init__(error.message)
        self.code = code
        self.error = error


def _end(code: str, sentence: str, close: int | None = None) -> NoReturn:
    raise _Ended(close or _CLOSE.get(code, MALFORMED), m.Error(code=code, message=sentence))


class _Bucket:
    """A token bucket: ``rate`` per second on average, ``burst`` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._left = self._burst
        self._then = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._then) * self._rate)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Gateway:
    """Listens between ``start`` and ``stop``; hands greeted clients to the studio."""

    def __init__(self, settings: Settings, token: str, sessions: Sessions, studio: Studio) -> None:
        self._settings = settings
        self._admission = Admission(settings, token)
        self._sessions = sessions
        self._studio = studio
        self._server: Server | None = None
        self._open = 0
        self._most_connections = settings.most_connections
        self._strangers = Strangers(
            most=settings.most_strangers,
            seconds=settings.handshake_timeout,
            encrypted=settings.certificate is not None,
        )
        largest = settings.limits.message_bytes
        self._budget = Budget(each=largest + _SLACK, all=2 * largest + 16 * _SLACK)
        self._answers = Room(largest)
        self._large = asyncio.Lock()
        # Bytes that came and went, for who looks after the memory.
        self.moved = 0
        self.port = settings.port

    async def start(self) -> None:
        """Raises StartError when the address cannot be had."""
        settings = self._settings
        allowed = connections_allowed(settings.most_connections + settings.most_strangers)
        # A painter's place is worth more than a stranger's, who is through in a moment.
        strangers = min(settings.most_strangers, max(2, allowed // 3))
        self._most_connections = min(settings.most_connections, allowed - strangers)
        self._strangers.most = strangers
        tls = None
        if settings.certificate is not None and settings.key is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            try:
                # A key with a password would ask for it on the terminal.
                tls.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
                raise StartError(
                    f"{settings.certificate} and {settings.key} are not a PEM certificate and its "
                    f"key, without a password ({reason}): check both files."
                ) from None
        try:
            self._server = await serve(
                self._converse,
                settings.host,
                settings.port,
                ssl=tls,
                create_connection=self._connection,
                backlog=_BACKLOG,
                **({} if tls is None else {"ssl_handshake_timeout": settings.handshake_timeout}),
                process_request=self._refuse,
                select_subprotocol=_select,
                compression=None,
                max_size=settings.limits.message_bytes,
                max_queue=4,
                write_limit=1 << 20,
                open_timeout=settings.handshake_timeout,
                ping_interval=_PING_INTERVAL,
                ping_timeout=_PING_TIMEOUT,
                close_timeout=_CLOSE_TIMEOUT,
                server_header=None,
            )
        except (OSError, ValueError) as error:  # ValueError: a name that is none
            raise StartError(
                f"Cannot listen on {settings.host} port {settings.port} "
                f"({getattr(error, 'strerror', None) or error}): choose another with --port."
            ) from None
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close(code=1001, reason="The server stops.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 0.5)

    # --- before the handshake --------------------------------------------------------------------

    def _connection(self, *given: Any, **more: Any) -> Bounded:
        self._strangers.begins()
        return Bounded(*given, strangers=self._strangers, budget=self._budget, **more)

    def _refuse(self, connection: Bounded, request: Request) -> Response | None:
        """The answer to who may not come in; None lets the handshake go on."""
        refusal = self._admission.refuse(request.headers, self.port)
        if refusal is None and self._open >= self._most_connections:
            refusal = Refusal(503, "Too many connections: close one first.")
        if refusal is None:
            connection.is_known()
            return None
        _log.warning("refused with %d: %s", refusal.status, refusal.sentence)
        return connection.respond(http.HTTPStatus(refusal.status), refusal.sentence + "\n")

    # --- after it --------------------------------------------------------------------------------

    async def _converse(self, socket: Bounded) -> None:
        if self._open >= self._most_connections:  # many shook hands at once
            await socket.close(RATE, "Too many connections.")
            return
        self._open += 1
        try:
            await self._conversation(socket)
        except ConnectionClosed:
            pass  # said by websockets in the log; the session keeps what was not delivered
        finally:
            self._open -= 1

    async def _conversation(self, socket: Bounded) -> None:
        limits = self._settings.limits
        connection = Connection(
            SERVER, most_jobs=limits.jobs, largest_picture=limits.picture_pixels
        )
        try:
            session, welcome = await self._greet(socket, connection)
        except _Ended as ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await socket.send(fragments(connection.send(ended.error)))
            await self._close(socket, ended)
            return
        # Attached before anything is awaited: the welcome names exactly the jobs that are told.
        outbox, replaced = Outbox(), asyncio.Event()
        self._studio.attach(session, outbox, replaced.set)
        reader = asyncio.create_task(self._read(socket, connection, session, outbox))
        writer = asyncio.create_task(self._write(socket, connection, session, outbox, welcome))
        other = asyncio.create_task(replaced.wait())
        tasks = (reader, writer, other)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if other.done():
                await socket.close(REPLACED, "The session was resumed elsewhere.")
            elif reader.done():
                reader.result()
            else:
                writer.result()
        except _Ended as ended:
            outbox.finish(ended.error)
            await asyncio.wait((writer,), timeout=_CLOSE_TIMEOUT)
            await self._close(socket, ended)
        finally:
            self._studio.detach(session, outbox)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, socket: Bounded, ended: _Ended) -> None:
        _log.warning("closed with %d: %s", ended.code, ended)
        await socket.close(ended.code, ended.error.code)

    async def _greet(
        self, socket: Bounded, connection: Connection
    ) -> tuple[str, list[bytes | memoryview]]:
        """The session's key and the bytes of the welcome that answers the hello."""
        try:
            async with asyncio.timeout(self._settings.hello_timeout):
                blob = await socket.recv()
        except TimeoutError:
            _end("illegal_state", "Say hello first.", HELLO_TIMEOUT)
        socket.taken()
        hello = _parse(connection, blob)
        if not isinstance(hello, m.Hello):  # the table of legal turns lets nothing else through
            _end("illegal_state", "Say hello first.")
        if hello.version != m.VERSION:
            older = "plugin" if hello.version < m.VERSION else "server"
            _end(
                "version",
                f"The plugin speaks version {hello.version} of the protocol and this server "
                f"version {m.VERSION}: update the {older}.",
            )
        try:
            identity = hello.session or self._sessions.create()
        except OSError as error:
            _end(
                "storage",
                "Results cannot be written to Velatura's data folder "
                f"({error.strerror or error}): free some space there, or make it writable.",
                INTERNAL,
            )
        if not self._sessions.resume(identity):
            _end("unknown_session", "That session is not known here: say hello without one.")
        session = self._sessions.key(identity)
        _log.info("%s is here", hello.client)
        welcome = m.Welcome(
            version=m.VERSION,
            server=f"Velatura {__version__}",
            session=identity,
            limits=self._settings.limits,
            capabilities=CAPABILITIES,
            encoding=next((name for name in hello.encodings if name in ENCODINGS), "raw"),
            jobs=self._studio.jobs(session),
        )
        return session, connection.send(welcome)

    async def _read(
        self, socket: Bounded, connection: Connection, session: str, outbox: Outbox
    ) -> None:
        bucket = _Bucket(self._settings.messages_per_second, self._settings.message_burst)
        async for blob in socket:
            if not bucket.take():
                _end("rate_limited", "Too many messages in a short time: slow down.")
            if len(outbox) > _MOST_UNREAD:
                _end("rate_limited", "Too many answers that nobody reads: slow down.")
            self.moved += len(blob)
            await self._read_one(connection, session, outbox, blob)
            del blob
            socket.taken()

    async def _read_one(
        self, connection: Connection, session: str, outbox: Outbox, blob: str | bytes
    ) -> None:
        try:
            if len(blob) > _LARGE:
                # One at a time: unpacked it may be many times as large.
                async with self._large:
                    message = await asyncio.to_thread(_parse, connection, blob)
                    if isinstance(message, (m.Generate, m.Annotate)):
                        await self._studio.submit(session, message)
                        return
            else:
                message = _parse(connection, blob)
        except RemoteError as error:
            # While a job is open its one final answer is still to come.
            open_job = error.job is not None and connection.job_state(error.job) != ABSENT
            outbox.put(
                m.Error(
                    code=error.code,
                    message=error.message,
                    job=None if open_job else error.job,
                    field=error.field,
                )
            )
            return
        await self._take(connection, session, message)

    async def _take(self, connection: Connection, session: str, message: m.Message) -> None:
        if isinstance(message, (m.Generate, m.Annotate)):
            await self._studio.submit(session, message)
        elif isinstance(message, m.Cancel):
            self._studio.cancel(session, message.job)
        elif isinstance(message, m.Acknowledge):
            # Before its final answer was sent a job cannot be acknowledged.
            if connection.job_state(message.job) != OPEN:
                self._studio.acknowledge(session, message.job)
        elif isinstance(message, m.LiveOpen):
            await self._studio.live_room()
            self._studio.open_live(session, message)
        elif isinstance(message, (m.LiveSettings, m.LiveFrame)):
            await self._studio.live_room()
            self._studio.change_live(session, message)
        elif isinstance(message, m.LiveClose):
            self._studio.close_live(session, message.job)

    async def _write(
        self,
        socket: Bounded,
        connection: Connection,
        session: str,
        outbox: Outbox,
        welcome: list[bytes | memoryview],
    ) -> None:
        await socket.send(fragments(welcome))
        delivery = self._studio.delivery(session)
        while not outbox.finished:
            waiting = await outbox.get()
            if isinstance(waiting, Stored):
                async with self._answers.hold(waiting.size):
                    for answer in await delivery.read(waiting):
                        await self._send(socket, connection, answer)
            else:
                await self._send(socket, connection, waiting)
                if isinstance(waiting, m.LiveResult):
                    self._studio.sent_live(session, waiting.job)

    async def _send(self, socket: Bounded, connection: Connection, message: m.Message) -> None:
        try:
            if connection.encoding == "raw":
                parts = connection.send(message)
            else:
                parts = await asyncio.to_thread(connection.send, message)
        except LocalError as error:
            # A job that the client does not wait for any more.
            _log.warning("not sent: %s", error.message)
            return
        self.moved += sum(map(len, parts))
        await socket.send(fragments(parts))


def _select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Never the one that carries the token."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


def _parse(connection: Connection, blob: str | bytes) -> m.Message:
    """Raises _Ended for what ends the conversation, RemoteError for what does not."""
    if isinstance(blob, str):
        _end("malformed", "Messages are binary.")
    try:
        return connection.receive(blob)
    except RemoteError as error:
        if error.fatal or connection.state != "ready":
            raise _Ended(
                _CLOSE.get(error.code, MALFORMED),
                m.Error(code=error.code, message=error.message, field=error.field),
            ) from None
        raise
