"""Record passes of a UNet and of an autoencoder, and replay them without Python.

A small model on a CPU spends almost as long in Python as in arithmetic, above all where live painting
makes a few passes over few cells, so its pass is recorded once and replayed without Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from velatura.models.families.unet.call import Given, Pass, plain, tensors_of, with_tensors
from velatura.server.worker.runtime.registry import Accelerations, with_fallback
from velatura.server.worker.runtime.switches import RECORDED
from velatura.server.worker.runtime.torchscript import record

# A height and width in cells that halve to odd numbers: for these diffusers keeps the sizes of the
# way down for the way up, which is right for all others too.
_ODD = (6, 7)


class Recorded:
    """A pass that is recorded (torch.jit.trace) the first time it is run with the same kinds of tensors.

    Sizes are recorded as what they are computed from, so that one recording serves them all. Where it
    cannot be recorded or replayed, ``otherwise`` (default: diffusers' own call) runs.
    """

    def __init__(
        self,
        unet: torch.nn.Module,
        accelerations: Accelerations | None = None,
        otherwise: Pass | None = None,
    ) -> None:
        self._unet = unet
        self._accelerations = accelerations or Accelerations()
        self._otherwise = otherwise or plain(unet)
        self._recordings: dict[tuple[Any, ...], Any] = {}

    def __call__(self, given: Given) -> torch.Tensor:
        if not self._accelerations.is_on(RECORDED):
            return self._otherwise(given)
        return with_fallback(
            lambda: self.replay(given),
            lambda: self._otherwise(given),
            RECORDED,
            self._accelerations,
        )

    def replay(self, given: Given) -> torch.Tensor:
        """Run the recording for what is ``given``; record it first where there is none."""
        kind = self._kind(given)
        if kind not in self._recordings:
            self._recordings[kind] = self._record(given)
        with torch.jit.optimized_execution(False):
            return self._recordings[kind](*tensors_of(given))

    def knows(self, given: Given) -> bool:
        """Tell whether a pass of this kind needs no recording any more."""
        is_on = self._accelerations.is_on(RECORDED)
        return not is_on or self._kind(given) in self._recordings

    def _kind(self, given: Given) -> tuple[Any, ...]:
        counts = (len(given.residuals), len(given.kept), given.is_part)
        nets = (guide.net for guide in given.guides)
        return (len(given.inputs), given.step.dtype, *given.labels, *counts, *nets)

    def _record(self, given: Given) -> Any:
        run = plain(self._unet)
        # What layers keep has sizes of its own, and then they keep those of the way down.
        tensors = tensors_of(given if given.kept else _resized(given, _ODD))
        nets = torch.nn.ModuleList([self._unet, *(guide.net for guide in given.guides)])
        return record(
            nets, lambda *now: run(with_tensors(given, now)), tensors, self._accelerations
        )


class RecordedParts:
    """An end of an autoencoder, of which passes over parts of a picture are recorded.

    It is called as its ``net`` is, an Incremental one; without what layers keep ``net`` runs itself.
    """

    def __init__(
        self,
        net: torch.nn.Module,
        accelerations: Accelerations | None = None,
        otherwise: Callable[..., torch.Tensor] | None = None,
    ) -> None:
        self._net = net
        self._accelerations = accelerations or Accelerations()
        self._otherwise = otherwise or net
        self._recordings: dict[torch.dtype, Any] = {}

    def __call__(
        self, x: torch.Tensor, kept: Sequence[torch.Tensor] = (), is_part: bool = False
    ) -> torch.Tensor:
        if not (is_part and self._accelerations.is_on(RECORDED)):
            return self._otherwise(x, kept=kept, is_part=is_part)
        return with_fallback(
            lambda: self._replay(x, kept),
            lambda: self._otherwise(x, kept=kept, is_part=True),
            RECORDED,
            self._accelerations,
        )

    def _replay(self, x: torch.Tensor, kept: Sequence[torch.Tensor]) -> torch.Tensor:
        if x.dtype not in self._recordings:

            def run(x: torch.Tensor, *kept: torch.Tensor) -> Any:
                return self._net(x, kept=kept, is_part=True)

            self._recordings[x.dtype] = record(self._net, run, (x, *kept), self._accelerations)
        with torch.jit.optimized_execution(False):
            part: torch.Tensor = self._recordings[x.dtype](x, *kept)
            return part


def _resized(given: Given, size: tuple[int, int]) -> Given:
    """Zeros in place of the latents and residuals, as they would be for latents of ``size``."""

    def halves(height: int, width: int) -> Iterator[tuple[int, int]]:
        while True:
            yield height, width
            height, width = -(-height // 2), -(-width // 2)

    def zeros(tensor: torch.Tensor) -> torch.Tensor:
        height, width = tensor.shape[-2:]
        levels = zip(halves(*given.inputs.shape[-2:]), halves(*size), strict=False)
        new = next(to for level, to in levels if level == (height, width))
        empty = tensor.new_zeros(*tensor.shape[:2], *new)
        return empty.contiguous(memory_format=torch.channels_last)

    height, width = size
    return replace(
        given,
        inputs=zeros(given.inputs),
        residuals=[zeros(one) for one in given.residuals],
        guides=[
            replace(one, map=one.map.new_zeros(*one.map.shape[:2], 8 * height, 8 * width))
            for one in given.guides
        ],
    )
