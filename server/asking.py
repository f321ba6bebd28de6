"""How the command line asks the server that runs on this machine."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from typing import Any

from velatura.protocol import messages as m
from velatura.protocol.client import Client, open_websocket
from velatura.protocol.discovery import Running, data_folder, read_running, read_token
from velatura.protocol.errors import ProtocolError

_START = "Start one: velatura serve"
_REFUSALS = {
    401: "does not take the token in Velatura's data folder: it was started with another one.",
    403: "refuses this machine's own name for it: look at its log.",
    503: "has no room for one more connection: close another program that uses it.",
}


class AskError(Exception):
    """Why the server cannot be asked: one sentence.

    running  it is the one that took our token, so that it can be ended
    hint     a second sentence, on what to do
    """

    def __init__(self, sentence: str, running: Running | None = None, hint: str = "") -> None:
        super().__init__(sentence)
        self.running = running
        self.hint = hint


def connect_here() -> tuple[Running, Client]:
    """This machine's server, and a connection to it. Raises AskError."""
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    folder = data_folder()
    running, token = read_running(folder), read_token(folder)
    if running is None:
        raise AskError("No server runs.", hint=_START)
    who = f"The server at {running.url}, process {running.pid},"
    if token is None:
        raise AskError(f"{who} cannot be asked: the file {folder / 'token'} is missing or damaged.")
    try:
        client = open_websocket(
            _trusting(running, connect), running.url, token, "velatura command line"
        )
    except ssl.SSLError as error:
        raise AskError(
            f"{who} shows another certificate than {running.certificate or 'a known one'} "
            f"({error.reason}): is another program at its port?"
        ) from None
    except ConnectionRefusedError:
        # A server.json that outlived its server.
        raise AskError("No server runs any more.", hint=_START) from None
    except InvalidStatus as error:
        status = error.response.status_code
        how = _REFUSALS.get(status, f"refuses a connection (HTTP {status}): look at its log.")
        raise AskError(f"{who} {how}", running if status == 503 else None) from None
    except TimeoutError:
        raise AskError(f"{who} does not answer: end that process, and start it again.") from None
    except ProtocolError as error:
        raise AskError(f"{who} says: {error.message}", running) from None
    except (OSError, WebSocketException) as error:
        raise AskError(f"{who} cannot be reached: {error}.") from None
    return running, client


def _trusting(running: Running, connect: Callable[..., Any]) -> Callable[..., Any]:
    """``connect`` that trusts the certificate with which ``running`` was started, and no other."""
    if not running.tls or not running.certificate:
        return connect
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The name in it is the one that other machines use.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(running.certificate)
    except OSError as error:
        sentence = f"{running.certificate}, the server's certificate, cannot be read"
        raise AskError(f"{sentence}: {error.strerror or error}.") from None
    return functools.partial(connect, ssl=context)


def hear(client: Client) -> tuple[m.Status, m.Catalogue | None]:
    """The worker's state, and its catalogue once it has one."""
    status = None
    try:
        while True:
            event = client.receive(1.0 if status is None else 0.2)
            if isinstance(event, m.Status):
                status = event
            if isinstance(event, m.Catalogue):
                return status or m.Status(worker="ready"), event
    except TimeoutError:
        return status or m.Status(worker="starting"), None


def ask_catalogue() -> tuple[m.ModelInfo, ...]:
    """What the server that runs here can paint with; nothing when none runs or is ready."""
    try:
        _, client = connect_here()
    except AskError:
        return ()
    with client:
        _, catalogue = hear(client)
    return () if catalogue is None else catalogue.models
