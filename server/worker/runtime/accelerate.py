"""The quickest form of a UNet's pass on the device that it is on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from velatura.models.families.unet.call import Pass, plain
from velatura.models.families.unet.union import UnionNet, is_union
from velatura.server.worker.runtime import cuda_graphs
from velatura.server.worker.runtime.unet.incremental import Incremental
from velatura.server.worker.runtime.unet.recorded import Recorded, RecordedParts

# Above this many parameters the arithmetic of a pass on a CPU hides the Python around it.
_SMALL = 50_000_000


def is_small(unet: torch.nn.Module) -> bool:
    """Whether replaying a pass of ``unet`` without Python is worth its recording."""
    size = sum(parameter.numel() for parameter in unet.parameters())
    return next(unet.parameters()).device.type == "cpu" and size <= _SMALL


def accelerate(unet: torch.nn.Module) -> Pass:
    """A pass of ``unet``: on a CPU bit for bit diffusers' own; on CUDA, once a shape is prepared, as
    close to it as compilers come."""
    if next(unet.parameters()).device.type == "cuda":
        return cuda_graphs.graphed(unet, live=True)
    parts = Incremental(unet)
    return Recorded(parts) if is_small(unet) else plain(parts)


def accelerate_job(unet: torch.nn.Module) -> Pass | None:
    """The same for ordinary jobs, whose pictures have many sizes; None for diffusers' own call."""
    if next(unet.parameters()).device.type == "cuda":
        return cuda_graphs.graphed(unet, live=False)
    return Recorded(unet) if is_small(unet) else None


def accelerate_net(net: torch.nn.Module, kind: str) -> torch.nn.Module:
    """A ControlNet for ``kind`` that a pass runs."""
    return UnionNet(net, (kind,), (1.0,)) if is_union(net) else Incremental(net)


def accelerate_ends(tiny: torch.nn.Module | None) -> list[Callable[..., torch.Tensor]]:
    """The encoder and the decoder of a tiny autoencoder, if there is one; see Incremental."""
    if tiny is None:
        return []
    ends = [Incremental(tiny.encoder), Incremental(tiny.decoder)]
    is_cpu = next(tiny.parameters()).device.type == "cpu"
    return [RecordedParts(end) if is_cpu else end for end in ends]
