"""PNG files that say what made them, by A1111's text and Velatura's recipe (protocol.png_text).

Knows no Krita; reading and writing may run on any thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..protocol.errors import LocalError
from ..protocol.messages import DETAILS, LARGEST_SEED, MOST_CLIP_SKIP, MOST_STEPS, ModelInfo
from ..protocol.png_text import from_parameters, read_text, write_text
from .state import Settings
from .ui.words import tr

_MOST_BYTES = 512 << 20
# Name of the field -> the least and the most that the docker takes.
_NUMBERS = {
    "steps": (1, MOST_STEPS),
    "guidance": (0.0, 50.0),
    "seed": (0, LARGEST_SEED),
    "clip_skip": (1, MOST_CLIP_SKIP),
}
_TEXTS = ("prompt", "negative", "model", "sampler")


def read(path: Path) -> dict[str, Any] | str:
    """What a PNG says made it, by the names of a recipe; or the sentence that it does not."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return tr("The file is too large for a picture that says what made it.")
        text = read_text(path.read_bytes())
    except (LocalError, OSError):
        return tr("The file is no PNG that can be read: choose another.")
    found = dict(text.recipe or (from_parameters(text.parameters) if text.parameters else {}))
    return found or tr("This picture does not say what made it: choose one by Velatura or A1111.")


def save(png: bytes, made: bytes, prompt: str, path: Path) -> str:
    """Write a picture with what made it; the sentence that it is there, or not.

    made: JSON of a recipe.Recipe; without one, as of a picture of an earlier start, the prompt alone
    is said.
    """
    try:
        said = dict(json.loads(made)["server"])
    except (ValueError, KeyError, TypeError):
        said = {"prompt": prompt}
    parts = path.with_name(f"{path.name}.part")
    try:
        parts.write_bytes(write_text(png, said))
        os.replace(parts, path)
    except (LocalError, OSError) as error:
        parts.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or str(error)
        return tr("{name} could not be written: {why}.", name=path.name, why=why)
    return tr("{name} is written, with what made it.", name=path.name)


def settings_of(
    said: Mapping[str, Any], now: Settings, models: Collection[ModelInfo]
) -> tuple[Settings, list[str]]:
    """``now`` with what a picture says, and half sentences on what of it there is not.

    What has another type, from another hand, is passed over; numbers are brought into range. The
    words of a style are in the prompt already.
    """
    found: dict[str, Any] = {name: said[name] for name in _TEXTS if isinstance(said.get(name), str)}
    for name, (least, most) in _NUMBERS.items():
        if _is_number(said.get(name)):
            found[name] = type(least)(min(max(said[name], least), most))
    if _is_number(said.get("strength")):
        found["strength"] = round(100 * min(max(said["strength"], 0.01), 1))
    if said.get("detail") in DETAILS:
        found["detail"] = said["detail"]
    remarks = []
    known = {model.name: model for model in models}
    wanted = found.get("model", now.model)
    if wanted not in known:
        remarks.append(tr('its model "{name}" is not on this server', name=wanted[:100]))
        wanted = found["model"] = now.model
    sampler = found.get("sampler")
    if sampler is not None and wanted in known and sampler not in known[wanted].samplers:
        remarks.append(tr('there is no sampler "{name}"', name=sampler[:100]))
        del found["sampler"]
    return replace(now, style=None, **found), remarks


def _is_number(value: object) -> bool:
    # Not a number (NaN) is unequal to itself.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
