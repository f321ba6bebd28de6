"""Latents -> layer: decode, match colour to the surroundings, scale back, cut out."""

from __future__ import annotations

import cv2
import numpy as np
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.masks import OPAQUE, bounds
from velatura.server.worker.job.plan import JobPlan
from velatura.server.worker.pixels import extend, from_model

# Below half a step of 8 bits everywhere: nothing but black.
_BLACK = 0.5 / 255
# How far colours may be pulled to meet the surroundings at the selection's edge.
_MOST_AT_EDGE = 0.2
# How fine (sigma, model pixels) a difference is followed along the edge, and how far inward it
# fades, as a part of the mask's growth. Chosen with benchmarks/seam.py: finer shows less of a step,
# farther tints more of the ring.
_EDGE_DETAIL = 1.0
_EDGE_REACH = 0.4
# A change by the model of this size (of 1) hides what the autoencoder lost below it.
_CHANGE = 0.04
# Over how much of a cell of the latents (sigma) a change is spread.
_CELL_BLUR = 1 / 4
# A bias in colour is small and the same over large parts (sigma, in cells of the latents); what is more or
# finer is a detail that the autoencoder missed, and no concern of the hole beside it.
_MOST_BIAS = 0.1
_BIAS_REACH = 2.0
# How far inward the edge of a silhouette is mixed with what lies below (region pixels).
_BLEED = 2.0


def check_output(picture: np.ndarray) -> None:
    """Raise JobError (``bad_output``) when a decoded picture is not a picture."""
    if not np.isfinite(picture).all():
        raise JobError(
            "bad_output",
            "The model returned values that are not numbers; nothing was kept. Try another sampler, "
            "fewer controls, or the model in full precision.",
        )
    if picture.max() < _BLACK:
        raise JobError(
            "bad_output",
            "The model returned an all-black picture; nothing was kept. Try another seed or the "
            "model in full precision.",
        )


def unchanged_part(decoded: np.ndarray, round_trip: np.ndarray, cell: int) -> np.ndarray:
    """Where the model changed nothing: (h, w) float32, 1 there, falling to 0 with the change.

    ``round_trip`` (h, w, 3) is the picture that went in, through the autoencoder alone. ``cell``: its
    factor, in model pixels.
    """
    change = _blur(np.abs(decoded - round_trip).max(-1), cell * _CELL_BLUR)
    return np.exp(-((change / _CHANGE) ** 2))


def restore_lost(
    painted: np.ndarray, seen: np.ndarray, round_trip: np.ndarray, same: np.ndarray, cell: int
) -> np.ndarray:
    """Put back what the autoencoder took from ``seen``; all (h, w, 3) float32, model pixels.

    Its large shapes, which are the colour bias, everywhere; its detail where nothing was changed
    (``same``, see unchanged_part).
    """
    lost = seen - round_trip
    bias = _blur(lost, cell)
    return painted + bias + same[..., None] * (lost - bias)


def match_colour(painted: np.ndarray, seen: np.ndarray, mask: np.ndarray, cell: int) -> np.ndarray:
    """Take back the autoencoder's colour bias in a hole, whose own former colours say nothing.

    Read where the latents were held (``mask`` (h, w) is 0) and continued into the hole. Pictures
    are (h, w, 3) float32 in model pixels.
    """
    difference = (seen - painted).clip(-_MOST_BIAS, _MOST_BIAS)
    return painted + _spread(difference, (mask == 0).astype(np.float32), _BIAS_REACH * cell)


def meet_edge(
    painted: np.ndarray, seen: np.ndarray, outside: np.ndarray, plan: JobPlan
) -> np.ndarray:
    """Let colours meet the surroundings at the selection's edge, without a step.

    The difference just outside, continued inward: a membrane (Pérez et al. 2003) with an end, so
    that it cannot tint what lies deep inside. outside: (h, w) float32, 1 where nothing of the layer
    will be seen. Model pixels.
    """
    inside = (outside < 1).astype(np.uint8)
    if inside.all() or not inside.any():
        return painted
    difference = _spread(seen - painted, outside, _EDGE_DETAIL)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    fade = np.exp(-((distance / (_EDGE_REACH * plan.grow)) ** 2))[..., None]
    return painted + fade * difference.clip(-_MOST_AT_EDGE, _MOST_AT_EDGE)


def restore_detail(
    painted: np.ndarray,
    picture: np.ndarray,
    seen: np.ndarray,
    same: np.ndarray,
    plan: JobPlan,
    enlarged: np.ndarray | None = None,
) -> np.ndarray:
    """Where the model changed nothing, put back what scaling down took.

    painted, picture, enlarged: region pixels (H, W, 3); picture is what was scaled to ``seen``
    (h, w, 3). enlarged, if given, is what was painted with detail of the enlarger's own, which is
    shown where the model did change something.
    """
    height, width = picture.shape[:2]
    same_here = from_model(same, plan, width, height).clip(0, 1)[..., None]
    restored = painted + same_here * (picture - from_model(seen, plan, width, height))
    if enlarged is None:
        return restored
    # Its own detail beside the picture's would show twice.
    return restored + (1 - same_here) * (enlarged - painted)


def bleed(painted: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours of the opaque parts, drawn outward under the edge of a silhouette.

    The model saw the edge mixed with what lies below it; on a layer with that edge's alpha the mix
    would show as a fringe. painted (H, W, 3) float32, alpha (H, W) uint8. Evenly thin paint is no
    edge: what counts is the alpha beside the strongest one near it.
    """
    a = alpha.astype(np.float32) / OPAQUE
    side = 2 * round(2 * _BLEED) + 1
    strongest = cv2.dilate(a, np.ones((side, side), np.uint8))
    solid = cv2.erode(a / np.maximum(strongest, 1e-6), np.ones((3, 3), np.uint8)) ** 8
    return extend(painted, solid.clip(0, 1)) if solid.any() else painted


def cut_layer(
    rgb: np.ndarray, composite: np.ndarray, around: int = 0
) -> tuple[np.ndarray, int, int]:
    """The layer (h, w, 4) uint8, cut to what is not transparent, and where its corner lies.

    rgb (H, W, 3) and composite (H, W) uint8, region pixels. Colour is 0 wherever alpha is, so
    nothing of what the model repainted outside the selection leaves this function; unless it is
    asked for: then ``around`` pixels more on each side, all with their colours.
    """
    area = bounds(composite)
    if area is None:
        return np.zeros((1, 1, 4), np.uint8), 0, 0
    height, width = composite.shape
    x, y = max(0, area.x - around), max(0, area.y - around)
    rows = slice(y, min(height, area.bottom + around))
    columns = slice(x, min(width, area.right + around))
    alpha = composite[rows, columns]
    layer = cv2.cvtColor(rgb[rows, columns], cv2.COLOR_RGB2RGBA)
    if not around:
        layer = cv2.copyTo(layer, alpha)
    layer[..., 3] = alpha
    return layer, x, y


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _spread(values: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """The large shapes of ``values`` where ``weights`` are 1, continued to where they are 0.

    Source: normalised convolution (Knutsson & Westin 1993), then pull-push where it does not reach.
    """
    known = _blur(weights, sigma)
    means = _blur(values * weights[..., None], sigma) / np.maximum(known, 1e-6)[..., None]
    return extend(means, (known * 4).clip(0, 1))
