"""What a painter sets once: a small JSON file in Velatura's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from itertools import count
from pathlib import Path
from typing import Any

from ..protocol.errors import LocalError
from ..protocol.fields import (
    check_record,
    choice,
    dump_record,
    flag,
    integer,
    load_record,
    optional,
    record,
    several,
    text,
)
from ..protocol.messages import MOST_VARIANTS
from ..protocol.sentences import Sentence
from .servers import HERE, Server
from .state import AUTOMATIC, FIRST_STRENGTHS, LAYER, MOST_PROMPTS, VISIBLE, WIDEST_EDGE, Memory

FILE = "settings.json"
MOST_HISTORY = 1024
MOST_SERVERS = 64
# What a docker begins with; the painter can go back to it.
DEFAULTS = ("variants", "soft_edge", "paint_from", "refine", "refine_selection")


@dataclass(frozen=True)
class Preferences:
    """history_mb: largest history of a document in MiB; favourites and the newest picture stay in
    any case. prompts: how many of earlier presses are remembered. variants: 0 for what suits the
    device and the action. soft_edge: canvas pixels, None for what suits the selection. refine,
    refine_selection: first denoising strengths in percent. server: the id of the one that paints.
    starts_with_krita: this computer's server does, instead of with the first press. stays: it does
    not end with the Krita that started it.

    Raises LocalError, which names the field and what is allowed.
    """

    history_mb: int = integer(0, MOST_HISTORY, 64)
    prompts: int = integer(0, MOST_PROMPTS, MOST_PROMPTS)
    variants: int = integer(0, MOST_VARIANTS, 0)
    soft_edge: int | None = optional(integer(0, WIDEST_EDGE))
    paint_from: str = choice((AUTOMATIC, VISIBLE, LAYER), AUTOMATIC)
    refine: int = integer(1, 100, FIRST_STRENGTHS["refine"])
    refine_selection: int = integer(1, 99, FIRST_STRENGTHS["refine_selection"])
    servers: tuple[Server, ...] = several(record(Server), MOST_SERVERS)
    server: str = text(8, "")
    starts_with_krita: bool = flag(False)
    stays: bool = flag(False)

    def __post_init__(self) -> None:
        check_record(self)
        ids = {server.id for server in self.servers}
        if HERE.id in ids or len(ids) < len(self.servers):
            raise LocalError("invalid_field", "servers must each have another id.", field="servers")

    @property
    def history_bytes(self) -> int:
        return self.history_mb << 20

    @property
    def chosen(self) -> Server:
        """The server that paints."""
        return next((x for x in self.servers if x.id == self.server), HERE)

    @property
    def memory(self) -> Memory:
        """What a docker that remembers nothing begins with."""
        own = {"refine": self.refine, "refine_selection": self.refine_selection}
        return Memory({**FIRST_STRENGTHS, **own}, self.paint_from, self.variants)


def load(folder: Path) -> tuple[Preferences, str]:
    """(preferences, what was wrong with the file in one sentence, "" for nothing).

    A file with something wrong in it is set aside as it is; what is right in it holds.
    """
    path = folder / FILE
    found, wrong = Preferences(), ""
    try:
        stored = _read(path)
        if stored is None:
            kept = _set_aside(path)
            return found, Sentence(
                "{file} is damaged: it is kept as {kept}, and first settings are used.",
                file=FILE,
                kept=kept,
            )
        for field in fields(Preferences):
            if field.name in stored:
                try:
                    one = load_record(Preferences, {field.name: stored[field.name]}, ())
                    found = replace(found, **{field.name: getattr(one, field.name)})
                except LocalError as error:
                    wrong = error.message
        if wrong:
            kept = _set_aside(path)
            _write(path, {**stored, **dump_record(found, [])})
            wrong = Sentence(
                "In {file}, {wrong}: the file as it was is kept as {kept}.",
                file=FILE,
                wrong=wrong[:-1],
                kept=kept,
            )
    except OSError as error:
        wrong = Sentence(
            "{file} cannot be read ({why}): first settings are used.",
            file=FILE,
            why=error.strerror or error,
        )
    return found, wrong


def save(folder: Path, preferences: Preferences, names: Collection[str]) -> None:
    """Write these fields in one step; the others stay as they are in the file, where another window
    of Krita, or another version, may have put them. Raises OSError."""
    path = folder / FILE
    stored = _read(path)
    if stored is None:
        _set_aside(path)
    dumped = dump_record(preferences, [])
    _write(path, {**(stored or {}), **{name: dumped[name] for name in names}})


def _read(path: Path) -> dict[str, Any] | None:
    """What is stored; None for a damaged file. Raises OSError."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _set_aside(path: Path) -> str:
    """The name under which the file is kept; an earlier one is never replaced. Raises OSError."""
    for number in count(1):
        kept = path.with_name(f"settings.broken-{number}.json")
        if not kept.exists():
            path.replace(kept)
            return kept.name
    raise AssertionError  # count has no end


def _write(path: Path, value: dict[str, Any]) -> None:
    """For the painter's eyes alone: tokens are in it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{FILE}.part")
    part.unlink(missing_ok=True)
    private = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(private, "w", encoding="utf-8") as out:
        json.dump(value, out, ensure_ascii=False, indent=1)
    part.replace(path)
