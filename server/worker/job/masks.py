"""Selection -> denoise mask (what the model may repaint) and composite mask (the layer's alpha).

The invariant that every function here keeps, pixel by pixel:

    composite <= selection <= denoise mask   (as far as the model's pixels can show it)

so what the model repaints beyond the selection is never shown, and outside the selection the
layer's alpha is exactly 0.
"""

from __future__ import annotations

import cv2
import numpy as np
from velatura.protocol.messages import Generate
from velatura.protocol.region import Rect
from velatura.server.worker.job.plan import JobPlan
from velatura.server.worker.pixels import to_floats, to_model

OPAQUE = 255
_ROUNDING = 1e-4
# Radius (pixels) of the discs that a mask is grown with.
_DISC = 6


def selected_area(
    action: str, selection: np.ndarray | None, source_alpha: np.ndarray
) -> np.ndarray:
    """What the layer may cover: (H, W) uint8, at most the selection; None selects everything.

    To expand is to paint what is not fully opaque in the source: where it is, nothing may change.
    """
    area = np.full_like(source_alpha, OPAQUE) if selection is None else selection
    return np.where(source_alpha < OPAQUE, area, np.uint8(0)) if action == "expand" else area


def bounds(area: np.ndarray) -> Rect | None:
    """The smallest rectangle that holds all that is not 0, in the array's own pixels."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    if not rows.size:
        return None
    x, y = int(columns[0]), int(rows[0])
    return Rect(x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)


def composite_mask(
    area: np.ndarray, request: Generate, source_alpha: np.ndarray | None
) -> np.ndarray:
    """The layer's alpha: (H, W) uint8. ``area`` times factors of at most 1, rounded down.

    Rounding down is what keeps it from exceeding the selection, and 0 times anything is 0: alpha is
    exactly 0 wherever the selection is. The soft edge runs inward, from the first selected pixel.
    ``source_alpha`` (H, W) uint8 keeps the source's outline; None does not.
    """
    alpha = area
    if request.soft_edge:
        ramp = (_distance_inside(area, request) - 0.5) / request.soft_edge
        alpha = (alpha * np.clip(ramp, 0, 1)).astype(np.uint8)
    if source_alpha is not None:
        alpha = (alpha.astype(np.uint16) * source_alpha // OPAQUE).astype(np.uint8)
    return alpha


def _distance_inside(area: np.ndarray, request: Generate) -> np.ndarray:
    """Pixels from each selected one to the nearest unselected one, (H, W) float32.

    Beyond the canvas there is nothing to fade to; beyond a region inside it there is.
    """
    region, canvas = request.region, request.canvas
    beyond = (
        int(region.y > 0),
        int(region.bottom < canvas.height),
        int(region.x > 0),
        int(region.right < canvas.width),
    )
    inside = cv2.copyMakeBorder((area > 0).astype(np.uint8), *beyond, cv2.BORDER_CONSTANT, value=0)
    if inside.all():
        return np.full(area.shape, np.inf, np.float32)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    top, _, left, _ = beyond
    return distance[top : top + area.shape[0], left : left + area.shape[1]]


def denoise_mask(area: np.ndarray, plan: JobPlan) -> np.ndarray:
    """How free the model is at each of its pixels: (h, w) float32 in 0..1, of the plan's size.

    The selection, grown by ``plan.grow`` and feathered over ``plan.feather``. Soft values stay what
    they are, grown by their own neighbours: in between means per-pixel strength.
    """
    scaled = to_model(area, plan)
    mask = to_floats(scaled)
    if scaled.min() == OPAQUE:
        return mask
    # A box as wide as the feather turns the step at grow + feather / 2 into a ramp that starts at
    # grow and ends at grow + feather.
    width = 2 * round(plan.feather / 2) + 1
    # One more, as digital discs are a little small.
    radius = round(plan.grow) + width // 2 + 1
    grown = to_floats(_dilate(scaled, radius))
    grown = cv2.blur(grown, (width, width), borderType=cv2.BORDER_REPLICATE)
    # A box sum keeps rounding errors of its running totals; outside must be exactly 0, and what is
    # wholly free exactly 1.
    grown[grown < _ROUNDING] = 0
    grown[grown > 1 - _ROUNDING] = 1
    return np.maximum(grown, mask)


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Grow ``mask`` (h, w) uint8 by a disc: many small ones, since one large costs its area."""
    times = -(-radius // _DISC)
    for part in (radius * (i + 1) // times - radius * i // times for i in range(times)):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * part + 1, 2 * part + 1))
        mask = cv2.dilate(mask, disc)
    return mask


def latent_mask(mask: np.ndarray, factor: int) -> np.ndarray:
    """Scale the denoise mask to latents: (h / factor, w / factor) float32, the mean over each cell."""
    height, width = (side // factor for side in mask.shape)
    return mask.reshape(height, factor, width, factor).mean((1, 3))
