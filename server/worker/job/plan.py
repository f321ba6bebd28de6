"""Request and model sizes -> JobPlan: all the arithmetic of a job, without a pixel or a tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from velatura.protocol.messages import Generate, ModelInfo
from velatura.protocol.region import (
    Rect,
    Size,
    close_part,
    mask_growth,
    most_whole,
    paint_scales,
)

# A region close to the size that the model paints best is not scaled: it may be larger by this.
_SLACK = 1.15**2
# By how much (of the native side) neighbouring tiles overlap at least.
_OVERLAP = 1 / 4
# The second pass: the last part of the steps, and never a single step.
_FINER_STRENGTH = 0.4
_FINER_STEPS = 2
# Device -> side (in native sides) of the largest picture of a second pass, and whether painters get
# it unasked; other devices are as slow as a CPU.
_FAST_DEVICES = {"cuda": 4, "xpu": 4}
_OTHERS = 2


@dataclass(frozen=True)
class JobPlan:
    """What will be done. ``model pixels`` are those of the picture that the model sees.

    cell       sides of what is cut out of the picture are multiples of it, in model pixels: whole cells
               of the latents
    part       what is painted, in region pixels: the whole region, or what a second pass covers
    content    that part, scaled: width and height in model pixels
    size       the picture the model sees: content, padded right and below to whole multiples
    scale      model pixels per canvas pixel
    steps      length of the sampler's schedule
    run        how many of its last steps run; 0: the source comes back and no model is needed
    start      what the noise is laid over: "noise" nothing, "source" the picture itself,
               "extension" the surroundings, continued smoothly into the hole
    grow       model pixels around the selection that the model repaints fully
    feather    model pixels beyond those over which its freedom falls to nothing
    guided     whether classifier-free guidance runs, with its second pass of the UNet per step
    tiles      what the UNet is shown at once, in model pixels; empty: everything
    finer      the second pass, over what this one painted; None: there is one pass
    """

    cell: int
    part: Rect
    content: Size
    size: Size
    scale: float
    steps: int
    run: int
    start: str
    grow: float
    feather: float
    guided: bool
    tiles: tuple[Rect, ...] = ()
    finer: JobPlan | None = None

    @property
    def work(self) -> int:
        """Model pixels that all steps of this pass go over."""
        tiles = self.tiles or (self.size,)
        return self.run * sum(tile.width * tile.height for tile in tiles)


def passes(plan: JobPlan) -> Iterator[JobPlan]:
    """The passes of a job, in their order."""
    following: JobPlan | None = plan
    while following is not None:
        yield following
        following = following.finer


def make_plan(request: Generate, model: ModelInfo, selected: Rect) -> JobPlan:
    """The plan of ``request`` for ``model``; ``selected`` bounds the selection (region pixels)."""
    strength = 1.0 if request.action == "generate" else request.strength
    start = _start(request.action, strength)
    region = Size(request.region.width, request.region.height)
    part = close_part(region, selected, model.native)
    scales = paint_scales(
        region,
        Size(part.width, part.height),
        model.native,
        model.largest,
        # What is not there yet has no composition, however little of it is asked for.
        1.0 if start == "extension" else strength,
        model.finest_at(request.detail),
    )

    def one_pass(
        part: Rect, scale: float, run: int, start: str, finer: JobPlan | None = None
    ) -> JobPlan:
        content = Size(max(1, round(part.width * scale)), max(1, round(part.height * scale)))
        size = Size(_up(content.width, model.multiple), _up(content.height, model.multiple))
        grow, feather = mask_growth(selected.width, selected.height)
        return JobPlan(
            cell=model.multiple,
            part=part,
            content=content,
            size=size,
            scale=scale,
            steps=request.steps,
            run=run,
            start=start,
            # A latent cell is free as a whole or not: less than one would cut into the selection.
            grow=max(model.multiple, grow * scale),
            feather=max(model.multiple, feather * scale),
            guided=request.guidance > 1,
            tiles=make_tiles(size, model)
            if _too_large(content, model, run / request.steps)
            else (),
            finer=finer,
        )

    finer = None
    if scales.second is not None:
        run = min(request.steps, max(_FINER_STEPS, round(request.steps * _FINER_STRENGTH)))
        finer = one_pass(part, scales.second, run, "source")
    run = steps_run(request.steps, strength)
    return one_pass(Rect(0, 0, region.width, region.height), scales.first, run, start, finer)


def with_detail(info: ModelInfo, device: str) -> ModelInfo:
    """``info`` with how finely it paints on ``device`` (a torch device type)."""
    sides = _FAST_DEVICES.get(device)
    finest = ((sides or _OTHERS) * info.native) ** 2
    return replace(info, detail="full" if sides else "fast", finest=finest)


def steps_run(steps: int, strength: float) -> int:
    """How many of ``steps`` run: int(steps * strength), as diffusers and A1111 count.

    Any strength above 0 runs at least one: a painter who asked for a little gets a little.
    """
    return min(steps, max(1, int(steps * strength))) if strength > 0 else 0


def make_tiles(size: Size, model: ModelInfo) -> tuple[Rect, ...]:
    """Overlapping rectangles of at most the native side that cover ``size``, row by row."""
    return tuple(
        Rect(x, y, width, height)
        for y, height in _spans(size.height, model)
        for x, width in _spans(size.width, model)
    )


def _spans(length: int, model: ModelInfo) -> list[tuple[int, int]]:
    """(start, length) of evenly spread tiles along one side; whole latent cells."""
    cell = model.multiple
    side = min(length, _up(model.native, cell))
    count = 1 + max(0, math.ceil((length - side) / (side * (1 - _OVERLAP))))
    last = (length - side) // cell
    return [(round(last * i / max(1, count - 1)) * cell, side) for i in range(count)]


def _too_large(content: Size, model: ModelInfo, strength: float) -> bool:
    """Whether a pass of this ``strength`` cannot see ``content`` at once."""
    most = _SLACK * most_whole(model.native, model.largest, strength)
    longest = max(content.width, content.height)
    return content.width * content.height > most or longest > model.largest


def _start(action: str, strength: float) -> str:
    if action == "generate":
        return "noise"
    # At full strength the noise hides almost all of what lies beneath, but not its large shapes
    # and colours: Stable Diffusion's schedule ends before pure noise. The old object must not be
    # there. What is empty has nothing to start from at any strength.
    if action == "expand" or (action == "fill" and strength == 1):
        return "extension"
    return "source"


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
