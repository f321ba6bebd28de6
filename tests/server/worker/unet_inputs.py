"""What one pass of a UNet is given, at random."""

from __future__ import annotations

import torch
from velatura.models.families.unet.call import Given


def given(unet: torch.nn.Module, height: int, width: int, pictures: int = 1) -> Given:
    """The same for the same sizes; height and width in latent pixels."""
    generator = torch.Generator().manual_seed(height * width + pictures)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    labels = {}
    if unet.config.addition_embed_type == "text_time":
        sizes = torch.tensor([[8 * height, 8 * width, 0, 0, 8 * height, 8 * width]] * pictures)
        labels = {"text_embeds": noise(pictures, 32), "time_ids": sizes.float()}
    prompt = noise(pictures, 40, unet.config.cross_attention_dim)
    return Given(noise(pictures, 4, height, width), torch.tensor(399), prompt, labels)
