"""What one pass of a UNet is given, at random, of a whole picture and of parts of it."""

from __future__ import annotations

import torch
from velatura.models.families.unet.call import Given
from velatura.protocol.region import Rect
from velatura.server.worker.runtime.unet.incremental import layers_of
from velatura.server.worker.runtime.unet.kept import Memory

# An odd side: its halves are rounded up.
HEIGHT, WIDTH = 19, 24
WHOLE = Rect(0, 0, WIDTH, HEIGHT)
PARTS = (Rect(3, 5, 7, 8), Rect(0, 0, 2, 3), Rect(17, 12, 7, 7), Rect(11, 0, 1, 19), WHOLE)

# How a part is told where it lies.
WAYS = (Memory.told, Memory.told_by_number)


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


def part_of(asked: Given, rect: Rect, memory: Memory, way=Memory.told) -> Given:
    (told,) = way(memory, rect)
    return Given(cut(asked.inputs, rect), asked.step, asked.prompt, asked.labels, **told)


def cut(picture: torch.Tensor, rect: Rect) -> torch.Tensor:
    return picture[..., rect.y : rect.bottom, rect.x : rect.right]


def memory_of(unet: torch.nn.Module, asked: Given) -> Memory:
    more = {"encoder_hidden_states": asked.prompt, "added_cond_kwargs": asked.labels}
    return Memory(layers_of(unet, asked.inputs, asked.step, **more), WHOLE)
