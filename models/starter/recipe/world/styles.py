"""From the flat painting to oil, watercolour, ink or pencil.

Each style is a few vectorised filters over the finished canvas. Textures are drawn in picture
units and chosen by the scene's own generator, so that a scene looks alike at every size.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from velatura.models.starter.recipe.world.canvas import LABELS, Canvas, noise

_PAPER = np.array((250, 247, 238), np.float32)
_CREAM = np.array((246, 239, 222), np.float32)
_INK = np.array((34, 30, 40), np.float32)
_LEAD = np.array((72, 70, 78), np.float32)


def apply_style(canvas: Canvas, style: str, rng: np.random.Generator) -> np.ndarray:
    """The canvas as (S, S, 3) uint8 sRGB in one of STYLES."""
    image = {
        "flat": _flat,
        "oil": _oil,
        "watercolour": _watercolour,
        "ink": _ink,
        "pencil": _pencil,
    }[style](canvas, rng)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _flat(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    return canvas.rgb


@lru_cache(maxsize=16)
def _strokes(size: int, fine: bool, variant: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A field of overlapping brush strokes: map_x, map_y to each stroke's heart, and relief.

    All (size, size) float32; the maps in pixels, the relief about -1..1 from bristles and from
    the ridge that the brush leaves at its edges.
    """
    rng = np.random.default_rng((11, variant, int(fine)))
    length, width = (0.032, 0.012) if fine else (0.11, 0.026)
    count = int(2.4 / (length * width))
    x, y = rng.uniform(-0.05, 1.05, (2, count))
    if fine:
        angle = rng.uniform(0, np.pi, count)
    else:
        # Broad strokes follow slow waves across the picture.
        angle = 0.45 * np.sin(2 * np.pi * (x * 1.1 + y * 0.8 + variant * 0.37))
        angle += rng.normal(0, 0.16, count)
    half = length / 2 * rng.uniform(0.7, 1.2, count)
    owner = np.full((size, size), -1, np.float32)
    dx, dy = np.cos(angle) * half, np.sin(angle) * half
    bend = rng.normal(0, 0.12, count) * length
    points = np.stack(
        [
            np.stack([x - dx, y - dy], 1),
            np.stack([x - bend * np.sin(angle), y + bend * np.cos(angle)], 1),
            np.stack([x + dx, y + dy], 1),
        ],
        1,
    )
    pixels = np.round((points * size - 0.5) * 16).astype(np.int32)
    thick = max(1, round(width * size))
    for i in range(count):
        cv2.polylines(owner, [pixels[i]], False, float(i), thick, cv2.LINE_8, 4)
    index = owner.astype(np.int64)
    place = np.arange(size, dtype=np.float32)
    # Where no stroke fell, the ground of the painting stays as it is.
    map_x = np.where(index < 0, place[None, :], x[index] * size - 0.5).astype(np.float32)
    map_y = np.where(index < 0, place[:, None], y[index] * size - 0.5).astype(np.float32)
    off_x, off_y = place[None, :] - map_x, place[:, None] - map_y
    across = (-np.sin(angle)[index] * off_x + np.cos(angle)[index] * off_y) / (width * size / 2)
    bristles = np.sin(across * 6.5 + rng.uniform(0, 6, count)[index]) * 0.5
    ridge = np.clip(-across, -1.2, 1.2) * 0.55
    tone = rng.normal(0, 0.55, count)[index]
    return map_x, map_y, (bristles + ridge + tone).astype(np.float32)


def _oil(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Broad strokes behind, fine ones on the things; each stroke carries its heart's colour."""
    size, variant = canvas.size, int(rng.integers(4))
    # Mirroring the source before and after doubles the variety of stroke fields for nothing.
    mirror = rng.random() < 0.5
    source = canvas.rgb[:, ::-1] if mirror else canvas.rgb
    thing = np.ascontiguousarray(canvas.detail[:, ::-1] if mirror else canvas.detail)
    labels = canvas.label[:, ::-1] if mirror else canvas.label
    source = np.ascontiguousarray(source)
    wide_x, wide_y, wide_relief = _strokes(size, False, variant)
    fine_x, fine_y, fine_relief = _strokes(size, True, variant)
    broad = cv2.remap(source, wide_x, wide_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    fine = cv2.remap(source, fine_x, fine_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    broad = broad * 0.8 + fine * 0.2
    fine = fine * 0.5 + source * 0.5
    here = cv2.remap(thing, fine_x, fine_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    # A broad stroke may not run over a thing, nor carry a thing's colour away from it.
    heart = cv2.remap(thing, wide_x, wide_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    share = np.maximum(here, heart).astype(np.float32)
    share = cv2.GaussianBlur(share, (0, 0), size * 0.0025)[..., None] / 255
    # Lights and clouds in the sky would be lost among strokes of their own size.
    crisp = cv2.GaussianBlur(
        np.where(labels == LABELS.index("sky"), thing, 0).astype(np.float32), (0, 0), size * 0.003
    )[..., None]
    fine = fine + (source - fine) * crisp * (0.7 / 255)
    image = broad + (fine - broad) * share
    relief = (wide_relief * (1 - share[..., 0]) + fine_relief * share[..., 0] * 0.8)[..., None]
    image = image + relief * (3.0 + image * 0.032)
    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * 1.12
    return image[:, ::-1] if mirror else image


def _wobble(image: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    size = image.shape[0]
    place = np.arange(size, dtype=np.float32)
    return cv2.remap(
        image,
        place[None, :] + noise(rng, size, 14) * (amount * size),
        place[:, None] + noise(rng, size, 14) * (amount * size),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _watercolour(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Transparent washes on paper: blooms, granulation, and pigment gathered at the edges."""
    size = canvas.size
    wet = cv2.GaussianBlur(canvas.rgb, (0, 0), size * 0.018)
    thing = cv2.GaussianBlur(canvas.detail.astype(np.float32) / 255, (0, 0), size * 0.006)
    image = canvas.rgb + (wet - canvas.rgb) * (1 - thing[..., None]) * 0.75
    edges = cv2.GaussianBlur(canvas.line.astype(np.float32), (0, 0), size * 0.006) / 255
    stack = np.dstack([image, edges])
    stack = _wobble(stack, rng, 0.0022)
    image, edges = stack[..., :3], stack[..., 3:]
    blooms = noise(rng, size, 5) * 0.5 + noise(rng, size, 13) * 0.4
    grain = _paper(size, int(rng.integers(4)))
    strength = 0.78 + 0.17 * blooms[..., None] + 0.07 * grain[..., None]
    strength = np.clip(strength, 0.35, 1.1) + 0.42 * edges
    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * 1.18
    return _PAPER * (1 - strength) + image * strength + grain[..., None] * 3


@lru_cache(maxsize=16)
def _paper(size: int, variant: int) -> np.ndarray:
    """Paper tooth (size, size) float32 of about unit variance."""
    rng = np.random.default_rng((12, variant))
    return noise(rng, size, 110) * 0.8 + noise(rng, size, 50) * 0.5


@lru_cache(maxsize=32)
def _hatch(size: int, angle: float, period: float, variant: int) -> np.ndarray:
    """Hatching (size, size) float32, 0..1: parallel pen lines that tremble a little."""
    rng = np.random.default_rng((13, variant, round(500 + angle * 100)))
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    across = place[None, :] * np.sin(angle) + place[:, None] * np.cos(angle)
    phase = across * (2 * np.pi / period) + noise(rng, size, 9) * 0.5
    return (np.cos(phase) * 0.5 + 0.5).astype(np.float32)


def _ink(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Pen lines and hatching over a thin coloured wash."""
    size, variant = canvas.size, int(rng.integers(4))
    source = canvas.rgb
    grey = source @ np.array((0.3, 0.59, 0.11), np.float32) / 255
    wash = _CREAM * (0.3 + 0.7 * source / 255)
    wash = wash + (wash - wash.mean(2, keepdims=True)) * 0.45
    wash = wash * (1 + 0.02 * _paper(size, variant)[..., None])
    first = _hatch(size, 0.8, 0.026, variant)
    second = _hatch(size, -0.7, 0.026, variant)
    depth = np.clip((0.56 - grey) * 1.7, 0, 0.6)
    cross = np.clip((0.24 - grey) * 2.2, 0, 0.4)
    uneven = np.clip(0.42 + 0.2 * noise(rng, size, 24), 0.1, 0.65)
    pen = np.maximum(_cut(first, depth), _cut(second, cross)) * uneven
    line = _drawn(canvas)
    pressure = np.clip(1.0 + 0.22 * noise(rng, size, 20), 0.5, 1.2)
    pen = np.clip(np.maximum(pen, line * pressure), 0, 1)[..., None]
    return wash + (_INK - wash) * pen


def _drawn(canvas: Canvas) -> np.ndarray:
    """The line map (S, S) float32, 0..1, as thick as a pen's line at every size."""
    line = cv2.GaussianBlur(canvas.line.astype(np.float32), (0, 0), canvas.size * 0.0024)
    # The map's lines are one pixel wide in small pictures, which is already broad there.
    gain = min(1.55, 0.45 + 1.1 * canvas.size / 256)
    return np.clip(line * (gain / 255), 0, 1)


def _cut(hatch: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Ink where the hatching rises above 1 - tone, with soft edges."""
    return np.clip((hatch - 1 + tone) * 3.5, 0, 1)


@lru_cache(maxsize=16)
def _crayon(size: int, variant: int) -> np.ndarray:
    """Slanted pencil strokes on toothy paper (size, size) float32, 0..1, evenly spread."""
    rng = np.random.default_rng((14, variant))
    # Noise that is smooth along one diagonal: built upright, then turned.
    streaks = cv2.resize(
        rng.standard_normal((22, 230), dtype=np.float32), (512, 512), interpolation=cv2.INTER_CUBIC
    )
    turn = cv2.getRotationMatrix2D((256, 256), -38 - 6 * variant, 1.45)
    streaks = cv2.warpAffine(streaks, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
    streaks = cv2.resize(streaks, (size, size), interpolation=cv2.INTER_AREA)
    texture = streaks + 0.55 * _paper(size, variant)
    rank = np.argsort(np.argsort(texture, axis=None)).reshape(size, size)
    return (rank / rank.max()).astype(np.float32)


def _pencil(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Coloured pencil: the paper's white shows through strokes that cover by darkness."""
    size, variant = canvas.size, int(rng.integers(4))
    source = canvas.rgb
    grey = source.mean(2, keepdims=True)
    pigment = np.clip(grey + (source - grey) * 1.25, 0, 255) * 0.94
    colourful = (source.max(2) - source.min(2)) / 255
    dark = 1 - grey[..., 0] / 255
    cover = np.clip(0.3 + 0.75 * dark + 0.45 * colourful, 0, 1.0)
    # Dark tones are rubbed in until hardly any paper is left between the strokes.
    streak = (_crayon(size, variant) - 0.5) * (0.18 + 0.62 * (1 - cover))
    share = np.clip(cover - streak, 0.08, 0.97)[..., None]
    image = _PAPER + (pigment - _PAPER) * share
    line = _drawn(canvas)
    second = _wobble(line, rng, 0.003)
    pressure = np.clip(0.85 + 0.2 * _paper(size, variant), 0.2, 1)
    lead = np.clip(line * 0.75 + second * 0.45, 0, 0.92) * pressure
    return image + (_LEAD - image) * lead[..., None]
