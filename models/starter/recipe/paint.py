"""The exported starter at work, through diffusers' own pipelines: for measuring and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    LCMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from rich.console import Console
from rich.progress import track
from velatura.models.depth import weighed
from velatura.models.starter.recipe.config import STARTER

STEPS, GUIDANCE, FEW_STEPS = 20, 4.0, 4
BATCH = 20


def load_starter(folder: Path = STARTER) -> StableDiffusionPipeline:
    """The base, as anyone loads it."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def with_control(base: StableDiffusionPipeline, kind: str) -> StableDiffusionControlNetPipeline:
    """The base under the ControlNet for `kind`."""
    path = Path(base.config._name_or_path) / f"controlnet-{kind}"
    controlnet = ControlNetModel.from_pretrained(path).to(base.device)
    return _quiet(
        StableDiffusionControlNetPipeline(
            **base.components, controlnet=controlnet, requires_safety_checker=False
        )
    )


class WeighedDepth(StableDiffusionDepth2ImgPipeline):
    """Depth-to-image under a depth guide of ``weight`` 0..2; at 1 it is diffusers' own."""

    weight = 1.0

    def prepare_depth_map(self, image, depth_map, batch, guided, dtype, device):
        depth = super().prepare_depth_map(image, depth_map, batch, False, dtype, device)
        both = weighed(depth, self.weight)
        return both if guided else both[1:]


def with_depth(base: StableDiffusionPipeline) -> WeighedDepth:
    """Depth-to-image with the 5-channel UNet; the depth map is given, never guessed."""
    unet = UNet2DConditionModel.from_pretrained(Path(base.config._name_or_path) / "unet-depth")
    parts = {k: base.components[k] for k in ("vae", "text_encoder", "tokenizer", "scheduler")}
    return _quiet(
        WeighedDepth(
            **parts, unet=unet.to(base.device), depth_estimator=None, feature_extractor=None
        )
    )


def few_step(folder: Path = STARTER, *, tiny: bool = True) -> StableDiffusionPipeline:
    """The base with its few-step LoRA, and with the tiny decoder if asked for."""
    pipeline = load_starter(folder)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(folder, weight_name="lora-few-step.safetensors")
    pipeline.fuse_lora()
    if tiny:
        pipeline.vae = AutoencoderTiny.from_pretrained(folder / "vae-tiny").to(pipeline.device)
    return pipeline


def image_to_image(base: StableDiffusionPipeline) -> StableDiffusionImg2ImgPipeline:
    """The base as image-to-image."""
    return _quiet(StableDiffusionImg2ImgPipeline(**base.components, requires_safety_checker=False))


def paint(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    guidance: float = GUIDANCE,
    steps: int | None = None,
    images: Sequence[np.ndarray] | None = None,
    **arguments,
) -> np.ndarray:
    """One picture for each prompt: (N, S, S, 3) uint8, in STEPS steps unless told otherwise.

    `images` (S, S, 3) uint8 are source or control maps, one for each prompt; picture i always uses
    seed + i, whatever the batch.
    """
    pictures = []
    # Standard output may be JSON.
    for start in track(range(0, len(prompts), BATCH), "paint", console=Console(stderr=True)):
        part = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
        if images is not None:
            arguments["image"] = [Image.fromarray(i) for i in images[start : start + BATCH]]
        result = pipeline(
            part,
            num_inference_steps=steps or STEPS,
            guidance_scale=guidance,
            generator=generators,
            output_type="np",
            **arguments,
        )
        pictures.append((255 * result.images).round().astype(np.uint8))
    return np.concatenate(pictures)


def paint_depth(
    pipeline: WeighedDepth, prompts: Sequence[str], depth: np.ndarray, weight: float = 1.0
) -> np.ndarray:
    """Pictures at strength 1 from depth maps (N, S, S) uint8, one for each prompt."""
    pipeline.weight = weight
    pictures = []
    for i, (prompt, plane) in enumerate(zip(prompts, depth, strict=True)):
        # The pipeline wants a picture even where strength 1 leaves nothing of it: grey.
        result = pipeline(
            prompt,
            image=Image.new("RGB", plane.shape[::-1], (127, 127, 127)),
            depth_map=torch.from_numpy(plane)[None].float(),
            strength=1.0,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=torch.Generator().manual_seed(i),
            output_type="np",
        )
        pictures.append((255 * result.images).round().astype(np.uint8))
    return np.concatenate(pictures)


def _quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
