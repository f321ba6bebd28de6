"""The same messages over a byte stream (a pipe): each blob behind its length.

8 bytes   length of the blob, little-endian unsigned

A blob of length 0 is a heartbeat: who reads one from its input writes one to its output.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .codec import LARGEST_MESSAGE
from .errors import RemoteError

_LENGTH = struct.Struct("<Q")
HEARTBEAT: list[bytes | memoryview] = [b""]


def write_blob(
    write: Callable[[bytes | memoryview], int | None], parts: list[bytes | memoryview]
) -> None:
    """``parts`` of one blob (see codec.encode), to a blocking ``write`` such as a raw file's."""
    head, *pictures = parts
    length = _LENGTH.pack(sum(len(part) for part in parts))
    for part in (length + bytes(head), *pictures):
        view = memoryview(part)
        while view:
            view = view[write(view) or 0 :]


def read_blob(
    readinto: Callable[[memoryview], int | None], *, largest: int = LARGEST_MESSAGE
) -> bytearray | None:
    """The next blob from a blocking ``readinto`` such as a raw file's; None at the stream's end.

    An empty one is a heartbeat.

    Raises RemoteError when the stream ends inside a blob or a blob is longer than ``largest``.
    """
    head = bytearray(_LENGTH.size)
    there = _fill(head, readinto)
    if not there:
        return None
    if there == len(head):
        (length,) = _LENGTH.unpack(head)
        if length > largest:
            raise RemoteError("too_large", f"A message is at most {largest} bytes.")
        blob = bytearray(length)
        if _fill(blob, readinto) == length:
            return blob
    raise RemoteError("malformed", "The stream ended inside a message.")


def _fill(data: bytearray, readinto: Callable[[memoryview], int | None]) -> int:
    """How many bytes of ``data`` there were: each is written once, to where it stays."""
    with memoryview(data) as view:
        there = 0
        while there < len(view) and (count := readinto(view[there:])):
            there += count
    return there
