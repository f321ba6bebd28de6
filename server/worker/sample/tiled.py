"""Predict over a large picture tile by tile, at the size that a model knows.

At each step what the model predicts in overlapping tiles is mixed, so that all tiles are one picture
from the first step on and no seam has to be hidden afterwards. Source: Jiménez 2023, Mixture of
Diffusers; Bar-Tal et al. 2023, MultiDiffusion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from velatura.models.families.denoiser import Condition, Denoiser, LatentSpec, Prediction, Step
from velatura.protocol.region import Rect

# Of a tile's side: over how much of it its weight falls to (almost) nothing at its edges.
_FADE = 1 / 4
_LEAST_WEIGHT = 1e-3


class Tiled:
    """A denoiser under its condition that sees one of ``tiles`` (model pixels) at a time.

    mask   (1, 1, h, w) of latent cells in 0..1: tiles in which all of it is 0 are held anyway and
           left out; None leaves none out
    check  called before each tile; what it raises ends the run
    """

    def __init__(
        self,
        denoiser: Denoiser,
        condition: Condition,
        tiles: Sequence[Rect],
        mask: torch.Tensor | None,
        check: Callable[[], None],
    ) -> None:
        self._denoiser, self._check = denoiser, check
        cells = denoiser.latent.cells
        self._tiles = [
            (cells(tile), denoiser.crop(condition, tile), tile_weight(tile, denoiser.latent))
            for tile in tiles
            if mask is None or bool(mask[cells(tile)].any())
        ]

    def predict(self, x: torch.Tensor, step: Step) -> Prediction:
        """Mix what the model predicts in all tiles."""
        output, denoised = (torch.zeros_like(x, dtype=torch.float32) for _ in range(2))
        total = torch.zeros((1, 1, *x.shape[2:]), device=x.device)
        for cells, condition, weight in self._tiles:
            self._check()
            seen = x[cells].contiguous(memory_format=torch.channels_last)
            predicted = self._denoiser.predict(seen, step, condition)
            weight = weight.to(x.device)
            output[cells] += weight * predicted.output.float()
            denoised[cells] += weight * predicted.denoised
            total[cells] += weight
        total = total.clamp(min=_LEAST_WEIGHT**2)
        return Prediction((output / total).to(x.dtype), denoised / total)


def tile_weight(tile: Rect, latent: LatentSpec) -> torch.Tensor:
    """Weigh each latent cell of a tile, (h, w): 1 in the middle, little at the edges."""

    def along(length: int) -> torch.Tensor:
        cells = length // latent.factor
        centres = torch.arange(cells) + 0.5
        inward = torch.minimum(centres, cells - centres) / (cells * _FADE)
        return torch.sin(inward.clamp(max=1) * torch.pi / 2).square().clamp(min=_LEAST_WEIGHT)

    return along(tile.height)[:, None] * along(tile.width)
