"""Styles on disk: one small TOML file each, ours and the painter's.

name = "Watercolour"              # otherwise the file's
model = "starter"                 # each line may be left out
before = "watercolour of "
after = ", loose wash"
negative = "photo"
sampler = "DPM++ 2M Karras"
steps = 20
guidance = 5.0
live_sampler = "LCM"

[loras]
"paper texture" = 0.8
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from velatura.protocol.addon_marks import lora_mark
from velatura.protocol.errors import LocalError
from velatura.protocol.style import Style

SHIPPED = Path(__file__).parent / "presets"
_LARGEST, _MOST, _MOST_LORAS, _HEAVIEST = 65536, 500, 16, 100
_FIELDS = frozenset(field.name for field in fields(Style))


class Styles:
    """The styles in ``folders``, those of the first before a namesake's. Not thread-safe."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._stamps: object = None
        self._styles: tuple[Style, ...] = ()
        self._unusable: tuple[str, ...] = ()

    def styles(self) -> tuple[Style, ...]:
        """All of them by name; the same tuple while nothing changes on disk."""
        self._scan()
        return self._styles

    def unusable(self) -> tuple[str, ...]:
        """One sentence for each file that is no style."""
        self._scan()
        return self._unusable

    def _scan(self) -> None:
        files = list(self._files())
        if files == self._stamps:
            return
        styles: dict[str, Style] = {}
        unusable = []
        for path, *_ in files:
            try:
                style = read_style(path)
                styles.setdefault(style.name, style)
            except ValueError as error:
                unusable.append(f"Style '{ascii(path.name)[1:-1]:.200}': {error}")
        self._styles = tuple(sorted(styles.values(), key=lambda style: style.name.casefold()))
        self._unusable, self._stamps = tuple(unusable), files

    def _files(self) -> Iterator[tuple[Path, int, int]]:
        for folder in self._folders:
            for path in _toml_files(folder)[:_MOST]:
                try:
                    status = path.stat()
                except OSError:
                    continue
                yield path, status.st_size, status.st_mtime_ns


def _toml_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".toml")
    except OSError:
        return []


def read_style(path: Path) -> Style:
    """Read the style in ``path``; its fields may begin with capitals.

    ValueError says in a sentence what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is too large: at most {_LARGEST} bytes.")
        # Windows' editors begin UTF-8 with a byte order mark.
        told = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise ValueError("it cannot be read.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("it is not readable TOML in UTF-8: correct it.") from error
    value = {name.lower(): told[name] for name in told}
    if len(value) < len(told):
        raise ValueError("it says one thing twice, with capitals and without: take one away.")
    loras = value.pop("loras", {})
    unknown = sorted(set(value) - _FIELDS)
    if unknown:
        raise ValueError(
            f"{ascii(unknown[0])[1:-1]:.50} is not known; a style has {', '.join(sorted(_FIELDS))}, "
            "loras."
        )
    value["after"] = _with_loras(value.get("after", ""), loras)
    try:
        return Style(**{"name": path.stem, **value})
    except LocalError as error:
        raise ValueError(error.message) from error


def _with_loras(after: Any, loras: Any) -> Any:
    """``after`` with the LoRAs as a prompt names them; what is no text is left to Style."""
    if not isinstance(loras, dict) or len(loras) > _MOST_LORAS:
        raise ValueError(f"loras must be a table of at most {_MOST_LORAS} names with weights.")
    for name, weight in loras.items():
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not -_HEAVIEST <= weight <= _HEAVIEST:
            raise ValueError(
                f"the weight of the LoRA {ascii(name)[1:-1]:.100} must be a number from "
                f"-{_HEAVIEST} to {_HEAVIEST}."
            )
        if not name.strip() or not name.isprintable():
            raise ValueError(f"a LoRA's name must be one line of text: {name!a:.100}.")
        after = f"{after} {lora_mark(name, weight)}"
    return after
