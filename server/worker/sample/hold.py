"""Hold latents to a source where a soft mask does not yet let go: differential diffusion."""

from __future__ import annotations

import torch
from velatura.server.worker.sample.schedule import SolverSchedule


class SourceHold:
    """Put the source back, at the right noise level, where the mask does not yet let go.

    A cell of mask value m is held until the remaining part of the run is at most m. Where m is 0 the
    latents are exactly the source's at the end, for every sampler. Source: Levin & Fried 2023.

    source  (1, channels, h, w) clean latents; None: nothing is held
    mask    (1, 1, h, w) in 0..1
    noise   like source: what it is noised with
    """

    def __init__(
        self,
        schedule: SolverSchedule,
        source: torch.Tensor | None,
        mask: torch.Tensor | None,
        noise: torch.Tensor,
    ) -> None:
        self._schedule, self._source, self._mask, self._noise = schedule, source, mask, noise

    def __call__(self, x: torch.Tensor, index: int) -> torch.Tensor:
        """Blend latents before evaluation ``index``."""
        mask, source, of = self._mask, self._source, self._schedule.of
        if mask is None or source is None:
            return x
        # The part that remains. After the last step only what was never free is held: its mask is
        # below the part that the last step was.
        remaining = max(1, of - index) / of
        held = self._schedule.noised(source, self._noise, index)
        return torch.where(mask >= remaining, x, held.to(x.dtype))
