"""Line maps as people and detectors really draw them."""

from __future__ import annotations

import cv2
import numpy as np
from velatura.models.starter.recipe.world.canvas import noise


def disturb_line(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clean line map (S, S) uint8, white on black, in another hand: same shape and type.

    Varies thickness (1 to 3 pixels), wobble, gaps, softness and strength, and may drop minor
    lines. About one map in six comes back clean.
    """
    if rng.random() < 0.16:
        return line.copy()
    size = line.shape[0]
    drawn = line
    if rng.random() < 0.35:
        drawn = _without_minor(drawn, rng)
    if rng.random() < 0.6:
        amount = size * rng.uniform(0.002, 0.009)
        cells = int(rng.integers(5, 18))
        place = np.arange(size, dtype=np.float32)
        drawn = cv2.remap(
            drawn,
            place[None, :] + noise(rng, size, cells) * amount,
            place[:, None] + noise(rng, size, cells) * amount,
            cv2.INTER_LINEAR,
        )
    thickness = rng.integers(1, 4)
    if thickness > 1:
        drawn = cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness,) * 2))
    if rng.random() < 0.4:
        gaps = noise(rng, size, int(rng.integers(10, 40))) > rng.uniform(0.7, 1.8)
        drawn = np.where(gaps, 0, drawn).astype(np.uint8)
    drawn = drawn.astype(np.float32)
    if rng.random() < 0.3:
        drawn = cv2.GaussianBlur(drawn, (0, 0), rng.uniform(0.5, 1.3))
        drawn *= 255 / max(float(drawn.max()), 1.0)
    if rng.random() < 0.3:
        return np.where(drawn > 100, 255, 0).astype(np.uint8)
    strength = rng.uniform(0.55, 1.0) if rng.random() < 0.3 else rng.uniform(1.0, 2.0)
    return np.clip(drawn * strength, 0, 255).astype(np.uint8)


def _without_minor(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The map without some of its small separate lines."""
    count, index, stats, _ = cv2.connectedComponentsWithStats((line > 60).astype(np.uint8))
    small = stats[:, cv2.CC_STAT_AREA] < line.shape[0] * 0.7
    dropped = small & (rng.random(count) < rng.uniform(0.3, 0.9))
    dropped[0] = False
    return np.where(dropped[index], 0, line).astype(np.uint8)
