"""Try each acceleration on something tiny, against what plain torch gives; under a second in all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional
from velatura.models.families.unet.call import Given, plain
from velatura.protocol.region import Rect
from velatura.server.allocation import keep_freed_memory
from velatura.server.worker.runtime import cuda_graphs, packed_weights
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.switches import (
    COMPILED,
    GRAPHS,
    INCREMENTAL,
    KEPT,
    PACKED,
    RECORDED,
    SIMPLIFIED,
    Switches,
)
from velatura.server.worker.runtime.torchscript import traced
from velatura.server.worker.runtime.unet.incremental import (
    Convolution,
    Incremental,
    Norm,
    Same,
    Tokens,
    layers_of,
)
from velatura.server.worker.runtime.unet.kept import Memory
from velatura.server.worker.runtime.unet.recorded import Recorded

# What a probe's output may be away from plain's.
_CLOSE = 1e-3
_PROMPT = 8


class ProbeFailed(Exception):
    """It runs, but what it gives is not what plain torch gives."""


def probes(device: torch.device) -> dict[str, Callable[[], None]]:
    """The probe of each acceleration, by name."""
    return {
        RECORDED: _probe_recorded,
        SIMPLIFIED: _probe_simplified,
        PACKED: _probe_packed,
        INCREMENTAL: lambda: _probe_incremental(device),
        GRAPHS: lambda: cuda_graphs.probe(device),
        COMPILED: cuda_graphs.probe_compiler,
        KEPT: _probe_kept,
    }


def make_accelerations(switches: Switches, device: torch.device) -> Accelerations:
    """The accelerations that ``switches`` ask for and that work on ``device``."""
    made = Accelerations(switches, device.type)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        made.probe(probes(device))
    _tiny.cache_clear()
    return made


@cache
def _tiny() -> torch.nn.Module:
    """A UNet with one layer of each kind that a painter's has."""
    return (
        UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=_PROMPT,
        )
        .eval()
        .requires_grad_(False)
    )


def _given(unet: torch.nn.Module, height: int, width: int) -> Given:
    place = next(unet.parameters()).device
    x = torch.randn(1, unet.config.in_channels, height, width).to(place)
    return Given(x, torch.tensor(300, device=place), torch.randn(1, 4, _PROMPT).to(place))


def _check(made: torch.Tensor, expected: torch.Tensor) -> None:
    if not torch.allclose(made, expected, atol=_CLOSE):
        raise ProbeFailed(f"its result is {float((made - expected).abs().max()):.2g} away")


def _probe_kept() -> None:
    if not keep_freed_memory():
        raise ProbeFailed("this C library does not say how freed memory is kept")


def _probe_recorded() -> None:
    unet = _tiny()
    # Neither simplified nor packed, and what fails is not told by the recorder itself.
    recorded = Recorded(unet, Accelerations(Switches(without=frozenset((SIMPLIFIED, PACKED)))))
    for size in ((6, 6), (4, 10)):
        given = _given(unet, *size)
        _check(recorded.replay(given), plain(unet)(given))


def _probe_simplified() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        rows = x.view(x.shape[0], x.shape[1] // 2 * 2, x.shape[2]) / 1.0
        return functional.relu(rows[:, 1:])

    net = torch.nn.Identity()
    made = traced(net, run, (torch.randn(1, 4, 5),), {SIMPLIFIED})
    x = torch.randn(2, 6, 3)
    _check(made(x), run(x))


def _probe_packed() -> None:
    conv, linear = torch.nn.Conv2d(4, 8, 3), torch.nn.Linear(4, 8)
    x = torch.randn(1, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    rows = torch.randn(2, 3, 4)
    net = torch.nn.ModuleList([conv, linear])

    def run(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        made = packed_weights.convolved(x, conv).flatten(), packed_weights.multiplied(rows, linear)
        return torch.cat([made[0], made[1].flatten()])

    expected = torch.cat([conv(x).flatten(), linear(rows).flatten()])
    _check(traced(net.requires_grad_(False), run, (x, rows), {PACKED})(x, rows), expected)


def _probe_incremental(device: torch.device) -> None:
    unet = _tiny().to(device)
    whole, part = Rect(0, 0, 8, 8), Rect(2, 2, 4, 4)
    given = _given(unet, whole.height, whole.width)
    layers = layers_of(unet, given.inputs, given.step, encoder_hidden_states=given.prompt)
    kinds = {type(layer.stands) for layer in layers}
    if not {Convolution, Norm, Tokens, Same} <= kinds:
        raise ProbeFailed("diffusers' layers are not the ones that are known")
    run, expected = plain(Incremental(unet)), plain(unet)(given)
    tell = Memory.told if device.type == "cpu" else Memory.told_by_number
    memory = Memory(layers, whole, device=device)
    for rect in (whole, part):
        area = (..., slice(rect.y, rect.bottom), slice(rect.x, rect.right))
        (told,) = tell(memory, rect)
        now = Given(given.inputs[area], given.step, given.prompt, **told)
        _check(run(now), expected[area])
