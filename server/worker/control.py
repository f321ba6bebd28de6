"""Picture -> control map: what a ControlNet is shown.

Public conventions: lines and edges are white on black, nearer is lighter; normals, poses and
segmentations have their published colours.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from velatura.models.errors import ModelError

Picture = NDArray[np.uint8]
_Plane = NDArray[np.float32]

_LINES = frozenset({"canny", "line", "scribble", "soft_edge"})
# Widths below are in pixels of a picture whose shorter side has this many, the side that the public
# annotators work at.
_ANNOTATOR_SIDE = 512


def control_map(kind: str, picture: Picture, *, derived: bool) -> Picture:
    """The control map of ``kind`` (of the protocol's CONTROL_KINDS): (H, W, 3) uint8.

    picture  (H, W), (H, W, 3) or (H, W, 4) uint8, straight alpha; its size is kept
    derived  True: make the map from a picture. False: ``picture`` is the painter's guide or a map;
             its transparency is removed and lines become white on black, whichever way they are.

    Raises ModelError (``missing_weights``) when a map of this kind cannot be derived without a
    trained annotator.
    """
    if not derived:
        return _lines_of(picture) if kind in _LINES else _flatten(picture, paper=0)
    if kind not in _ANNOTATORS:
        raise ModelError(
            "missing_weights",
            f"A {kind} map cannot be made from the picture here: draw or import the map as a guide "
            "layer.",
            field="controls",
        )
    return _rgb(_ANNOTATORS[kind](_flatten(picture, paper=255)))


def _rgb(plane: Picture) -> Picture:
    return np.repeat(plane[..., None], 3, axis=2)


def _flatten(picture: Picture, *, paper: int) -> Picture:
    """The picture laid on grey ``paper`` (0..255): (H, W, 3) uint8."""
    if picture.ndim == 2:
        return _rgb(picture)
    if picture.shape[2] == 3:
        return picture
    alpha = picture[..., 3:].astype(np.uint32)
    mixed = picture[..., :3] * alpha + paper * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


# --- the painter's guide --------------------------------------------------------------------------

_MOSTLY_EMPTY = 0.5
_ONE_INK = 0.2


def _lines_of(guide: Picture) -> Picture:
    """White lines on black, from lines of any colour on transparent, on light or on dark paper."""
    if guide.ndim == 3 and guide.shape[2] == 4 and (guide[..., 3] < 255).any():
        alpha = guide[..., 3].astype(np.float64) / 255
        cover = alpha.sum()
        if cover == 0:
            return np.zeros((*alpha.shape, 3), np.uint8)
        light = guide[..., :3].astype(np.float64).mean(axis=2) / 255
        mean = (light * alpha).sum() / cover
        spread = np.sqrt((alpha * (light - mean) ** 2).sum() / cover)
        if alpha.mean() < _MOSTLY_EMPTY and spread < _ONE_INK:
            # Ink on nothing: where it lies is the drawing, whatever its colour.
            return _rgb(guide[..., 3])
        guide = _flatten(guide, paper=255 if _is_light(light[alpha > 0]) else 0)
    colours = _flatten(guide, paper=0)
    darkest, lightest = colours.min(axis=2), colours.max(axis=2)
    if not _is_light(darkest / 255.0):
        return _rgb(lightest)
    # Light paper need not be white: its own tone becomes black. The darkest channel makes a line of
    # any colour stand out from it.
    tone = int(np.median(darkest))
    ink = np.clip(tone - darkest.astype(np.int32), 0, tone) * 255 // tone
    return _rgb(ink.astype(np.uint8))


def _is_light(values: NDArray[np.float64]) -> bool:
    """Whether most of ``values`` (0..1) are light: paper takes more room than ink."""
    return bool(np.median(values) > 0.5)


# --- maps from pictures ---------------------------------------------------------------------------


def _unit(picture: Picture) -> float:
    return max(min(picture.shape[:2]) / _ANNOTATOR_SIDE, 0.25)


def _blur(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _canny(picture: Picture) -> Picture:
    """Canny 1986 on the strongest colour channel, with the public annotator's thresholds."""
    return cv2.Canny(picture, 100, 200)


def _gradient(picture: Picture, sigma: float) -> _Plane:
    """Gradient magnitude at scale ``sigma`` pixels, the strongest of the L*a*b* channels.

    A step from black to white is about 1.
    """
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) / 100
    smooth = _blur(lab, sigma)
    # Scharr's weights add up to 32; a blurred step rises by 1 / (sigma sqrt(2 pi)) per pixel.
    scale = sigma * np.sqrt(2 * np.pi) / 32
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) * scale
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) * scale
    return np.hypot(across, down).max(axis=2)


def _line(picture: Picture) -> Picture:
    """Thin lines of varied strength along dark strokes and the borders of areas.

    Strokes by a difference of Gaussians with a soft threshold (Winnemoeller et al. 2012, XDoG),
    borders by the thinned gradient.
    """
    unit = _unit(picture)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    fine = max(3.0 * unit, 1.0)
    strokes = _blur(grey, 1.6 * fine) - _blur(grey, fine)
    borders = _thin(_gradient(picture, max(3.0 * unit, 1.2)))
    borders = _blur(borders, 0.5)
    drawn = np.maximum(np.tanh(12 * (strokes - 0.04)), np.tanh(5 * (borders - 0.06)))
    return _to_bytes(np.maximum(drawn, 0))


def _soft_edge(picture: Picture) -> Picture:
    """Soft wide edges like those of HED (Xie & Tu 2015), from gradients at three scales."""
    unit = _unit(picture)
    edges = sum(_gradient(picture, max(sigma * unit, 0.7)) for sigma in (1.5, 3.0, 6.0)) / 3
    return _to_bytes(np.minimum(2 * np.asarray(edges, np.float32), 1))


def _scribble(picture: Picture) -> Picture:
    """Few thick strokes of one tone along the strongest edges."""
    unit = _unit(picture)
    ridges = _thin(_gradient(picture, max(3.0 * unit, 1.0)))
    strong, weak = ridges > 0.20, (ridges > 0.07).astype(np.uint8)
    # Hysteresis: a weak edge counts where it continues a strong one; specks do not.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    kept = np.zeros(len(stats), bool)
    kept[np.unique(labels[strong])] = True
    kept &= stats[:, cv2.CC_STAT_AREA] >= 16 * unit
    kept[0] = False
    width = max(3, 2 * round(3 * unit) + 1)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return cv2.dilate(kept[labels].astype(np.uint8) * 255, brush)


def _thin(edges: _Plane) -> _Plane:
    """``edges`` where they are the highest along the horizontal or the vertical, else 0."""
    along_x = cv2.dilate(edges, np.ones((1, 3), np.uint8))
    along_y = cv2.dilate(edges, np.ones((3, 1), np.uint8))
    return np.where((edges >= along_x) | (edges >= along_y), edges, 0)


def _to_bytes(plane: _Plane) -> Picture:
    return np.round(plane * 255).astype(np.uint8)


_ANNOTATORS = {"canny": _canny, "line": _line, "soft_edge": _soft_edge, "scribble": _scribble}
