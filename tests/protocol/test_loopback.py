"""Frames to this machine: any WebSocket server reads them, and nothing was copied."""

from __future__ import annotations

import pytest
from velatura.protocol.client import open_websocket
from velatura.protocol.loopback import mask_with_zeros
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol


def unmasked() -> Protocol:
    protocol = Protocol(CLIENT, state=OPEN)
    mask_with_zeros(protocol)
    return protocol


def received(protocol: Protocol) -> list[tuple[Opcode, bool, bytes]]:
    """What a server makes of all that ``protocol`` wants to send."""
    pieces = protocol.data_to_send()
    assert all(pieces)  # an empty one would end the stream
    server = Protocol(SERVER, state=OPEN)
    server.receive_data(b"".join(pieces))
    assert server.parser_exc is None
    return [(frame.opcode, frame.fin, bytes(frame.data)) for frame in server.events_received()]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 300_000])
def test_a_server_reads_frames_of_every_length(length):
    protocol, data = unmasked(), bytes(range(256)) * (length // 256 + 1)
    protocol.send_binary(data[:length])
    assert received(protocol) == [(Opcode.BINARY, True, data[:length])]


def test_a_server_reads_fragments_pings_and_the_goodbye():
    protocol = unmasked()
    protocol.send_binary(b"first", fin=False)
    protocol.send_ping(b"there?")
    protocol.send_continuation(b"", fin=True)
    protocol.send_close(1000, "bye")
    assert received(protocol) == [
        (Opcode.BINARY, False, b"first"),
        (Opcode.PING, True, b"there?"),
        (Opcode.CONT, True, b""),
        (Opcode.CLOSE, True, b"\x03\xe8bye"),
    ]


def test_pixels_are_sent_from_where_they_lie():
    protocol, pixels = unmasked(), memoryview(bytearray(1 << 18))
    protocol.send_binary(pixels)
    assert protocol.data_to_send()[-1] is pixels


class Silent:
    """A connection to a server that never answers."""

    def __init__(self) -> None:
        self.protocol = Protocol(CLIENT, state=OPEN)

    def send(self, message):
        for piece in message:
            self.protocol.send_binary(piece)

    def recv(self, timeout=None):
        raise TimeoutError

    def close(self):
        pass


@pytest.mark.parametrize(
    ("url", "is_plain"),
    [("ws://127.0.0.1:1", True), ("ws://localhost:1", True), ("ws://192.168.1.7:1", False)],
)
def test_what_leaves_this_machine_is_masked_at_random(url, is_plain):
    silent = Silent()
    with pytest.raises(TimeoutError):
        open_websocket(lambda *args, **options: silent, url, "token", "test")
    assert (b'"hello"' in b"".join(silent.protocol.data_to_send())) == is_plain
