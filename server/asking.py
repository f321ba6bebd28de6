"""How the command line asks the server that runs on this machine."""

from __future__ import annotations

from velatura.protocol import messages as m
from velatura.protocol.client import Client, open_websocket
from velatura.protocol.discovery import data_folder, read_running, read_token
from velatura.protocol.errors import ProtocolError


def connect_here() -> Client | None:
    """A connection to this machine's server; None when none runs."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    running, token = read_running(data_folder()), read_token(data_folder())
    if running is None or token is None:
        return None
    try:
        return open_websocket(connect, running.url, token, "velatura command line")
    except (OSError, WebSocketException, ProtocolError):  # a server.json that outlived its server
        return None


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
    client = connect_here()
    if client is None:
        return ()
    with client:
        _, catalogue = hear(client)
    return () if catalogue is None else catalogue.models
