"""Choose the quickest form of a network that works on the device that it is on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from velatura.models.families.unet.call import Pass, plain
from velatura.models.families.unet.union import UnionNet, is_union
from velatura.server.worker.runtime import cuda_graphs
from velatura.server.worker.runtime.registry import Accelerations, begins_anew
from velatura.server.worker.runtime.switches import GRAPHS, INCREMENTAL, RECORDED
from velatura.server.worker.runtime.unet.incremental import Incremental
from velatura.server.worker.runtime.unet.recorded import Recorded, RecordedParts

# Above this many parameters the arithmetic of a pass on a CPU hides the Python around it.
_SMALL = 50_000_000


def is_small(unet: torch.nn.Module) -> bool:
    """Tell whether replaying a pass of ``unet`` without Python is worth its recording."""
    size = sum(parameter.numel() for parameter in unet.parameters())
    return next(unet.parameters()).device.type == "cpu" and size <= _SMALL


def accelerate(unet: torch.nn.Module, accelerations: Accelerations) -> Pass:
    """Make the pass of ``unet`` for live painting: on a CPU bit for bit diffusers' own, but for packed
    weights; with CUDA graphs as close to it as compilers come.

    Where INCREMENTAL is on it may be given what layers keep, and raises AccelerationFailed when that
    fails: then a picture has to be begun anew, with another pass. All else falls back by itself.
    """
    on = accelerations
    parts, run = unet, plain(unet)
    if on.is_on(INCREMENTAL):
        parts = Incremental(unet)
        run = begins_anew(plain(parts), INCREMENTAL, on)
    if on.is_on(GRAPHS):
        return cuda_graphs.graphed(run, on, live=True)
    return Recorded(parts, on, run) if on.is_on(RECORDED) and is_small(unet) else run


def accelerate_job(unet: torch.nn.Module, accelerations: Accelerations) -> Pass | None:
    """Make the same for ordinary jobs, whose pictures have many sizes; None for diffusers' own call."""
    if accelerations.is_on(GRAPHS):
        return cuda_graphs.graphed(plain(unet), accelerations, live=False)
    if accelerations.is_on(RECORDED) and is_small(unet):
        return Recorded(unet, accelerations)
    return None


def accelerate_net(
    net: torch.nn.Module, kind: str, accelerations: Accelerations
) -> torch.nn.Module:
    """Make of a ControlNet for ``kind`` what a live pass runs."""
    if is_union(net):
        return UnionNet(net, (kind,), (1.0,))
    return Incremental(net) if accelerations.is_on(INCREMENTAL) else net


def accelerate_ends(
    tiny: torch.nn.Module | None, accelerations: Accelerations
) -> list[Callable[..., torch.Tensor]]:
    """Make the encoder and the decoder of a tiny autoencoder, if there is one, for live painting.

    See ``accelerate`` for what they raise.
    """
    if tiny is None:
        return []
    if not accelerations.is_on(INCREMENTAL):
        return [tiny.encoder, tiny.decoder]
    ends: list[Callable[..., torch.Tensor]] = []
    for part in (tiny.encoder, tiny.decoder):
        net = Incremental(part)
        run = begins_anew(net, INCREMENTAL, accelerations)
        ends.append(
            RecordedParts(net, accelerations, run) if accelerations.is_on(RECORDED) else run
        )
    return ends
