"""WebSocket frames to this machine, masked with zeros: what is sent is neither changed nor copied.

A mask that cannot be guessed keeps a web page from writing what a proxy on the way takes for its own
(RFC 6455, section 10.3). Here is neither page nor proxy, and in pure Python masking a picture of
1024 x 1024 pixels takes 10 ms, in which the painter's program stands still.
"""

from __future__ import annotations

import struct
from typing import Any

_FINAL = _MASKED = 0x80
# Bytes that are copied sooner than they are sent apart.
_SMALL = 1 << 16


def mask_with_zeros(protocol: Any) -> None:
    """Let ``protocol`` do so: the ClientProtocol of an open connection without extensions."""

    def send_frame(frame: Any) -> None:
        head = _head(frame.opcode, frame.fin, len(frame.data))
        if len(frame.data) < _SMALL:
            protocol.writes.append(head + frame.data)
        else:
            protocol.writes += (head, frame.data)

    protocol.send_frame = send_frame


def _head(opcode: int, is_final: bool, length: int) -> bytes:
    first, mask = opcode | (_FINAL if is_final else 0), bytes(4)
    if length < 126:
        return struct.pack("!BB4s", first, _MASKED | length, mask)
    if length < 1 << 16:
        return struct.pack("!BBH4s", first, _MASKED | 126, length, mask)
    return struct.pack("!BBQ4s", first, _MASKED | 127, length, mask)
