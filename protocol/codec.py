"""Message <-> bytes.

A message on the wire is one binary blob (one WebSocket message):

    4 bytes   length H of the header, little-endian unsigned
    H bytes   the header, a UTF-8 JSON object: "type", the fields, and "pictures"
    rest      the pictures' bytes, one after the other, in the order of "pictures"

A field that is a picture holds its index in "pictures"; each entry there gives width, height,
format, encoding and bytes (its length on the wire).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from .errors import LocalError, RemoteError
from .fields import dump_record, load_record
from .messages import NAMES, TYPES, Message
from .pixels import ENCODINGS, FORMATS, LARGEST_SIDE, Image

LARGEST_HEADER = 4 << 20
LARGEST_MESSAGE = 512 << 20
LARGEST_PICTURE = 1 << 26  # pixels: 8192 x 8192
# Bytes of all pictures of one message, unpacked: it must fit into a raw message again.
LARGEST_PICTURES = LARGEST_MESSAGE - LARGEST_HEADER
MOST_PICTURES = 16
FRAGMENT = 256 << 10
_LENGTH = struct.Struct("<I")
# Over a network bandwidth is short, not time: the fastest level already halves painted pixels.
_ZLIB_LEVEL = 1


def encode(message: Message, encoding: str = "raw") -> list[bytes | memoryview]:
    """The blob of a message as a list of parts; join them, or send them as fragments.

    Raw pixels are not copied. ``encoding`` is one of ENCODINGS.
    """
    pictures: list[Image] = []
    header: dict[str, Any] = {"type": NAMES[type(message)], **dump_record(message, pictures)}
    parts = [
        zlib.compress(picture.data, _ZLIB_LEVEL)
        if encoding == "zlib"
        else memoryview(picture.data).cast("B")
        for picture in pictures
    ]
    header["pictures"] = [
        {
            "width": picture.width,
            "height": picture.height,
            "format": picture.format,
            "encoding": encoding,
            "bytes": len(part),
        }
        for picture, part in zip(pictures, parts)  # noqa: B905  strict= needs Python 3.10's zip; lengths are equal
    ]
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    head = text.encode("utf-8")
    if len(head) > LARGEST_HEADER:
        raise LocalError("too_large", f"A message's header is at most {LARGEST_HEADER} bytes.")
    return [_LENGTH.pack(len(head)) + head, *parts]


def fragments(parts: list[bytes | memoryview], size: int = FRAGMENT) -> Iterator[memoryview]:
    """The same bytes in pieces of at most ``size``: WebSocket fragments.

    They are views, not copies. Over a network each is masked, which holds the interpreter lock for a
    millisecond; a whole picture would hold it for many.
    """
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), size):
            yield view[start : start + size]


def _malformed(sentence: str) -> RemoteError:
    return RemoteError("malformed", sentence)


def _no_constant(constant: str) -> None:
    raise ValueError(constant)


def _header(blob: memoryview) -> tuple[dict[str, Any], memoryview]:
    if len(blob) < _LENGTH.size:
        raise _malformed("The message is shorter than its 4-byte header length.")
    (length,) = _LENGTH.unpack_from(blob)
    if length > LARGEST_HEADER:
        raise RemoteError("too_large", f"A message's header is at most {LARGEST_HEADER} bytes.")
    if length > len(blob) - _LENGTH.size:
        raise _malformed("The message ends inside its header.")
    try:
        header = json.loads(
            str(blob[_LENGTH.size : _LENGTH.size + length], "utf-8"), parse_constant=_no_constant
        )
    # RecursionError: ten thousand nested brackets.
    except (ValueError, RecursionError):
        raise _malformed("The header is not JSON in UTF-8.") from None
    if not isinstance(header, dict):
        raise _malformed("The header is not a JSON object.")
    return header, blob[_LENGTH.size + length :]


def _whole(entry: Any, key: str, most: int) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _malformed(f"A picture's {key} must be a whole number up to {most}.")
    return value


def _picture(entry: Any, rest: memoryview, largest: int, room: int) -> tuple[Image, memoryview]:
    """room: bytes that it may take, unpacked."""
    width = _whole(entry, "width", LARGEST_SIDE)
    height = _whole(entry, "height", LARGEST_SIDE)
    length = _whole(entry, "bytes", LARGEST_MESSAGE)
    pixel_format, encoding = entry.get("format"), entry.get("encoding", "raw")
    if not isinstance(pixel_format, str) or pixel_format not in FORMATS:
        raise _malformed("A picture's format must be one of " + ", ".join(FORMATS) + ".")
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise _malformed("A picture's encoding must be one of " + ", ".join(ENCODINGS) + ".")
    if width * height > largest:
        raise RemoteError("too_large", f"A picture has at most {largest} pixels.")
    if length > len(rest):
        raise _malformed("The message ends inside a picture.")
    size = width * height * FORMATS[pixel_format]
    if size > room:
        raise RemoteError(
            "too_large",
            f"All pictures of a message have at most {LARGEST_PICTURES} bytes, unpacked.",
        )
    data: bytes | memoryview = rest[:length]
    if encoding == "zlib":
        unpacker = zlib.decompressobj()
        try:  # never unpacks more than the declared size: no bomb
            data = unpacker.decompress(data, size + 1)
        except zlib.error:
            raise _malformed("A picture's zlib stream is broken.") from None
        if not unpacker.eof or unpacker.unused_data:
            raise _malformed("A picture's zlib stream does not end with its pixels.")
    if len(data) != size:
        raise _malformed(f"A picture has {len(data)} bytes where its size needs {size}.")
    try:
        return Image(width, height, pixel_format, data), rest[length:]
    except LocalError as error:
        raise _malformed(error.message) from None


def decode(
    blob: bytes | bytearray | memoryview, *, largest_picture: int = LARGEST_PICTURE
) -> Message:
    """The message in ``blob``. Pixels are views into it, not copies.

    largest_picture: pixels. Raises RemoteError and nothing else; ``job`` is set where the header
    names one, so that the answer can name it too.
    """
    view = memoryview(blob).cast("B").toreadonly()
    header, rest = _header(view)
    entries = header.get("pictures", [])
    if not isinstance(entries, list) or len(entries) > MOST_PICTURES:
        raise _malformed(f"pictures must be a list of at most {MOST_PICTURES}.")
    pictures: list[Image] = []
    room = LARGEST_PICTURES
    for entry in entries:
        picture, rest = _picture(entry, rest, largest_picture, room)
        room -= len(picture.data)
        pictures.append(picture)
    if rest:
        raise _malformed(f"{len(rest)} bytes follow the last picture.")
    kind = header.get("type")
    cls = TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise RemoteError("unknown_type", "The message's type is not one of this version.")
    try:
        return load_record(cls, header, pictures)  # type: ignore[no-any-return]
    except LocalError as error:
        job = header.get("job")
        raise RemoteError(
            error.code,
            error.message,
            field=error.field,
            job=job if isinstance(job, str) and _is_uuid(job) else None,
        ) from None


def _is_uuid(value: str) -> bool:
    try:
        TYPES["cancel"](job=value)  # type: ignore[call-arg]
    except LocalError:
        return False
    return True
