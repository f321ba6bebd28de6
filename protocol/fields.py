"""Field types of messages: each checks a value once, and turns it to and from JSON.

A message declares ``steps: int = integer(1, 150)``; the check runs when the message is built, on
either side of the wire, and its error names the field and what is allowed.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from typing import Any

from .errors import LocalError
from .pixels import Image

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029]")


def _reject(name: str, allowed: str) -> LocalError:
    return LocalError("invalid_field", f"{name} must be {allowed}.", field=name)


@dataclass(frozen=True)
class Kind:
    """How one field behaves. ``check(value, name)`` returns the value or raises LocalError.

    ``dump(value, images)`` returns JSON and appends pictures to ``images``;
    ``load(json, images)`` is its inverse, before ``check``.
    """

    check: Callable[[Any, str], Any]
    dump: Callable[[Any, list[Image]], Any] = lambda value, images: value
    load: Callable[[Any, Sequence[Image], str], Any] = lambda value, images, name: value


def _field(kind: Kind, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"kind": kind})


def integer(low: int, high: int, default: Any = MISSING) -> Any:
    """A whole number, low..high inclusive."""

    def check(value: Any, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _reject(name, f"a whole number from {low} to {high}")
        return value

    return _field(Kind(check), default)


def real(low: float, high: float, default: Any = MISSING) -> Any:
    """A finite number, low..high inclusive."""

    def check(value: Any, name: str) -> float:
        # The range is tested before float(): a whole number of any length must not overflow.
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or (isinstance(value, float) and not math.isfinite(value))
            or not low <= value <= high
        ):
            raise _reject(name, f"a number from {low:g} to {high:g}")
        return float(value)

    return _field(Kind(check), default)


def flag(default: Any = MISSING) -> Any:
    def check(value: Any, name: str) -> bool:
        if not isinstance(value, bool):
            raise _reject(name, "true or false")
        return value

    return _field(Kind(check), default)


def _text_kind(longest: int, shortest: int, pattern: str | None, allowed: str) -> Kind:
    compiled = re.compile(pattern) if pattern else None

    def check(value: Any, name: str) -> str:
        if (
            not isinstance(value, str)
            or not shortest <= len(value) <= longest
            or _CONTROL_CHARACTERS.search(value)
            or (compiled is not None and compiled.fullmatch(value) is None)
        ):
            raise _reject(name, allowed)
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _reject(name, "text without lone surrogates") from None
        return value

    return Kind(check)


def text(longest: int, default: Any = MISSING, *, shortest: int = 0) -> Any:
    """Unicode text of at most ``longest`` characters; tabs and line feeds, no other controls."""
    allowed = f"text of {shortest} to {longest} characters without control characters"
    return _field(_text_kind(longest, shortest, None, allowed), default)


def key(default: Any = MISSING) -> Any:
    """A key such as a model's name: 1 to 200 characters, one line. It is never used as a path."""
    return _field(
        _text_kind(200, 1, r"[^\n\t]+", "a name of 1 to 200 characters on one line"), default
    )


def uuid(default: Any = MISSING) -> Any:
    """A UUID in its usual lower-case form, made by the client."""
    pattern = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    return _field(_text_kind(36, 36, pattern, "a UUID in lower case with hyphens"), default)


def choice(values: Sequence[str], default: Any = MISSING) -> Any:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in values:
            raise _reject(name, "one of " + ", ".join(values))
        return value

    return _field(Kind(check), default)


def image(formats: Sequence[str], default: Any = MISSING) -> Any:
    """A picture; its pixels travel behind the header."""

    def check(value: Any, name: str) -> Image:
        if not isinstance(value, Image) or value.format not in formats:
            raise _reject(name, "a picture in " + " or ".join(formats))
        return value

    def dump(value: Image, images: list[Image]) -> int:
        images.append(value)
        return len(images) - 1

    def load(value: Any, images: Sequence[Image], name: str) -> Image:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(images):
            raise _reject(name, "the index of a picture in this message")
        return images[value]

    return _field(Kind(check, dump, load), default)


def record(cls: type, default: Any = MISSING) -> Any:
    """A nested dataclass of the same field types."""

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, cls):
            raise _reject(name, f"a {cls.__name__}")
        return value

    def load(value: Any, images: Sequence[Image], name: str) -> Any:
        return load_record(cls, value, images, name)

    return _field(Kind(check, dump_record, load), default)


def optional(inner: Any) -> Any:
    """The same field, or None (its default)."""
    kind: Kind = inner.metadata["kind"]

    def check(value: Any, name: str) -> Any:
        return None if value is None else kind.check(value, name)

    def dump(value: Any, images: list[Image]) -> Any:
        return None if value is None else kind.dump(value, images)

    def load(value: Any, images: Sequence[Image], name: str) -> Any:
        return None if value is None else kind.load(value, images, name)

    return _field(Kind(check, dump, load), None)


def several(inner: Any, most: int, default: Any = ()) -> Any:
    """A tuple of at most ``most`` values of the inner field type; a list in JSON."""
    kind: Kind = inner.metadata["kind"]

    def check(value: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(value, (tuple, list)) or len(value) > most:
            raise _reject(name, f"a list of at most {most}")
        return tuple(kind.check(item, f"{name}[{i}]") for i, item in enumerate(value))

    def dump(value: Any, images: list[Image]) -> Any:
        return [kind.dump(item, images) for item in value]

    def load(value: Any, images: Sequence[Image], name: str) -> Any:
        if not isinstance(value, list) or len(value) > most:
            raise _reject(name, f"a list of at most {most}")
        return tuple(kind.load(item, images, f"{name}[{i}]") for i, item in enumerate(value))

    return _field(Kind(check, dump, load), default)


def json_object(longest: int = 65536) -> Any:
    """Any JSON object whose text is at most ``longest`` characters; the server's own record."""

    def check(value: Any, name: str) -> Any:
        from json import dumps  # the encoder is the judge of what JSON is

        try:
            # As a message spells it (codec.encode): a letter of any script is one character.
            text = dumps(value, allow_nan=False, ensure_ascii=False)
            text.encode("utf-8")
            if isinstance(value, dict) and len(text) <= longest:
                return value
        except (TypeError, ValueError, RecursionError):
            pass
        raise _reject(name, f"a JSON object of at most {longest} characters")

    return _field(Kind(check), MISSING)


def check_record(value: Any, prefix: str = "") -> None:
    """Check every field of a frozen dataclass in place; called from ``__post_init__``."""
    for field in dataclasses.fields(value):
        kind: Kind = field.metadata["kind"]
        checked = kind.check(getattr(value, field.name), prefix + field.name)
        object.__setattr__(value, field.name, checked)


def dump_record(value: Any, images: list[Image]) -> dict[str, Any]:
    return {
        field.name: field.metadata["kind"].dump(getattr(value, field.name), images)
        for field in dataclasses.fields(value)
    }


def load_record(cls: Any, json: Any, images: Sequence[Image], where: str = "") -> Any:
    """Build ``cls`` from JSON. Unknown keys are ignored, so that a newer peer may add some."""
    if not isinstance(json, dict):
        raise _reject(where or "message", "a JSON object")
    prefix = f"{where}." if where else ""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name in json:
            kind: Kind = field.metadata["kind"]
            values[field.name] = kind.load(json[field.name], images, prefix + field.name)
        elif field.default is MISSING:
            raise _reject(prefix + field.name, "present")
    try:
        return cls(**values)
    except LocalError as error:
        if not where:
            raise
        raise LocalError(
            error.code, f"{prefix}{error.message}", field=f"{prefix}{error.field}", job=error.job
        ) from None
