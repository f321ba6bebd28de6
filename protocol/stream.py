"""The same messages over a byte stream (a pipe): each blob behind its length.

8 bytes   length of the blob, little-endian unsigned
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .codec import LARGEST_MESSAGE
from .errors import RemoteError

_LENGTH = struct.Struct("<Q")


def pack(parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """``parts`` of one blob (see codec.encode) with the length in front."""
    return [_LENGTH.pack(sum(len(part) for part in parts)), *parts]


def read_blob(read: Callable[[int], bytes], *, largest: int = LARGEST_MESSAGE) -> bytearray | None:
    """The next blob from a blocking ``read(n)`` such as a raw file's; None at the stream's end.

    Raises RemoteError when the stream ends inside a blob or a blob is longer than ``largest``.
    """
    head = _read_exactly(read, _LENGTH.size)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > largest:
        raise RemoteError("too_large", f"A message is at most {largest} bytes.")
    blob = _read_exactly(read, length)
    if len(blob) != length:
        raise RemoteError("malformed", "The stream ended inside a message.")
    return blob


def _read_exactly(read: Callable[[int], bytes], count: int) -> bytearray:
    data = bytearray()
    while len(data) < count:
        piece = read(min(count - len(data), 1 << 20))
        if not piece:
            if data and count == _LENGTH.size:
                raise RemoteError("malformed", "The stream ended inside a message.")
            break
        data += piece
    return data
