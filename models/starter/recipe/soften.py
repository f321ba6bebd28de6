"""What the enlarger gets to see: the large training pictures as the starter paints them, a quarter as
wide. Round trips through the autoencoder, and the starter's own refinements of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderTiny
from rich.progress import track
from velatura.models.starter.recipe import paint
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import STARTER, Config
from velatura.models.starter.recipe.data import Pictures, to_pixels, to_tensor
from velatura.models.starter.recipe.measures import round_trips

FACTOR = 4
BATCH = 20
STRENGTHS = (0.1, 0.4)  # more, and things no longer stand where the render has them


def soften_pictures(config: Config, folder: Path = STARTER) -> None:
    """Write `soft.npy` (N, S/4, S/4, 3) uint8 into every shard of `large-train` that has none.

    By batches in turn: a round trip, a refinement in many steps, one in few steps behind the tiny
    decoder, which is what live painting shows.
    """
    base = paint.load_starter(folder)
    few = paint.few_step(folder, tiny=False)
    refine, refine_few = paint.image_to_image(base), paint.image_to_image(few)
    tiny = AutoencoderTiny.from_pretrained(folder / "vae-tiny").to(base.device)
    shards = (config.work / "pictures" / "large-train").glob("[0-9]*[0-9]")
    for shard in track(sorted(shards), "soften"):
        if (shard / "soft.npy").exists():
            continue
        pictures = Pictures(config, "large-train", [shard])
        rng = np.random.default_rng(pictures.seeds[0])
        soft = []
        for turn, start in enumerate(range(0, len(pictures), BATCH)):
            indices = np.arange(start, min(start + BATCH, len(pictures)))
            small = np.stack([shrink(image) for image in pictures.read("image", indices)])
            prompts = [pictures.captions[i][0] for i in indices]
            strength = float(rng.uniform(*STRENGTHS))
            if turn % 3 == 0:
                soft.append(round_trips(base.vae, small))
            elif turn % 3 == 1:
                soft.append(paint.paint(refine, prompts, images=small, strength=strength))
            else:
                soft.append(_few_steps(refine_few, tiny, prompts, small, strength))
        part = shard / "soft.part"
        with part.open("wb") as file:
            np.save(file, np.concatenate(soft))
        part.rename(shard / "soft.npy")


def shrink(image: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 -> (S/4, S/4, 3), as the engine scales a region down: area means."""
    return cv2.resize(image, None, fx=1 / FACTOR, fy=1 / FACTOR, interpolation=cv2.INTER_AREA)


@torch.no_grad()
def _few_steps(
    refine, tiny, prompts: Sequence[str], images: np.ndarray, strength: float
) -> np.ndarray:
    latents = refine(
        prompts,
        image=to_tensor(images).add(1).div(2),
        # Half of the few steps at least, or none would run.
        strength=max(0.5, strength),
        num_inference_steps=paint.FEW_STEPS,
        guidance_scale=1.0,
        output_type="latent",
        generator=torch.Generator().manual_seed(len(prompts)),
    ).images
    return to_pixels(tiny.decode(latents).sample)


if __name__ == "__main__":
    main(soften_pictures, __doc__)
