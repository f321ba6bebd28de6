"""The recipe that each generated layer carries: enough to paint it again.

Plain values <-> JSON. It is kept with the document under ``recipe/<layer id>/<fingerprint>``: Krita
gives a copy of a layer a new id, and its pixels tell what it is a copy of.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..protocol import messages as m
from ..protocol.errors import LocalError
from ..protocol.region import Rect, Size
from ..protocol.style import Style
from .state import ACTIONS, Guide, Settings

VERSION = 1
_PREFIX = "recipe/"

# (width, height, crc32) of a layer's pixels.
Fingerprint = tuple[int, int, int]
EMPTY: Fingerprint = (0, 0, 0)


@dataclass(frozen=True)
class Selected:
    """A selection: ``mask`` holds 0..255 (Gray8) for each pixel of ``rect``."""

    rect: Rect
    mask: bytes


@dataclass(frozen=True)
class Recipe:
    """One generated layer: what was asked, and what the server says it used.

    seed: the one of this very variant. source: id of the layer that was painted over, None for
    everything visible. server: the result's own record (model, its hash, dtype, device ...).
    """

    action: str
    settings: Settings
    canvas: Size
    region: Rect
    seed: int
    source: str | None = None
    selection: Selected | None = None
    server: Mapping[str, Any] = field(default_factory=dict)


# --- under which key ---------------------------------------------------------------------------------


def key(layer: str, fingerprint: Fingerprint) -> str:
    """The annotation under which the recipe of this layer is kept."""
    width, height, crc = fingerprint
    return f"{_PREFIX}{layer}/{width}x{height}-{crc:08x}"


def is_key(annotation: str) -> bool:
    return annotation.startswith(_PREFIX)


def layer_of(annotation: str) -> str | None:
    return annotation[len(_PREFIX) :].partition("/")[0] if is_key(annotation) else None


def find(annotations: Collection[str], layer: str) -> str | None:
    """The key of this layer's recipe."""
    return next((name for name in annotations if layer_of(name) == layer), None)


def find_original(annotations: Collection[str], fingerprint: Fingerprint) -> str | None:
    """The key of the recipe that made these pixels."""
    tail = key("", fingerprint)[len(_PREFIX) :]
    return next((name for name in annotations if is_key(name) and name.endswith(tail)), None)


def may_be_copy(annotations: Collection[str], width: int, height: int) -> bool:
    """False when no recipe made a layer of this size: its pixels need not be read.

    An empty one is no copy: in an animation that is what layers are beside their frames.
    """
    return width > 0 and any(is_key(name) and f"/{width}x{height}-" in name for name in annotations)


# --- values ------------------------------------------------------------------------------------------


def of_result(
    action: str, settings: Settings, request: m.Generate, result: m.Result, source: str | None
) -> Recipe:
    """The recipe of one variant, with the numbers that were really used."""
    used = replace(
        settings,
        variants=1,
        seed=result.seed,
        model=request.model,
        steps=request.steps,
        guidance=request.guidance,
        sampler=request.sampler,
    )
    mask = request.selection
    return Recipe(
        action=action,
        settings=used,
        canvas=request.canvas,
        region=request.region,
        seed=result.seed,
        source=source,
        selection=None if mask is None else Selected(request.region, bytes(mask.data)),
        server=dict(result.recipe),
    )


def to_json(recipe: Recipe) -> dict[str, Any]:
    selection = recipe.selection
    return {
        "velatura_recipe": VERSION,
        **asdict(replace(recipe, selection=None)),
        "server": dict(recipe.server),
        "selection": None
        if selection is None
        else {
            "rect": asdict(selection.rect),
            # Fast rather than small: this runs on the GUI thread.
            "mask": base64.b64encode(zlib.compress(selection.mask, 1)).decode("ascii"),
        },
    }


def from_json(value: Any) -> Recipe | None:
    """None for what is not a recipe or is one of a newer Velatura."""
    if not isinstance(value, dict) or value.get("velatura_recipe") != VERSION:
        return None
    try:
        settings = dict(value["settings"])
        guides = tuple(Guide(**guide) for guide in settings.pop("guides"))
        leave_out = tuple(settings.pop("leave_out"))
        style = settings.pop("style", None)
        return Recipe(
            action=_known(value["action"]),
            settings=Settings(
                **settings,
                guides=guides,
                leave_out=leave_out,
                style=None if style is None else Style(**style),
            ),
            canvas=Size(**value["canvas"]),
            region=Rect(**value["region"]),
            seed=int(value["seed"]),
            source=value["source"],
            selection=_selected(value["selection"]),
            server=dict(value["server"]),
        )
    except (KeyError, TypeError, ValueError, LocalError, zlib.error):  # from another hand
        return None


def _selected(value: Any) -> Selected | None:
    if value is None:
        return None
    rect = Rect(**value["rect"])
    pixels = rect.width * rect.height
    # One byte more than needed: a small file must not unpack into all of the memory.
    mask = zlib.decompressobj().decompress(base64.b64decode(value["mask"]), pixels + 1)
    if len(mask) != pixels:
        raise ValueError(len(mask))
    return Selected(rect, mask)


def _known(action: str) -> str:
    if action not in ACTIONS:
        raise ValueError(action)
    return action


def layer_name(action: str, prompt: str, longest: int = 60) -> str:
    """ "prompt (Fill)", on one line and short enough for the Layers docker."""
    words = " ".join(prompt.split())
    label = ACTIONS[action].label
    if not words:
        return label
    short = words if len(words) <= longest else words[: longest - 1].rstrip() + "\u2026"
    return f"{short} ({label})"
