"""Pictures between the protocol's bytes, canvas pixels and model pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from velatura.protocol.pixels import Image
from velatura.server.worker.job.plan import JobPlan

if TYPE_CHECKING:
    from velatura.models.enlarger import Enlarger


def to_array(image: Image) -> np.ndarray:
    """(H, W, 4) uint8 for rgba8, (H, W) for gray8; a view of the image's own bytes."""
    pixels = np.frombuffer(image.data, np.uint8)
    channels = (4,) if image.format == "rgba8" else ()
    return pixels.reshape(image.height, image.width, *channels)


def to_image(pixels: np.ndarray) -> Image:
    """The reverse of ``to_array``."""
    name = "rgba8" if pixels.ndim == 3 else "gray8"
    return Image(pixels.shape[1], pixels.shape[0], name, pixels.tobytes())


def to_floats(pixels: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in 0..1."""
    return pixels.astype(np.float32) / 255


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Floats in 0..1 -> uint8; what lies outside is clipped, what is no number becomes 0."""
    return np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8)


def over(top: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``top`` over ``below``, both (H, W, 4) uint8 straight alpha; exact where top is 0 or 255."""
    a = top[..., 3:].astype(np.float32) / 255
    b = below[..., 3:].astype(np.float32) / 255 * (1 - a)
    alpha = a + b
    rgb = (top[..., :3] * a + below[..., :3] * b) / np.maximum(alpha, 1e-6)
    return np.rint(np.concatenate([rgb, alpha * 255], -1)).astype(np.uint8)


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scaled to ``width`` x ``height``: area mean where it shrinks, bicubic where it grows.

    Values may overshoot their range a little at edges when they are floats. Lanczos shows no more
    of a picture that was painted small, rings more, and takes OpenCV fifteen times as long.
    """
    if pixels.shape[1::-1] == (width, height):
        return pixels
    smaller = width * height < pixels.shape[0] * pixels.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(pixels, (width, height), interpolation=method)


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """The colours (H, W, 3) of (H, W, 4) uint8, packed: numpy's own copy takes ten times as long."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)


def to_model(pixels: np.ndarray, plan: JobPlan) -> np.ndarray:
    """Region pixels -> model pixels, padded by repeating the edge: nothing is distorted."""
    scaled = resize(pixels, plan.content.width, plan.content.height)
    below = plan.size.height - plan.content.height
    right = plan.size.width - plan.content.width
    return cv2.copyMakeBorder(scaled, 0, below, 0, right, cv2.BORDER_REPLICATE)


def from_model(pixels: np.ndarray, plan: JobPlan, width: int, height: int) -> np.ndarray:
    """Model pixels -> region pixels: the padding is cut off."""
    return resize(pixels[: plan.content.height, : plan.content.width], width, height)


def enlarge(
    pixels: np.ndarray, plan: JobPlan, width: int, height: int, enlarger: Enlarger | None
) -> np.ndarray | None:
    """from_model by a learnt upscaler: (height, width, 3) float32 in 0..1 of floats (h, w, 3).

    None where there is nothing to enlarge, or nothing to do it with.
    """
    if enlarger is None or width * height <= plan.content.width * plan.content.height:
        return None
    content = pixels[: plan.content.height, : plan.content.width]
    return enlarger.resize(content.astype(np.float32).clip(0, 1), width, height)


def extend(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Continue ``values`` smoothly to where they are not known.

    values: (H, W, C) float32. weights: (H, W) float32 in 0..1; 1 keeps the value exactly, 0 takes
    it from the known ones around. Where nothing is known at all the result is 0.
    Source: pull-push of Gortler et al. 1996, The Lumigraph.
    """
    height, width = weights.shape
    w = weights[..., None]
    if height <= 1 and width <= 1:
        return values * (w > 0)
    half = (-(-width // 2), -(-height // 2))
    padding = (0, 2 * half[1] - height, 0, 2 * half[0] - width)
    pulled = cv2.resize(
        cv2.copyMakeBorder(
            np.concatenate([values * w, w], -1), *padding, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
        ),
        half,
        interpolation=cv2.INTER_AREA,
    )
    known = pulled[..., 3]
    coarse = extend(
        pulled[..., :3] / np.maximum(known, 1e-8)[..., None],
        # One known pixel of four is enough to know the coarse one.
        np.minimum(1, 4 * known),
    )
    pushed = cv2.resize(coarse, (2 * half[0], 2 * half[1]), interpolation=cv2.INTER_LINEAR)
    return values * w + pushed[:height, :width] * (1 - w)
