"""Where a live picture is repainted: all the arithmetic, without a model.

A change is repainted in a crop around it, so that the cost of a picture follows the edit. The new
pixels fade into what is shown at the crop's border. Model pixels are those of the picture that the
model sees; a canvas pixel and a model pixel are whole multiples of each other, so that every rectangle
has exact counterparts in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from velatura.protocol.messages import ModelInfo
from velatura.protocol.region import Rect, Size, grown

# The area (in native squares) up to which a live picture is not scaled down.
_MOST_AREA = 1.5
# Model pixels around a change that are repainted with it at least: the answer to a stroke reaches a
# little farther than the stroke.
_REACH = 6
# Above this part of the picture a crop saves too little to be worth its border.
WORTH_IT = 0.6
_WHITE = 255
# Cubic interpolation looks this many pixels to each side.
_KERNEL = 2


@dataclass(frozen=True)
class LivePlan:
    """How a canvas ``area`` is seen by the model.

    shrink, grow  canvas pixels per model pixel and the reverse; at least one of them is 1
    cell          model pixels along each side of a latent cell, or of several
    content       the area in model pixels
    size          content, padded right and below to whole multiples that the model paints
    """

    area: Size
    shrink: int
    grow: int
    cell: int
    content: Size
    size: Size


@dataclass(frozen=True)
class Crop:
    """What one picture repaints, in model pixels. ``rect`` goes through the model.

    shown  (h, w) float32: the part that the new pixels have in what is shown
    """

    rect: Rect
    shown: np.ndarray

    @property
    def whole(self) -> bool:
        return bool(self.shown.min() == 1)


def make_live_plan(area: Size, model: ModelInfo, multiple: int = 1) -> LivePlan:
    """The plan for a canvas of ``area``: about the size that the model paints best.

    multiple: of what the sides are, in model pixels, beside what the model needs
    """
    cell, multiple = model.multiple, math.lcm(multiple, model.multiple)

    def fits(shrink: int) -> bool:
        width, height = -(-area.width // shrink), -(-area.height // shrink)
        largest = max(width, height) <= max(model.largest, model.native)
        return largest and width * height <= _MOST_AREA * model.native**2

    shrink, grow = 1, 1
    while not fits(shrink):
        shrink += 1
    while (
        shrink == 1
        and (grow + 1) ** 2 * area.width * area.height <= model.native**2
        and (grow + 1) * max(area.width, area.height) <= model.largest
    ):
        grow += 1
    content = Size(-(-area.width // shrink) * grow, -(-area.height // shrink) * grow)
    size = Size(up(content.width, multiple), up(content.height, multiple))
    return LivePlan(area, shrink, grow, cell, content, size)


def to_model_rect(rect: Rect, plan: LivePlan) -> Rect:
    """The model pixels that a change of ``rect`` (canvas pixels) can change, padding included."""
    # Enlarging mixes each pixel with its neighbours.
    around = 1 if plan.grow > 1 else 0
    left, top = (rect.x - around) // plan.shrink, (rect.y - around) // plan.shrink
    right = -(-(rect.right + around) // plan.shrink)
    bottom = -(-(rect.bottom + around) // plan.shrink)
    left, top = max(0, left) * plan.grow, max(0, top) * plan.grow
    right, bottom = right * plan.grow, bottom * plan.grow
    # What lies at the edge is repeated in the padding.
    right = plan.size.width if right >= plan.content.width else right
    bottom = plan.size.height if bottom >= plan.content.height else bottom
    return Rect(left, top, right - left, bottom - top)


def source_rect(rect: Rect, plan: LivePlan) -> Rect:
    """The canvas pixels that ``rect`` (model pixels, as of to_model_rect) is made of."""
    around = 1 if plan.grow > 1 else 0
    left = max(0, rect.x // plan.grow * plan.shrink - around)
    top = max(0, rect.y // plan.grow * plan.shrink - around)
    right = min(plan.area.width, -(-rect.right // plan.grow) * plan.shrink + around)
    bottom = min(plan.area.height, -(-rect.bottom // plan.grow) * plan.shrink + around)
    return Rect(left, top, right - left, bottom - top)


def see(pixels: np.ndarray, source: Rect, rect: Rect, plan: LivePlan) -> np.ndarray:
    """Canvas pixels (H, W, 4) uint8 of ``source`` -> model pixels (h, w, 3) uint8 of ``rect``."""
    rgb = _on_white(pixels)
    if plan.grow > 1:
        g = plan.grow
        large = (source.width * g, source.height * g)
        rgb = cv2.resize(rgb, large, interpolation=cv2.INTER_LINEAR)
        left, top = rect.x - source.x * g, rect.y - source.y * g
        rgb = rgb[top : top + rect.height, left : left + rect.width]
    elif plan.shrink > 1:
        k = plan.shrink
        # At the right and below the last pixel may be a part of one.
        part = (0, -source.height % k, 0, -source.width % k)
        rgb = cv2.copyMakeBorder(rgb, *part, cv2.BORDER_REPLICATE)
        small = (rgb.shape[1] // k, rgb.shape[0] // k)
        rgb = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA)
    missing = (0, rect.height - rgb.shape[0], 0, rect.width - rgb.shape[1])
    return cv2.copyMakeBorder(rgb, *missing, cv2.BORDER_REPLICATE)


def show(shown: np.ndarray, rect: Rect, plan: LivePlan) -> tuple[Rect, np.ndarray]:
    """What a change of ``rect`` in ``shown`` (h, w, 3) uint8, all model pixels, changes on the canvas:

    the rectangle in canvas pixels and its pixels (H, W, 4) uint8, opaque. It is the same part of the
    whole picture that scaling the whole would give.
    """
    content, k, g = plan.content, plan.shrink, plan.grow
    if k > 1:
        whole = Rect(0, 0, content.width, content.height)
        rect = grown(rect, _KERNEL, whole)
        seen = grown(rect, _KERNEL + 1, whole)
        part = shown[seen.y : seen.bottom, seen.x : seen.right]
        large = cv2.resize(
            part, (part.shape[1] * k, part.shape[0] * k), interpolation=cv2.INTER_CUBIC
        )
        left, top = (rect.x - seen.x) * k, (rect.y - seen.y) * k
        rgb = large[top : top + rect.height * k, left : left + rect.width * k]
        x, y = rect.x * k, rect.y * k
    else:
        # Outward to whole canvas pixels.
        left, top = rect.x // g, rect.y // g
        right, bottom = (
            -(-min(rect.right, content.width) // g),
            -(-min(rect.bottom, content.height) // g),
        )
        part = shown[top * g : bottom * g, left * g : right * g]
        small = (right - left, bottom - top)
        rgb = part if g == 1 else cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        x, y = left, top
    height = min(rgb.shape[0], plan.area.height - y)
    width = min(rgb.shape[1], plan.area.width - x)
    return Rect(x, y, width, height), cv2.cvtColor(rgb[:height, :width], cv2.COLOR_RGB2RGBA)


def crop_around(
    rect: Rect | None, plan: LivePlan, fit: Callable[[Rect], Rect] = lambda crop: crop
) -> Crop:
    """What to repaint when ``rect`` (model pixels) changed; None: everything.

    fit: a rectangle of whole cells -> the one around it that can be painted
    """
    whole = Rect(0, 0, plan.size.width, plan.size.height)
    if rect is not None:
        crop = fit(cells_around(rect, _REACH, whole, plan.cell))
        if crop.width * crop.height < WORTH_IT * whole.width * whole.height:
            return Crop(crop, _falling(rect, crop, whole))
    return Crop(whole, np.ones((whole.height, whole.width), np.float32))


def cells_around(rect: Rect, by: int, whole: Rect, cell: int) -> Rect:
    """Grow ``rect`` by ``by`` pixels, inside ``whole``, outward to whole cells of ``cell`` pixels."""
    left, top = max(0, rect.x - by) // cell * cell, max(0, rect.y - by) // cell * cell
    right = min(whole.width, up(rect.right + by, cell))
    bottom = min(whole.height, up(rect.bottom + by, cell))
    return Rect(left, top, right - left, bottom - top)


def _falling(rect: Rect, crop: Rect, whole: Rect) -> np.ndarray:
    """(h, w) float32 of ``crop``: 1 in ``rect``, from there to 0 where the crop ends inside ``whole``."""

    def along(first: int, last: int, low: int, high: int, end: int) -> np.ndarray:
        centres = np.arange(low, high, dtype=np.float32) + 0.5
        part = np.ones_like(centres)
        if low > 0:
            part = (centres - low) / max(1, first - low)
        if high < end:
            part = np.minimum(part, (high - centres) / max(1, high - last))
        return part.clip(0, 1)

    columns = along(rect.x, rect.right, crop.x, crop.right, whole.width)
    rows = along(rect.y, rect.bottom, crop.y, crop.bottom, whole.height)
    return np.minimum(rows[:, None], columns[None, :])


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 straight alpha laid on white: (H, W, 3)."""
    alpha = pixels[..., 3:]
    if alpha.min(initial=_WHITE) == _WHITE:
        return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    a = alpha.astype(np.uint16)
    mixed = pixels[..., :3] * a + _WHITE * (_WHITE - a)
    return ((mixed + 127) // _WHITE).astype(np.uint8)


def up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
