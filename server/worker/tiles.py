"""Show a UNet and its ControlNets a large picture tile by tile, at the size that they know.

At each step what the UNet predicts in overlapping tiles is mixed, so that all tiles are one picture
from the first step on and no seam has to be hidden afterwards. Source: Jiménez 2023, Mixture of
Diffusers; Bar-Tal et al. 2023, MultiDiffusion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from velatura.protocol.region import Rect
from velatura.server.worker.passes import instead
from velatura.server.worker.plan import LATENT_CELL

# Of a tile's side: over how much of it its say falls to (almost) nothing at its edges.
_FADE = 1 / 4
_LEAST_SAY = 1e-3
_RESIDUALS = ("down_block_additional_residuals", "mid_block_additional_residual")


@contextmanager
def tiled(
    unet: torch.nn.Module,
    nets: Sequence[torch.nn.Module],
    tiles: Sequence[Rect],
    mask: torch.Tensor | None,
    check: Callable[[], None],
) -> Iterator[None]:
    """While it lasts, ``unet`` and ``nets`` see one of ``tiles`` (model pixels) at a time.

    mask   (1, 1, h/8, w/8) in 0..1: tiles in which all of it is 0 are held anyway and left out
    check  called before each tile; what it raises ends the run
    No tiles: everything is seen at once, and nothing is changed.
    """
    seen = [tile for tile in tiles if mask is None or bool(mask[_cells(tile)].any())]
    with ExitStack() as undo:
        if tiles:
            # One net may serve several guides.
            for net in {id(net): net for net in nets}.values():
                undo.enter_context(instead(net, _control(net.forward, seen)))
            undo.enter_context(instead(unet, _mixed(unet.forward, seen, check)))
        yield


def _mixed(
    forward: Callable[..., Any], tiles: Sequence[Rect], check: Callable[[], None]
) -> Callable[..., Any]:
    def mixed(sample: torch.Tensor, *others: Any, **named: Any) -> tuple[torch.Tensor]:
        residuals = {name: named.pop(name) for name in _RESIDUALS if named.get(name) is not None}
        total = weight = torch.zeros(())
        for number, tile in enumerate(tiles):
            check()
            part = slice(number * len(sample), (number + 1) * len(sample))
            seen, rest, more = _cut((sample, others, named), sample, tile)
            predicted = forward(seen, *rest, **more, **_pick(residuals, part))[0]
            if number == 0:
                shape = (*predicted.shape[:2], *sample.shape[2:])
                total = torch.zeros(shape, device=sample.device)
                weight = torch.zeros((1, 1, *sample.shape[2:]), device=sample.device)
            say = _say(tile).to(sample.device)
            total[_cells(tile)] += say * predicted.float()
            weight[_cells(tile)] += say
        return ((total / weight.clamp(min=_LEAST_SAY**2)).to(sample.dtype),)

    return mixed


def _control(forward: Callable[..., Any], tiles: Sequence[Rect]) -> Callable[..., Any]:
    """The residuals of all tiles, one after the other along the batch."""

    def control(*others: Any, **named: Any) -> tuple[list[torch.Tensor], torch.Tensor]:
        sample = others[0] if others else named["sample"]
        down, middle = zip(
            *(forward(*_cut(others, sample, tile), **_cut(named, sample, tile)) for tile in tiles),
            strict=True,
        )
        return [torch.cat(parts) for parts in zip(*down, strict=True)], torch.cat(middle)

    return control


def _cut(value: Any, sample: torch.Tensor, tile: Rect) -> Any:
    """The part of ``tile`` of every picture in ``value``, latents like ``sample`` or pixels.

    The tile is a whole picture of its own size, as SDXL is told (Podell et al. 2023).
    """
    if isinstance(value, torch.Tensor):
        height, width = sample.shape[-2:]
        if value.ndim == 4 and value.shape[-2:] == (height, width):
            return value[_cells(tile)].contiguous(memory_format=torch.channels_last)
        if value.ndim == 4 and value.shape[-2:] == (LATENT_CELL * height, LATENT_CELL * width):
            return value[..., tile.y : tile.bottom, tile.x : tile.right]
        return value
    if isinstance(value, dict):
        cut = {name: _cut(one, sample, tile) for name, one in value.items()}
        if "time_ids" in cut:
            sizes = (tile.height, tile.width, 0, 0, tile.height, tile.width)
            cut["time_ids"] = cut["time_ids"].new_tensor([sizes]).expand_as(cut["time_ids"])
        return cut
    if isinstance(value, list | tuple):
        return type(value)(_cut(one, sample, tile) for one in value)
    return value


def _pick(residuals: dict[str, Any], part: slice) -> dict[str, Any]:
    return {
        name: value[part] if isinstance(value, torch.Tensor) else [one[part] for one in value]
        for name, value in residuals.items()
    }


def _cells(tile: Rect) -> tuple[Any, ...]:
    """Where ``tile`` lies in latents."""
    return (
        ...,
        slice(tile.y // LATENT_CELL, tile.bottom // LATENT_CELL),
        slice(tile.x // LATENT_CELL, tile.right // LATENT_CELL),
    )


def _say(tile: Rect) -> torch.Tensor:
    """How much each latent cell of a tile counts, (h/8, w/8): 1 in the middle, little at the edges."""

    def along(length: int) -> torch.Tensor:
        cells = length // LATENT_CELL
        centres = torch.arange(cells) + 0.5
        inward = torch.minimum(centres, cells - centres) / (cells * _FADE)
        return torch.sin(inward.clamp(max=1) * torch.pi / 2).square().clamp(min=_LEAST_SAY)

    return along(tile.height)[:, None] * along(tile.width)
