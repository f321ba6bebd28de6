"""Read and write what made a picture in its PNG: A1111's ``parameters`` and Velatura's recipe.

Bytes in, bytes out; pixels are never looked at. Sources: the PNG specification (third edition,
section 11.3.3); for ``parameters`` the text that A1111 writes and other programs read.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .errors import LocalError

PARAMETERS, RECIPE = "parameters", "velatura"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NEGATIVE = "Negative prompt:"
_FIELD = re.compile(r'\s*(\w[\w /-]*):\s*("(?:\\.|[^\\"])*"|[^,"]*)(?:,|$)')
# The last line is one of numbers when this many of them are on it, as A1111 judges it.
_FEWEST_FIELDS = 3
_FIRST_FIELD = "steps:"
_PLAIN_SCHEDULES = ("", "Automatic", "Uniform")
# Beside these fields the denoise strength is that of a second pass over a txt2img (hires fix), with
# the names that A1111 gave it over the years.
_SECOND_PASS = ("hires", "first pass size", "second pass")
# Fields that say what else was there, and change nothing that is read here.
_INFORMATIVE = (
    "version", "vae", "vae hash", "schedule type", "lora hashes", "ti hashes", "hashes", "app", "rng",
    "model hash", "emphasis", "parser", "user", "backend", "pipeline", "created date", "template",
    "negative template", "civitai resources", "civitai metadata", "ensd",
)  # fmt: skip
# The recipe's name -> A1111's, in its order.
_NAMES = {
    "steps": "Steps",
    "sampler": "Sampler",
    "guidance": "CFG scale",
    "seed": "Seed",
    "size": "Size",
    "digest": "Model hash",
    "model": "Model",
    "strength": "Denoising strength",
    "clip_skip": "Clip skip",
}


@dataclass(frozen=True)
class PngText:
    """``parameters`` is empty, ``recipe`` None, where a picture has none that can be read."""

    parameters: str = ""
    recipe: Mapping[str, Any] | None = None


def write_text(png: bytes, recipe: Mapping[str, Any]) -> bytes:
    """``png`` with what made it, in place of what it said before.

    Raises LocalError (``malformed``) when it is no PNG.
    """
    kept = [chunk for chunk in _chunks(png) if _keyword(*chunk) not in (PARAMETERS, RECIPE)]
    head, rest = kept[:1], kept[1:]
    said = [
        (b"iTXt", _international(PARAMETERS, to_parameters(recipe))),
        (b"iTXt", _international(RECIPE, json.dumps(recipe))),
    ]
    return _SIGNATURE + b"".join(_packed(*chunk) for chunk in (*head, *said, *rest))


def read_text(png: bytes, *, longest: int = 8 << 20) -> PngText:
    """What a PNG says of itself, whoever wrote it; texts beyond ``longest`` bytes are passed over.

    Raises LocalError (``malformed``) when it is no PNG.
    """
    found: dict[str, str] = {}
    for kind, data in _chunks(png):
        name = _keyword(kind, data)
        if name in (PARAMETERS, RECIPE) and name not in found:
            text = _text(kind, data, longest)
            if text is not None:
                found[name] = text
    try:
        recipe = json.loads(found.get(RECIPE, "null"))
    except (ValueError, RecursionError):
        recipe = None
    return PngText(found.get(PARAMETERS, ""), recipe if isinstance(recipe, dict) else None)


def to_parameters(recipe: Mapping[str, Any]) -> str:
    """A1111's text for a recipe: prompt, negative prompt, and one line of numbers."""
    lines = [_clean(str(recipe.get("prompt", "")))]
    if recipe.get("negative"):
        lines.append(f"{_NEGATIVE} {_clean(str(recipe['negative']))}")
    fields = []
    for name, theirs in _NAMES.items():
        value = recipe.get(name)
        if name == "size" and isinstance(value, Mapping):
            value = f"{value.get('width')}x{value.get('height')}"
        if isinstance(value, float):
            value = f"{value:g}"
        if value is not None:
            fields.append(f"{theirs}: {_quoted(_clean(str(value)))}")
    fields.append(f"Version: {_quoted('Velatura')}")
    return "\n".join((*lines, ", ".join(fields)))


def from_parameters(text: str) -> dict[str, Any]:
    """The recipe's fields that A1111's text holds: prompt, negative, and what numbers it has.

    ``unread``: names of the fields that made the picture what it is and have no place in a recipe.
    A prompt with a line that reads like one of the others cannot be told apart: that is the format.
    """
    lines, theirs_by_name = _split(text.replace("\r\n", "\n").strip().split("\n"))
    fields = {name.casefold(): value for name, value in theirs_by_name.items()}
    parts: tuple[list[str], list[str]] = ([], [])
    place = 0
    for line in lines:
        if place == 0 and line.lstrip().startswith(_NEGATIVE):
            place, line = 1, line.lstrip()[len(_NEGATIVE) :].lstrip(" ")
        parts[place].append(line)
    found: dict[str, Any] = {
        name: "\n".join(part).strip()
        for name, part in zip(("prompt", "negative"), parts, strict=True)
    }
    for name, theirs in _NAMES.items():
        value = _value(name, fields.get(theirs.casefold()))
        if value is not None:
            found[name] = value
    if any(name.startswith(_SECOND_PASS) for name in fields):
        found.pop("strength", None)
    read = {*_INFORMATIVE, *(theirs.casefold() for name, theirs in _NAMES.items() if name in found)}
    unread = [name for name in theirs_by_name if name.casefold() not in read]
    if unread:
        found["unread"] = unread
    schedule = fields.get("schedule type", "")
    if "sampler" in found and schedule not in _PLAIN_SCHEDULES:
        # Newer A1111 tells the two halves of a sampler's name apart.
        found["sampler"] = f"{found['sampler']} {schedule}"
    return found


def _split(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """(lines of the two prompts, fields of the line of numbers).

    That line begins with its steps, wherever it stands: other programs put lines of their own behind
    it. Else it is the last one, when it holds as many fields as A1111 wants to see.
    """
    first = [n for n, line in enumerate(lines) if line.lstrip().lower().startswith(_FIRST_FIELD)]
    for number in (*reversed(first), len(lines) - 1):
        fields = dict(_fields(lines[number]))
        if len(fields) >= _FEWEST_FIELDS:
            return lines[:number], fields
    return lines, {}


def _value(name: str, text: str | None) -> Any:
    """A field's value with its type; None where it is missing or something else."""
    if text is None:
        return None
    try:
        if name in ("steps", "seed", "clip_skip"):
            return int(text)
        if name in ("guidance", "strength"):
            return float(text)
    except ValueError:
        return None
    if name == "size":
        sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
        return {"width": int(sides[1]), "height": int(sides[2])} if sides else None
    return text


def _fields(line: str) -> Iterator[tuple[str, str]]:
    """A1111's "Name: value, Name: "quoted, value""; what is something else is passed over."""
    at = 0
    while 0 <= at < len(line):
        found = _FIELD.match(line, at)
        if found is None:
            at = line.find(",", at) + 1 or len(line)
            continue
        at = found.end()
        value = found[2]
        if not value.startswith('"'):
            yield found[1], value.strip()
            continue
        with suppress(ValueError):
            yield found[1], str(json.loads(value))


def _quoted(value: str) -> str:
    plain = value == value.strip() and not any(sign in value for sign in ',:\n"')
    return value if plain else json.dumps(value, ensure_ascii=False)


def _clean(text: str) -> str:
    """Text that a PNG may hold: no NUL, no other control characters, no half of a pair."""
    return _UNSENDABLE.sub("", text.replace("\r\n", "\n")).encode("utf-8", "replace").decode()


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, data) of each chunk up to the end. Raises LocalError for what is no PNG."""
    view, at = memoryview(png), len(_SIGNATURE)
    if bytes(view[:at]) != _SIGNATURE:
        raise LocalError("malformed", "It is not a PNG picture.")
    while at + 12 <= len(view):
        (length,) = struct.unpack(">I", view[at : at + 4])
        if at + 12 + length > len(view):
            break
        kind, data = bytes(view[at + 4 : at + 8]), bytes(view[at + 8 : at + 8 + length])
        (crc,) = struct.unpack(">I", view[at + 8 + length : at + 12 + length])
        if zlib.crc32(kind + data) != crc:
            raise LocalError("malformed", "The PNG picture is damaged: a checksum is wrong.")
        at += 12 + length
        yield kind, data
        if kind == b"IEND":
            return
    raise LocalError("malformed", "The PNG picture ends early.")


def _keyword(kind: bytes, data: bytes) -> str:
    # Some programs write its name with a capital.
    return data[:80].partition(b"\0")[0].decode("latin-1").lower() if kind in _TEXTS else ""


def _text(kind: bytes, data: bytes, longest: int) -> str | None:
    _, _, body = data.partition(b"\0")
    packed = kind == b"zTXt"
    if packed:
        body = body[1:]
    elif kind == b"iTXt":
        packed = body[:1] == b"\1"
        *_, body = body[2:].split(b"\0", 2)
    if packed:
        unpacker = zlib.decompressobj()
        try:
            # One byte more than allowed tells a longer text, however much longer it is.
            body = unpacker.decompress(body, longest + 1)
        except zlib.error:
            return None
    if len(body) > longest:
        return None
    try:
        # What the specification says of iTXt alone, and what many programs write into all of them.
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")


def _international(keyword: str, text: str) -> bytes:
    # Not compressed: Pillow, and so A1111, refuses compressed texts of more than 1 MiB.
    return keyword.encode("ascii") + b"\0\0\0\0\0" + text.encode("utf-8")


def _packed(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
