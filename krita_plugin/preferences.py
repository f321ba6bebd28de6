"""What a painter sets once: a small JSON file in Velatura's folder."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .state import MOST_PROMPTS

FILE = "settings.json"
MOST_HISTORY = 1024


@dataclass(frozen=True)
class Preferences:
    """history_mb: largest history of a document in MiB, 0..MOST_HISTORY; favourites and the newest
    picture stay in any case. prompts: how many of earlier presses are remembered, 0..MOST_PROMPTS.
    """

    history_mb: int = 64
    prompts: int = MOST_PROMPTS

    @property
    def history_bytes(self) -> int:
        return self.history_mb << 20


_LARGEST = {"history_mb": MOST_HISTORY, "prompts": MOST_PROMPTS}


def load(folder: Path) -> tuple[Preferences, str]:
    """(preferences, what was wrong with the file in one sentence, "" for nothing)."""
    path = folder / FILE
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Preferences(), ""
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        return Preferences(), f"{FILE} cannot be read: the first settings are used instead."
    found, wrong = Preferences(), ""
    for field in fields(Preferences):
        name, number = field.name, value.get(field.name, field.default)
        if type(number) is int and 0 <= number <= _LARGEST[name]:
            found = replace(found, **{name: number})
        else:
            wrong = f'"{name}" in {FILE} must be a whole number from 0 to {_LARGEST[name]}.'
    return found, wrong


def save(folder: Path, preferences: Preferences) -> None:
    """Replace the file in one step; keys of another version stay. Raises OSError."""
    path = folder / FILE
    kept: Any = None
    with contextlib.suppress(OSError, ValueError):  # none yet, or nothing that could be kept
        kept = json.loads(path.read_text("utf-8"))
    value = {**(kept if isinstance(kept, dict) else {}), **asdict(preferences)}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / f"{FILE}.part"
    part.unlink(missing_ok=True)
    private = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(private, "w", encoding="utf-8") as out:
        json.dump(value, out, ensure_ascii=False, indent=1)
    part.replace(path)
