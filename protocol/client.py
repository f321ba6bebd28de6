"""The thin blocking shell around the protocol: used by the plugin, the demo, tests, benchmarks.

The transport is passed in, so that the same code runs over the websockets package that the plugin
carries, the one that the server uses, or a pair of queues in a test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from . import messages as m
from .codec import fragments
from .connection import CLIENT, Connection
from .errors import RemoteError
from .loopback import mask_with_zeros
from .messages import Message
from .pixels import ENCODINGS

SUBPROTOCOL = "velatura.v1"
TOKEN_SUBPROTOCOL = "velatura.token."


class Transport(Protocol):
    """One open WebSocket, blocking. ``recv`` raises TimeoutError when ``timeout`` (s) passes."""

    def send(self, message: Iterable[bytes | memoryview]) -> None: ...

    def recv(self, timeout: float | None = None) -> Any: ...

    def close(self) -> None: ...


class Client:
    """A greeted connection. ``welcome`` is the server's answer; then ``send`` and ``receive``.

    Raises ProtocolError (LocalError, RemoteError) and whatever the transport raises.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        *,
        session: str | None = None,
        encodings: tuple[str, ...] = ("raw",),
        timeout: float = 10.0,
    ) -> None:
        self._transport = transport
        self._connection = Connection(CLIENT)
        self.send(m.Hello(version=m.VERSION, client=name, encodings=encodings, session=session))
        event = self.receive(timeout)
        if isinstance(event, m.Error):
            raise RemoteError(event.code, event.sentence, field=event.field)
        if not isinstance(event, m.Welcome):
            raise RemoteError("illegal_state", "The server did not answer the hello.")
        self.welcome = event

    def send(self, message: Message) -> None:
        self._transport.send(fragments(self._connection.send(message)))

    def receive(self, timeout: float | None = None) -> Message:
        """The next event; raises TimeoutError after ``timeout`` seconds without one."""
        blob = self._transport.recv(timeout)
        if isinstance(blob, str):
            raise RemoteError("malformed", "The server sent text; messages are binary.")
        return self._connection.receive(blob)

    def until_final(
        self, job: str, watch: Callable[[Message], None] = lambda event: None
    ) -> list[m.Result] | m.ControlMap:
        """All results of an open job; ``watch`` sees every event on the way.

        Raises RemoteError with the server's code when the job ends in an error.
        """
        results: list[m.Result] = []
        while True:
            event = self.receive()
            watch(event)
            if getattr(event, "job", None) != job:
                continue
            if isinstance(event, m.Error):
                raise RemoteError(event.code, event.sentence, field=event.field, job=job)
            if isinstance(event, m.ControlMap):
                return event
            if isinstance(event, m.Result):
                results.append(event)
                if event.last:
                    return results

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self.close()


def open_websocket(
    connect: Callable[..., Any],
    url: str,
    token: str,
    name: str,
    *,
    session: str | None = None,
    timeout: float = 10.0,
) -> Client:
    """A client over ``connect``, the ``websockets.sync.client.connect`` of any websockets >= 13.

    url: ws://127.0.0.1:PORT. The token travels in a header, never in the URL. Pixels travel raw and
    uncopied on this machine, packed to others.
    """
    near = url.split("://", 1)[-1].startswith(("127.0.0.1", "localhost", "[::1]"))
    transport = connect(
        url,
        additional_headers={"Authorization": f"Bearer {token}"},
        subprotocols=[SUBPROTOCOL],
        compression=None,
        max_size=None,
        open_timeout=timeout,
        # A proxy meant for the web has no business between a painter and their own machine.
        proxy=None,
    )
    if near:
        mask_with_zeros(transport.protocol)
    try:
        return Client(
            transport,
            name,
            session=session,
            encodings=("raw",) if near else tuple(reversed(ENCODINGS)),
            timeout=timeout,
        )
    except BaseException:
        transport.close()
        raise
