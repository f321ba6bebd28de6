"""What must hold for the demo's results; pure, on arrays."""

from __future__ import annotations

import cv2
import numpy as np

from .paintings import Painting, Task

# Painted lines may lie this many pixels beside the guide's and still count.
_TOLERANCE = 2


def over(canvas: np.ndarray, layer: np.ndarray, x: int, y: int) -> np.ndarray:
    """``layer`` (h, w, 4) composited at (x, y) over ``canvas`` (H, W, 4); uint8, straight alpha."""
    result = canvas.copy()
    height, width = layer.shape[:2]
    below = result[y : y + height, x : x + width].astype(np.float64) / 255
    above = layer.astype(np.float64) / 255
    alpha = above[..., 3:] + below[..., 3:] * (1 - above[..., 3:])
    colour = above[..., :3] * above[..., 3:] + below[..., :3] * below[..., 3:] * (
        1 - above[..., 3:]
    )
    colour = np.divide(colour, alpha, out=np.zeros_like(colour), where=alpha > 0)
    result[y : y + height, x : x + width] = np.rint(np.dstack([colour, alpha]) * 255)
    return result


def line_agreement(given: np.ndarray, painted: np.ndarray) -> float:
    """F1 of two line maps (H, W), lines above 127, at a tolerance of two pixels."""
    a, b = given > 127, painted > 127
    square = np.ones((2 * _TOLERANCE + 1,) * 2, np.uint8)
    near_a, near_b = (cv2.dilate(lines.astype(np.uint8), square) > 0 for lines in (a, b))
    precision = (b & near_a).sum() / max(1, b.sum())
    recall = (a & near_b).sum() / max(1, a.sum())
    return float(2 * precision * recall / max(1e-9, precision + recall))


def failures(
    painting: Painting,
    tasks: dict[str, Task],
    layers: dict[str, np.ndarray],
    after: dict[str, np.ndarray],
    agreement: dict[str, float],
) -> list[str]:
    """One sentence for everything that does not hold; none means all is well.

    layers: task -> the layer on its whole canvas (H, W, 4). after: task -> composited canvas.
    agreement: "controlled" and "uncontrolled" -> agreement with the given control map, 0..1.
    """
    found = []
    for key, task in tasks.items():
        if layers[key].shape != task.canvas.shape:
            found.append(f"{key}: the layer is {layers[key].shape}, the canvas {task.canvas.shape}")
    outside = painting.selection == 0
    changed = (after["fill"] != tasks["fill"].canvas).any(-1)
    if (changed & outside).any():
        found.append(f"fill: {(changed & outside).sum()} pixels outside the selection changed")
    empty = tasks["expand"].canvas[..., 3] == 0
    expanded = (after["expand"] != tasks["expand"].canvas).any(-1)
    if (expanded & ~empty).any():
        found.append(f"expand: {(expanded & ~empty).sum()} painted pixels changed")
    if (after["expand"][..., 3] < 255).any():
        found.append("expand: a part of the canvas is still empty")
    inside = painting.selection == 255
    fill, refine = (
        float(np.abs(after[key].astype(int) - tasks[key].canvas)[inside].mean())
        for key in ("fill", "refine-40")
    )
    if fill <= refine:
        found.append(f"fill changed the inside by {fill:.1f}, a refine at 40 % by {refine:.1f}")
    if agreement["controlled"] <= agreement["uncontrolled"]:
        found.append(
            f"the guided picture agrees with its guide by {agreement['controlled']:.2f}, "
            f"one without a guide by {agreement['uncontrolled']:.2f}"
        )
    return [f"{painting.name}: {sentence}" for sentence in found]
