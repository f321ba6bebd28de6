"""The pictures of a request as the stages need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from velatura.protocol.messages import Generate
from velatura.protocol.region import Rect
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.masks import (
    OPAQUE,
    bounds,
    composite_mask,
    denoise_mask,
    selected_area,
)
from velatura.server.worker.job.plan import JobPlan
from velatura.server.worker.pixels import (
    extend,
    over,
    to_array,
    to_bytes,
    to_floats,
    to_model,
    to_rgb,
)

# What continues where nothing is.
_GREY = 0.5


@dataclass(frozen=True)
class Scene:
    """The job's pictures.

    picture    what the model starts from, opaque: region pixels (H, W, 3) uint8
    seen       the same in model pixels (h, w, 3) float32 in 0..1
    source     what is repainted, (H, W, 4) uint8
    area       what the layer may cover (H, W) uint8
    composite  the layer's alpha (H, W) uint8
    mask       the denoise mask (h, w) float32
    """

    picture: np.ndarray
    seen: np.ndarray
    source: np.ndarray
    area: np.ndarray
    composite: np.ndarray
    mask: np.ndarray


def area_of(request: Generate) -> np.ndarray:
    """What the layer may cover, (H, W) uint8. Raises JobError when that is nothing."""
    source = to_array(request.source or request.surroundings)
    selection = None if request.selection is None else to_array(request.selection)
    area = selected_area(request.action, selection, source[..., 3])
    if not area.any():
        what = "nothing of the source that is empty" if request.action == "expand" else "no pixel"
        raise JobError("invalid_field", f"selection holds {what}: select some.", "selection")
    return area


def selected_rect(area: np.ndarray) -> Rect:
    """The bounds of ``area``, which must not be empty, in region pixels."""
    rect = bounds(area)
    assert rect is not None, "area_of refuses empty ones"
    return rect


def make_scene(request: Generate, plan: JobPlan, area: np.ndarray) -> Scene:
    source = to_array(request.source or request.surroundings)
    visible = to_array(request.surroundings)
    if request.source is not None:
        visible = over(source, visible)
    picture = to_rgb(visible)
    known = (source if request.action == "expand" else visible)[..., 3]
    if known.min() < OPAQUE:
        picture = to_bytes(continued(to_floats(picture), to_floats(known)))
    return Scene(
        picture=picture,
        seen=to_floats(to_model(picture, plan)),
        source=source,
        area=area,
        composite=composite_mask(area, request, source[..., 3] if request.keep_outline else None),
        mask=denoise_mask(area, plan),
    )


def continued(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """``picture`` (h, w, 3) where ``kept`` (h, w) is 1, and what is around continued into the rest.

    Both float32 in 0..1. Middle grey where nothing is kept at all.
    """
    return extend(picture, kept) if kept.any() else np.full_like(picture, _GREY)
