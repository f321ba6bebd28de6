"""Does the colour drift, does the seam show: ours beside diffusers' stock inpaint pasted naively.

On pictures of the starter's own world, with a hard round selection each, at a low strength and at
full strength, by the same model, size, seed, sampler and steps:

1. ``ring``: CIEDE2000 between before and after in the ring just inside the selection (low strength
   only: at full strength the content is meant to change).
2. ``step``: how much larger the colour step across the selection's edge is than its neighbours on
   both sides, CIEDE2000.

    python -m benchmarks.seam [--pictures 20] [--model starter] [--models FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import statistics
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image as Picture
from skimage.color import deltaE_ciede2000, rgb2lab
from velatura.models.devices import choose_device
from velatura.models.library import Library
from velatura.models.samplers import make_scheduler
from velatura.models.starter.recipe.world import caption, random_scene, render
from velatura.protocol.messages import Generate, ModelInfo, Result
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size, context_region
from velatura.server.worker.engine import Engine
from velatura.server.worker.job.masks import bounds
from velatura.server.worker.pixels import to_array

from benchmarks import report

# Scenes beyond those that the starter was trained or tested on.
_FIRST_SEED = 950_000_000
_RING = 4
_SAMPLER = "DPM++ 2M Karras"
STRENGTHS = {"low": 0.3, "full": 1.0}

Paint = Callable[[Generate], np.ndarray]


def make_request(seed: int, model: ModelInfo, strength: float, steps: int) -> Generate:
    """A round hard selection somewhere on a canvas of twice the model's native side."""
    side = 2 * model.native
    scene = random_scene(_FIRST_SEED + seed)
    rgb = render(scene, side, maps=False).image
    rng = np.random.default_rng(seed)
    centre = rng.integers(side // 3, 2 * side // 3, 2)
    radius = int(rng.integers(side // 8, side // 5))
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, tuple(int(c) for c in centre), radius, 255, -1)
    selected = bounds(mask)
    region = context_region(Size(side, side), selected, strength, model.native)
    rows, columns = slice(region.y, region.bottom), slice(region.x, region.right)
    opaque = np.full((side, side, 1), 255, np.uint8)

    def image(pixels: np.ndarray) -> Image:
        name = "gray8" if pixels.ndim == 2 else "rgba8"
        return Image(region.width, region.height, name, pixels[rows, columns].tobytes())

    return Generate(
        job=str(uuid.uuid4()),
        action="fill" if strength == 1 else "refine",
        model=model.name,
        canvas=Size(side, side),
        region=region,
        surroundings=image(np.concatenate([rgb, opaque], -1)),
        selection=image(mask),
        prompt=caption(scene, seed),
        strength=strength,
        steps=steps,
        guidance=model.guidance,
        sampler=_SAMPLER,
        seed=seed,
        previews=False,
    )


def over(layer: np.ndarray, request: Generate, at: Rect) -> np.ndarray:
    """The region after the layer (h, w, 4) was laid over it, in 8 bits: (H, W, 3) uint8."""
    after = to_array(request.surroundings)[..., :3].astype(np.uint32)
    part = after[at.y : at.bottom, at.x : at.right]
    alpha = layer[..., 3:].astype(np.uint32)
    part[:] = (layer[..., :3] * alpha + part * (255 - alpha) + 127) // 255
    return after.astype(np.uint8)


def ours(engine: Engine) -> Paint:
    def paint(request: Generate) -> np.ndarray:
        messages: list[Any] = []
        engine.run(request, messages.append, lambda: False)
        made = next(m for m in messages if isinstance(m, Result))
        x, y = made.x - request.region.x, made.y - request.region.y
        at = Rect(x, y, made.picture.width, made.picture.height)
        paint.size = made.recipe["size"]  # type: ignore[attr-defined]
        return over(to_array(made.picture), request, at)

    return paint


def stock(library: Library, name: str, size_of: Callable[[], dict[str, int]]) -> Paint:
    device, dtype, _ = choose_device()
    loaded = library.load(name, torch.device(device), dtype, lambda *_: None)
    pipeline = StableDiffusionInpaintPipeline(
        vae=loaded.vae,
        text_encoder=loaded.text_encoder,
        tokenizer=loaded.tokenizer,
        unet=loaded.unet,
        scheduler=make_scheduler(_SAMPLER, loaded.scheduler_config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def paint(request: Generate) -> np.ndarray:
        size = size_of()
        sides = (size["width"], size["height"])
        region = (request.region.width, request.region.height)
        before = Picture.fromarray(to_array(request.surroundings)[..., :3])
        mask = Picture.fromarray(to_array(request.selection))
        made = pipeline(
            prompt=request.prompt,
            image=before.resize(sides, Picture.Resampling.LANCZOS),
            mask_image=mask.resize(sides, Picture.Resampling.LANCZOS),
            width=sides[0],
            height=sides[1],
            strength=request.strength,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=torch.Generator().manual_seed(request.seed),
        ).images[0]
        before.paste(made.resize(region, Picture.Resampling.LANCZOS), mask=mask)
        return np.asarray(before)

    return paint


def ring_difference(after: np.ndarray, request: Generate) -> float:
    """Mean CIEDE2000 between before and after, up to 4 pixels inside the selection's edge."""
    mask = to_array(request.selection)
    depth = cv2.distanceTransform((mask > 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ring = (depth > 0) & (depth <= _RING)
    before = to_array(request.surroundings)[..., :3]
    return float(deltaE_ciede2000(rgb2lab(before[ring]), rgb2lab(after[ring])).mean())


def edge_step(after: np.ndarray, request: Generate) -> float:
    """Mean CIEDE2000 across the selection's edge, less that of the pairs beside it, >= 0 if seen."""
    mask = to_array(request.selection) > 0
    lab = rgb2lab(after)
    excess = []
    for picture, inside in ((lab, mask), (lab.transpose(1, 0, 2), mask.T)):
        # Neighbours along a row: steps[i] lies between columns i and i + 1.
        steps = deltaE_ciede2000(picture[:, :-1], picture[:, 1:])
        crossing = inside[:, :-1] != inside[:, 1:]
        here = crossing[:, 1:-1]
        beside = (steps[:, :-2] + steps[:, 2:]) / 2
        excess.append((steps[:, 1:-1] - beside)[here])
    return float(np.concatenate(excess).mean())


def measure(given: argparse.Namespace) -> dict[str, Any]:
    name, pictures, steps = given.model, given.pictures, given.steps
    library = Library(given.models)
    device, dtype, device_name = choose_device()
    paint = ours(Engine(library, torch.device(device), dtype, device_name))
    naive = stock(library, name, lambda: paint.size)  # type: ignore[attr-defined]
    model = next(m for m in library.models() if m.name == name)
    figures: dict[str, Any] = {"model": name, "device": device_name, "pictures": pictures}
    for label, strength in STRENGTHS.items():
        rows = []
        for seed in range(pictures):
            request = make_request(seed, model, strength, steps)
            rows.append([(ring_difference(a, request), edge_step(a, request))
                         for a in (paint(request), naive(request))])  # fmt: skip
        for index, figure in enumerate(("ring", "step")):
            if (label, figure) == ("full", "ring"):
                continue
            mine, theirs = ([row[who][index] for row in rows] for who in (0, 1))
            figures[f"{figure}_{label}"] = {
                "ours": statistics.mean(mine),
                "stock": statistics.mean(theirs),
                "better": sum(a < b for a, b in zip(mine, theirs, strict=True)),
            }
    return figures


if __name__ == "__main__":
    report.run(
        __doc__,
        measure,
        {
            "--pictures": {"type": int, "default": 20},
            "--steps": {"type": int, "default": 20},
            "--model": {"default": "starter"},
            "--models": {
                "type": Path,
                "action": "append",
                "default": [],
                "help": "a models folder",
            },
        },
    )
