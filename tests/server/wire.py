"""What a client sees on the wire when it does not use ours: bare handshakes and raw messages."""

from __future__ import annotations

import base64
import os
import socket

from harness import ServerProcess
from velatura.protocol import messages as m
from velatura.protocol.client import SUBPROTOCOL, Client
from velatura.protocol.codec import encode
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


def shake_hands(server: ServerProcess, *lines: str, host: str | None = None) -> tuple[str, str]:
    """(status line, headers) of the answer to a bare handshake with these header lines."""
    key = base64.b64encode(os.urandom(16)).decode()
    request = "\r\n".join(
        [
            "GET / HTTP/1.1",
            f"Host: {host or f'127.0.0.1:{server.port}'}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *lines,
            "\r\n",
        ]
    )
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(request.encode("latin-1"))
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = raw.recv(4096)
            if not piece:
                break
            answer += piece
    status, _, headers = answer.decode("latin-1").partition("\r\n")
    return status[len("HTTP/1.1 ") :][:3], headers


def bearer(server: ServerProcess) -> str:
    return f"Authorization: Bearer {server.token}"


def raw_socket(server: ServerProcess, **options) -> ClientConnection:
    """An open WebSocket that has not said hello."""
    return connect(
        server.url,
        additional_headers={"Authorization": f"Bearer {server.token}"},
        subprotocols=[SUBPROTOCOL],
        compression=None,
        proxy=None,
        **options,
    )


def blob(message: m.Message) -> bytes:
    return b"".join(encode(message))


def how_it_ends(socket: ClientConnection) -> tuple[int, list[str | bytes]]:
    """The close code, and what was said before."""
    said = []
    try:
        while True:
            said.append(socket.recv(20))
    except ConnectionClosed as closed:
        return closed.rcvd.code, said


def closes_with(client: Client) -> int:
    try:
        while True:
            client.receive(20)
    except ConnectionClosed as closed:
        return closed.rcvd.code
