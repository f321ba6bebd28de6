"""Stage 2, second half: every training picture as the latents that the UNet learns."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures, to_tensor
from velatura.models.starter.recipe.start import finished_vae
from velatura.models.starter.recipe.training import processes, rank, wait

BATCH = 64


def encode_pictures(config: Config) -> None:
    """Write `work/latents.npy`, each process its share. An encoder that changed changes them all."""
    pictures = Pictures(config, "train")
    vae = finished_vae(config)
    parts = [config.work / f"latents-{i}.npy" for i in range(processes())]
    share = np.array_split(np.arange(len(pictures)), processes())[rank()]
    np.save(parts[rank()], moments(vae, pictures, share).half().numpy())
    wait()
    if rank() == 0:
        np.save(config.work / "latents.npy", np.concatenate([np.load(part) for part in parts]))
        for part in parts:
            part.unlink()
    wait()


def moments(vae: AutoencoderKL, pictures: Pictures, indices: np.ndarray) -> torch.Tensor:
    """Mean and standard deviation of the latents' posterior: (N, 8, S/8, S/8) float32."""
    rows = []
    for start in track(range(0, len(indices), BATCH), "encode", disable=rank() > 0):
        rows.append(posterior(vae, pictures.read("image", indices[start : start + BATCH])))
    return torch.cat(rows)


@torch.no_grad()
def posterior(vae: AutoencoderKL, images: np.ndarray) -> torch.Tensor:
    """Moments of the latents of images (N, S, S, 3) uint8: (N, 8, S/8, S/8) float32."""
    with torch.autocast(vae.device.type, torch.bfloat16):
        found = vae.encode(to_tensor(images).to(vae.device)).latent_dist
    return torch.cat([found.mean, found.std], 1).float().cpu()


if __name__ == "__main__":
    main(encode_pictures, __doc__)
