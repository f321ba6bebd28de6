"""Picture -> control map: what a ControlNet is shown.

Public conventions: lines and edges are white on black, nearer is lighter; normals, poses and
segmentations have their published colours; "tile" and "inpaint" show the picture itself.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from velatura.models.annotators import Draw, what_to_get
from velatura.models.errors import ModelError
from velatura.protocol.sentences import Sentence

Picture = NDArray[np.uint8]
_Plane = NDArray[np.float32]

_LINES = frozenset({"canny", "line", "scribble", "soft_edge", "straight"})
# What is transparent in a guide of other kinds: far away, no person, no class; a surface that faces
# the viewer; the white of paper under a picture.
_BLACK, _FACING, _WHITE = (0, 0, 0), (128, 128, 255), (255, 255, 255)
_PAPERS = {"normal": _FACING, "tile": _WHITE, "inpaint": _WHITE}
# Widths below are in pixels of a picture whose shorter side has this many, the side that the public
# annotators work at.
_ANNOTATOR_SIDE = 512
# Straight lines: the least side that has any, and their least length as a part of the shorter side.
_LEAST_SIDE, _SHORTEST = 8, 1 / 12
_SOFTER = 8


# Rows that are smoothed at once: between them a cancel takes effect.
_BAND = 512
Check = Callable[[], None]


def _go_on() -> None:
    pass


def control_map(
    kind: str,
    picture: Picture,
    *,
    derived: bool,
    annotate: Draw | None = None,
    check: Check = _go_on,
) -> Picture:
    """The control map of ``kind`` (of the protocol's CONTROL_KINDS): (H, W, 3) uint8.

    picture   (H, W), (H, W, 3) or (H, W, 4) uint8, straight alpha; its size is kept
    derived   True: make the map from a picture. False: ``picture`` is the painter's guide or a map;
              its transparency is removed and lines become white on black, whichever way they are.
    annotate  a trained detector for this kind, where there is one
    check     called now and then while a map is derived; what it raises ends that

    Raises ModelError (``missing_weights``) when a map of this kind cannot be derived without one.
    """
    if not derived:
        if kind in _LINES:
            return _lines_of(picture)
        if kind == "pose":
            return _off_paper(picture)
        return _flatten(picture, paper=_PAPERS.get(kind, _BLACK))
    seen = _flatten(picture, paper=_WHITE)
    if annotate is not None:
        return annotate(seen)
    if kind in _PICTURES:
        return _PICTURES[kind](seen)
    if kind not in _ANNOTATORS:
        without = ", ".join((*_ANNOTATORS, *_PICTURES))
        raise ModelError(
            "missing_weights",
            Sentence(
                "A {kind} map cannot be made from the picture without trained weights: {get}, or "
                "draw or import the map as a guide layer. Without weights: {without}.",
                kind=kind,
                get=what_to_get(kind),
                without=without,
            ),
            field="controls",
        )
    return _rgb(_ANNOTATORS[kind](seen, check))


def _rgb(plane: Picture) -> Picture:
    return np.repeat(plane[..., None], 3, axis=2)


def _flatten(picture: Picture, *, paper: tuple[int, int, int]) -> Picture:
    """The picture laid on ``paper`` (red, green, blue): (H, W, 3) uint8."""
    if picture.ndim == 2:
        return _rgb(picture)
    if picture.shape[2] == 3:
        return picture
    alpha = picture[..., 3:].astype(np.uint32)
    mixed = picture[..., :3] * alpha + np.array(paper, np.uint32) * (255 - alpha)
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
        guide = _flatten(guide, paper=_WHITE if _is_light(light[alpha > 0]) else _BLACK)
    colours = _flatten(guide, paper=_BLACK)
    darkest, lightest = colours.min(axis=2), colours.max(axis=2)
    if not _is_light(darkest / 255.0):
        return _rgb(lightest)
    # Light paper need not be white: its own tone becomes black. The darkest channel makes a line of
    # any colour stand out from it.
    tone = int(np.median(darkest))
    ink = np.clip(tone - darkest.astype(np.int32), 0, tone) * 255 // tone
    return _rgb(ink.astype(np.uint8))


def _off_paper(guide: Picture) -> Picture:
    """A coloured drawing on black, from one on transparent, on light or on dark paper.

    Light paper is taken away as if each pixel were a mix of it and the one colour of full strength
    that explains the pixel with the least ink.
    """
    colours = _flatten(guide, paper=_BLACK)
    opaque = guide.ndim < 3 or guide.shape[2] == 3 or bool((guide[..., 3] == 255).all())
    if not opaque or not _is_light(colours.min(axis=2) / 255.0):
        return colours
    paper = np.maximum(np.median(colours.reshape(-1, 3), axis=0), 1)
    ink = (np.abs(paper - colours) / paper).max(axis=2, keepdims=True).clip(0, 1)
    return np.rint((colours - paper * (1 - ink)).clip(0, 255)).astype(np.uint8)


def _is_light(values: NDArray[np.float64]) -> bool:
    """Whether most of ``values`` (0..1) are light: paper takes more room than ink."""
    return bool(np.median(values) > 0.5)


# --- maps from pictures ---------------------------------------------------------------------------


def _unit(picture: Picture) -> float:
    return max(min(picture.shape[:2]) / _ANNOTATOR_SIDE, 0.25)


def _blur(plane: NDArray[np.float32], sigma: float, check: Check) -> NDArray[np.float32]:
    """Smooth (H, W) or (H, W, C) with a Gaussian of ``sigma`` pixels, a band of rows after another."""
    # cv2 cuts the Gaussian of floats off at four sigma.
    halo = int(4 * sigma) + 2
    rows, step = len(plane), max(_BAND, 2 * halo)
    smooth = np.empty_like(plane)
    for top in range(0, rows, step):
        check()
        bottom, above = min(rows, top + step), max(0, top - halo)
        band = plane[above : min(rows, bottom + halo)]
        done = cv2.GaussianBlur(band, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        smooth[top:bottom] = done[top - above : bottom - above]
    return smooth


def _canny(picture: Picture, check: Check) -> Picture:
    """Canny 1986 on the strongest colour channel, with the public annotator's thresholds."""
    return cv2.Canny(picture, 100, 200)


def _gradient(picture: Picture, sigma: float, check: Check) -> _Plane:
    """Gradient magnitude at scale ``sigma`` pixels, the strongest of the L*a*b* channels.

    A step from black to white is about 1.
    """
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) / 100
    smooth = _blur(lab, sigma, check)
    # Scharr's weights add up to 32; a blurred step rises by 1 / (sigma sqrt(2 pi)) per pixel.
    scale = sigma * np.sqrt(2 * np.pi) / 32
    check()
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) * scale
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) * scale
    return np.hypot(across, down).max(axis=2)


def _line(picture: Picture, check: Check) -> Picture:
    """Thin lines of varied strength along dark strokes and the borders of areas.

    Strokes by a difference of Gaussians with a soft threshold (Winnemoeller et al. 2012, XDoG),
    borders by the thinned gradient.
    """
    unit = _unit(picture)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    fine = max(3.0 * unit, 1.0)
    strokes = _blur(grey, 1.6 * fine, check) - _blur(grey, fine, check)
    borders = _thin(_gradient(picture, max(3.0 * unit, 1.2), check))
    borders = _blur(borders, 0.5, check)
    drawn = np.maximum(np.tanh(12 * (strokes - 0.04)), np.tanh(5 * (borders - 0.06)))
    return _to_bytes(np.maximum(drawn, 0))


def _soft_edge(picture: Picture, check: Check) -> Picture:
    """Soft wide edges like those of HED (Xie & Tu 2015), from gradients at three scales."""
    unit = _unit(picture)
    edges = sum(_gradient(picture, max(sigma * unit, 0.7), check) for sigma in (1.5, 3.0, 6.0)) / 3
    return _to_bytes(np.minimum(2 * np.asarray(edges, np.float32), 1))


def _scribble(picture: Picture, check: Check) -> Picture:
    """Few thick strokes of one tone along the strongest edges."""
    unit = _unit(picture)
    ridges = _thin(_gradient(picture, max(3.0 * unit, 1.0), check))
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


def _straight(picture: Picture, check: Check) -> Picture:
    """Straight segments that are not short (von Gioi et al. 2012, LSD), one pixel wide."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    drawn = np.zeros_like(grey)
    if min(grey.shape) < _LEAST_SIDE:
        return drawn
    check()
    segments = cv2.createLineSegmentDetector().detect(grey)[0]
    least = _SHORTEST * min(grey.shape)
    for x, y, right, bottom in [] if segments is None else segments.reshape(-1, 4):
        if np.hypot(right - x, bottom - y) >= least:
            start, end = (
                (round(float(x)), round(float(y))),
                (
                    round(float(right)),
                    round(float(bottom)),
                ),
            )
            cv2.line(drawn, start, end, 255, 1, cv2.LINE_AA)
    return drawn


def _softened(picture: Picture) -> Picture:
    """Shapes and colours without detail: a net for tiles paints the detail anew.

    At an eighth of the size, as its training's harder examples are (Zhang et al. 2023, ControlNet
    1.1).
    """
    height, width = picture.shape[:2]
    small = (max(1, width // _SOFTER), max(1, height // _SOFTER))
    shrunk = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC)


def _as_it_is(picture: Picture) -> Picture:
    return picture


_ANNOTATORS = {
    "canny": _canny,
    "line": _line,
    "soft_edge": _soft_edge,
    "scribble": _scribble,
    "straight": _straight,
}
_PICTURES = {"tile": _softened, "inpaint": _as_it_is}
