"""The door: who may come in, and bytes <-> messages. Knows no pixels and never imports torch."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import ipaddress
import logging
import ssl
import time
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import urlsplit

from velatura.protocol import messages as m
from velatura.protocol.client import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from velatura.protocol.codec import fragments
from velatura.protocol.connection import ABSENT, OPEN, SERVER, Connection
from velatura.protocol.errors import LocalError, RemoteError
from velatura.protocol.pixels import ENCODINGS
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from . import __version__
from .outbox import Outbox
from .results import Stored
from .sessions import Sessions
from .settings import Settings, StartError, is_loopback
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
        self._token = token.encode()
        self._sessions = sessions
        self._studio = studio
        self._server: Server | None = None
        self._open = 0
        self.port = settings.port

    async def start(self) -> None:
        """Raises StartError when the address cannot be had."""
        settings = self._settings
        tls = None
        if settings.certificate is not None and settings.key is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            try:
                tls.load_cert_chain(settings.certificate, settings.key)
            except ssl.SSLError as error:
                raise StartError(
                    f"{settings.certificate} and {settings.key} are not a PEM certificate and its "
                    f"key ({error.reason}): check both files."
                ) from None
        try:
            self._server = await serve(
                self._converse,
                settings.host,
                settings.port,
                ssl=tls,
                process_request=self._refuse,
                select_subprotocol=_select,
                compression=None,
                max_size=settings.limits.message_bytes,
                max_queue=4,
                write_limit=1 << 20,
                open_timeout=settings.hello_timeout,
                ping_interval=_PING_INTERVAL,
                ping_timeout=_PING_TIMEOUT,
                close_timeout=_CLOSE_TIMEOUT,
                server_header=None,
            )
        except OSError as error:
            raise StartError(
                f"Cannot listen on {settings.host} port {settings.port} "
                f"({error.strerror or error}): choose another with --port."
            ) from None
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close(code=1001, reason="The server stops.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 0.5)

    # --- before the handshake --------------------------------------------------------------------

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to who may not come in; None lets the handshake go on."""
        headers = request.headers
        if not self._is_our_host(headers.get_all("Host")):
            return self._refused(connection, 403, "This server does not go by that name.")
        origins = headers.get_all("Origin")
        if origins and (len(origins) > 1 or origins[0] not in self._settings.origins):
            return self._refused(connection, 403, "Web pages may not connect.")
        if not self._has_token(request):
            return self._refused(connection, 401, "The token is missing or wrong.")
        if self._open >= self._settings.most_connections:
            return self._refused(connection, 503, "Too many connections: close one first.")
        return None

    def _refused(self, connection: ServerConnection, status: int, sentence: str) -> Response:
        _log.warning("refused with %d: %s", status, sentence)
        return connection.respond(http.HTTPStatus(status), sentence + "\n")

    def _is_our_host(self, hosts: Sequence[str]) -> bool:
        """Against DNS rebinding: a page's name that points at us is still the page's name.

        An address cannot be rebound, so on a network any will do.
        """
        if len(hosts) != 1:
            return False
        try:
            parts = urlsplit("//" + hosts[0])
            name, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        default = 443 if self._settings.certificate else 80
        if parts.netloc != hosts[0] or "@" in hosts[0] or (port or default) != self.port:
            return False
        if is_loopback(name) or name in self._settings.host_names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._settings.listen_on_network

    def _has_token(self, request: Request) -> bool:
        offered = [
            value.split(None, 1)[1].strip()
            for value in request.headers.get_all("Authorization")
            if value.lower().startswith("bearer ") and len(value.split(None, 1)) == 2
        ]
        for line in request.headers.get_all("Sec-WebSocket-Protocol"):
            for name in line.split(","):
                if name.strip().startswith(TOKEN_SUBPROTOCOL):
                    offered.append(name.strip()[len(TOKEN_SUBPROTOCOL) :])
        right = [
            hmac.compare_digest(one.encode("utf-8", "replace"), self._token) for one in offered
        ]
        return bool(right) and all(right)

    # --- after it --------------------------------------------------------------------------------

    async def _converse(self, socket: ServerConnection) -> None:
        if self._open >= self._settings.most_connections:  # many shook hands at once
            await socket.close(RATE, "Too many connections.")
            return
        self._open += 1
        try:
            await self._conversation(socket)
        except ConnectionClosed:
            pass  # said by websockets in the log; the session keeps what was not delivered
        finally:
            self._open -= 1

    async def _conversation(self, socket: ServerConnection) -> None:
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

    async def _close(self, socket: ServerConnection, ended: _Ended) -> None:
        _log.warning("closed with %d: %s", ended.code, ended)
        await socket.close(ended.code, ended.error.code)

    async def _greet(
        self, socket: ServerConnection, connection: Connection
    ) -> tuple[str, list[bytes | memoryview]]:
        """The session's key and the bytes of the welcome that answers the hello."""
        try:
            async with asyncio.timeout(self._settings.hello_timeout):
                blob = await socket.recv()
        except TimeoutError:
            _end("illegal_state", "Say hello first.", HELLO_TIMEOUT)
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
        self, socket: ServerConnection, connection: Connection, session: str, outbox: Outbox
    ) -> None:
        bucket = _Bucket(self._settings.messages_per_second, self._settings.message_burst)
        async for blob in socket:
            if not bucket.take():
                _end("rate_limited", "Too many messages in a short time: slow down.")
            try:
                if len(blob) > _LARGE:
                    message = await asyncio.to_thread(_parse, connection, blob)
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
                continue
            self._take(connection, session, message)

    def _take(self, connection: Connection, session: str, message: m.Message) -> None:
        if isinstance(message, (m.Generate, m.Annotate)):
            self._studio.submit(session, message)
        elif isinstance(message, m.Cancel):
            self._studio.cancel(session, message.job)
        elif isinstance(message, m.Acknowledge):
            # Before its final answer was sent a job cannot be acknowledged.
            if connection.job_state(message.job) != OPEN:
                self._studio.acknowledge(session, message.job)
        elif isinstance(message, m.LiveOpen):
            self._studio.open_live(session, message)
        elif isinstance(message, (m.LiveSettings, m.LiveFrame)):
            self._studio.change_live(session, message)
        elif isinstance(message, m.LiveClose):
            self._studio.close_live(session, message.job)

    async def _write(
        self,
        socket: ServerConnection,
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
                for answer in await delivery.read(waiting):
                    await self._send(socket, connection, answer)
            else:
                await self._send(socket, connection, waiting)
                if isinstance(waiting, m.LiveResult):
                    self._studio.sent_live(session, waiting.job)

    async def _send(
        self, socket: ServerConnection, connection: Connection, message: m.Message
    ) -> None:
        try:
            if connection.encoding == "raw":
                parts = connection.send(message)
            else:
                parts = await asyncio.to_thread(connection.send, message)
        except LocalError as error:
            # A job that the client does not wait for any more.
            _log.warning("not sent: %s", error.message)
            return
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
