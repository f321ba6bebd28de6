"""The quickest form of a UNet's pass on the device that it is on."""

from __future__ import annotations

import torch
from velatura.server.worker import cuda
from velatura.server.worker.passes import Pass, Recorded, plain

# Above this many parameters the arithmetic of a pass on a CPU hides the Python around it.
_SMALL = 50_000_000


def quick(unet: torch.nn.Module) -> Pass:
    """A pass of ``unet``: on a CPU bit for bit diffusers' own; on CUDA, once a shape is prepared, as
    close to it as compilers come."""
    device = next(unet.parameters()).device.type
    if device == "cuda":
        return cuda.graphed(unet)
    size = sum(parameter.numel() for parameter in unet.parameters())
    return Recorded(unet) if device == "cpu" and size <= _SMALL else plain(unet)
