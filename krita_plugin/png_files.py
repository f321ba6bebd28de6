"""PNG files that say what made them, by A1111's text and Velatura's recipe (protocol.png_text).

Knows no Krita; reading and writing may run on any thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from ..protocol.errors import LocalError
from ..protocol.messages import DETAILS, LARGEST_SEED, MOST_CLIP_SKIP, MOST_STEPS, ModelInfo
from ..protocol.plain_text import plain_text
from ..protocol.png_text import from_parameters, read_text, write_text
from .state import Settings
from .ui.words import tr

_MOST_BYTES = 512 << 20
# Name of the field -> what a painter calls it, the least and the most that the docker takes.
_NUMBERS = {
    "steps": ("steps", 1, MOST_STEPS),
    "guidance": ("guidance", 0.0, 50.0),
    "clip_skip": ("clip skip", 1, MOST_CLIP_SKIP),
    "strength": ("strength", 0.01, 1.0),
}
_MOST_NAMED = 6
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
    """Return ``now`` with what a picture says, and half sentences on what of it is not taken over.

    What has another type, from another hand, is passed over; numbers are brought into range. The
    words of a style are in the prompt already.
    """
    found: dict[str, Any] = {
        name: plain_text(said[name]) for name in _TEXTS if isinstance(said.get(name), str)
    }
    remarks = []
    for name, (word, least, most) in _NUMBERS.items():
        if _is_number(said.get(name)):
            found[name] = type(least)(min(max(said[name], least), most))
            if found[name] != said[name]:
                shown = f"{found[name]:.0%}" if name == "strength" else f"{found[name]:g}"
                remarks.append(tr("its {word} became {value}", word=tr(word), value=shown))
    if "strength" in found:
        found["strength"] = round(100 * found["strength"])
    seed = said.get("seed")
    if _is_number(seed):
        if 0 <= seed <= LARGEST_SEED:
            found["seed"] = int(seed)
        else:
            # Brought into range it would be the seed of another picture.
            remarks.append(
                tr(
                    "its seed {seed} is not one from 0 to {most} and was left out",
                    seed=str(seed)[:30],
                    most=LARGEST_SEED,
                )
            )
    if said.get("detail") in DETAILS:
        found["detail"] = said["detail"]
    known = {model.name: model for model in models}
    wanted = found.get("model", now.model)
    # A1111 leaves out the folders that a model's name begins with here.
    alike = [name for name in known if name.rpartition("/")[2] == wanted]
    if wanted not in known and len(alike) == 1:
        wanted = found["model"] = alike[0]
    if "model" in found and wanted not in known:
        remarks.append(tr('its model "{name}" is not on this server', name=wanted[:100]))
        wanted = found["model"] = now.model
    sampler = found.get("sampler")
    if sampler is not None and wanted in known and sampler not in known[wanted].samplers:
        remarks.append(tr('there is no sampler "{name}"', name=sampler[:100]))
        del found["sampler"]
    unread = said.get("unread")
    if isinstance(unread, list) and unread:
        named = ", ".join(str(name)[:40] for name in unread[:_MOST_NAMED])
        more = ", ..." if len(unread) > _MOST_NAMED else ""
        remarks.append(tr("these are not taken over: {names}", names=named + more))
    return replace(now, style=None, **found), remarks


def _is_number(value: object) -> TypeGuard[int | float]:
    # Not a number (NaN) is unequal to itself.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
