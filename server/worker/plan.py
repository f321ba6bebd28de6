"""Request and model sizes -> JobPlan: all the arithmetic of a job, without a pixel or a tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from velatura.protocol.messages import Generate, ModelInfo
from velatura.protocol.region import Size, mask_growth

# A region this close to the size that the model paints best is not resampled: pixels that were
# never resampled are sharper than what the last few percent of size would gain.
_CLOSE_ENOUGH = 1.15
# One cell of the latents, in model pixels (all families here have factor 8).
LATENT_CELL = 8


@dataclass(frozen=True)
class JobPlan:
    """What will be done. ``model pixels`` are those of the picture that the model sees.

    content    the region, scaled: width and height in model pixels
    size       the picture the model sees: content, padded right and below to whole multiples
    scale      model pixels per canvas pixel
    steps      length of the sampler's schedule
    run        how many of its last steps run; 0: the source comes back and no model is needed
    start      what the noise is laid over: "noise" nothing, "source" the picture itself,
               "extension" the surroundings, continued smoothly into the hole
    grow       model pixels around the selection that the model repaints fully
    feather    model pixels beyond those over which its freedom falls to nothing
    guided     whether classifier-free guidance runs, with its second pass
    passes     forward passes of the UNet per step: 2 when guided, else 1
    """

    content: Size
    size: Size
    scale: float
    steps: int
    run: int
    start: str
    grow: float
    feather: float
    guided: bool

    @property
    def passes(self) -> int:
        return 2 if self.guided else 1


def make_plan(request: Generate, model: ModelInfo, selected: Size) -> JobPlan:
    """The plan of ``request`` for ``model``; ``selected`` is the size of the selection's bounds."""
    strength = 1.0 if request.action == "generate" else request.strength
    scale = _scale(request.region.width, request.region.height, model, strength)
    content = Size(
        max(1, round(request.region.width * scale)), max(1, round(request.region.height * scale))
    )
    size = Size(_up(content.width, model.multiple), _up(content.height, model.multiple))
    grow, feather = mask_growth(selected.width, selected.height)
    return JobPlan(
        content=content,
        size=size,
        scale=scale,
        steps=request.steps,
        run=steps_run(request.steps, strength),
        start=_start(request.action, strength),
        # A latent cell is free as a whole or not at all: less than one would cut into the selection.
        grow=max(LATENT_CELL, grow * scale),
        feather=max(LATENT_CELL, feather * scale),
        guided=request.guidance > 1,
    )


def steps_run(steps: int, strength: float) -> int:
    """How many of ``steps`` run: int(steps * strength), as diffusers and A1111 count.

    Any strength above 0 runs at least one: a painter who asked for a little gets a little.
    """
    return min(steps, max(1, int(steps * strength))) if strength > 0 else 0


def _start(action: str, strength: float) -> str:
    if action == "generate":
        return "noise"
    # At full strength the noise hides almost all of what lies beneath, but not its large shapes
    # and colours: Stable Diffusion's schedule ends before pure noise. The old object must not be
    # there. What is empty has nothing to start from at any strength.
    if action == "expand" or (action == "fill" and strength == 1):
        return "extension"
    return "source"


def _scale(width: int, height: int, model: ModelInfo, strength: float) -> float:
    """Model pixels per canvas pixel.

    Invented from noise, a picture has the area of native x native: larger ones repeat their
    subject. The more of the source is kept, the larger it may be, up to ``largest`` near
    strength 0, but not larger than the region. No side is longer than ``largest``.
    """
    area = width * height
    native = model.native**2
    most = native * (model.largest / model.native) ** (2 * (1 - strength))
    wanted = math.sqrt(max(native, min(area, most)) / area)
    longest = model.largest / max(width, height)
    if 1 / _CLOSE_ENOUGH <= wanted <= _CLOSE_ENOUGH and longest >= 1:
        return 1.0
    return min(wanted, longest)


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
