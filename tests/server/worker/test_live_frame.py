"""A whole live frame, pixel by pixel: what diffusers' parts make of it in a loop written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from live_painting import Easel, opened
from painting import make_tiny_engine, scenery

SIDE, STEPS, STRENGTH, SEED = 64, 4, 0.7, 7
# Rounding to bytes, and the layout in memory (channels last) with the last bits of a sum.
CLOSE = 1


@torch.no_grad()
def frame_by_hand(folder: Path, picture: np.ndarray, sampler: str, guidance: float) -> np.ndarray:
    """The picture that live painting is to show: (H, W, 3) uint8.

    The noise of each level is the canvas's own, one plane for each step; LCM (Luo et al. 2023) draws
    the next level anew, DDIM (Song et al. 2020) goes on with the noise that was predicted.
    """
    pipe: Any = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    unet, vae = pipe.unet.eval(), pipe.vae.eval()
    encoded = pipe.encode_prompt(
        "a red house",
        device="cpu",
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        negative_prompt="night",
    )
    words, negative = encoded[:2]
    told: dict[str, Any] = {}
    if len(encoded) == 4:
        sizes = torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]], dtype=torch.float32)
        told = {"positive": encoded[2], "negative": encoded[3], "sizes": sizes}
    curve = DDIMScheduler.from_config(pipe.scheduler.config)
    velocity = curve.config.prediction_type == "v_prediction"

    def predict(x: torch.Tensor, time: int, text: torch.Tensor, pooled: str) -> torch.Tensor:
        more = {}
        if told:
            more["added_cond_kwargs"] = {"text_embeds": told[pooled], "time_ids": told["sizes"]}
        return unet(x, time, encoder_hidden_states=text, **more).sample

    pixels = torch.from_numpy(picture[..., :3].astype(np.float32) / 127.5 - 1)
    clean = vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist.mode()
    clean = clean * vae.config.scaling_factor
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((STEPS, *clean.shape[1:]), generator=generator)
    times = [round(1000 * STRENGTH * (STEPS - i) / STEPS) - 1 for i in range(STEPS)]
    go_on = noise[:1]
    for index, time in enumerate(times):
        alpha = float(curve.alphas_cumprod[time]) ** 0.5
        sigma = float(1 - curve.alphas_cumprod[time]) ** 0.5
        x = alpha * clean + sigma * go_on
        predicted = predict(x, time, words, "positive")
        if guidance > 1:
            without = predict(x, time, negative, "negative")
            predicted = without + guidance * (predicted - without)
        clean = alpha * x - sigma * predicted if velocity else (x - sigma * predicted) / alpha
        if index + 1 < STEPS:
            go_on = noise[index + 1 :][:1] if sampler == "LCM" else (x - alpha * clean) / sigma
    made = vae.decode(clean / vae.config.scaling_factor).sample[0].permute(1, 2, 0)
    return (made * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("sampler", ["LCM", "DDIM"])
@pytest.mark.parametrize("name", ["sd15", "sd2", "sdxl", "sdxl v"])
def test_a_whole_frame_is_what_a_loop_over_diffusers_parts_makes(
    families: dict[str, Path], name: str, sampler: str, guidance: float
) -> None:
    engine, picture = make_tiny_engine(families[name]), scenery(SIDE, SIDE)
    settings = {"steps": STEPS, "strength": STRENGTH, "seed": SEED, "negative": "night"}
    easel = Easel(
        opened(SIDE, SIDE, sampler=sampler, guidance=guidance, **settings), picture, engine
    )
    easel.key()
    easel.paint()
    by_hand = frame_by_hand(families[name], picture, sampler, guidance).astype(int)
    assert np.abs(easel.shown[..., :3] - by_hand).max() <= CLOSE
    assert by_hand.std() > 5
