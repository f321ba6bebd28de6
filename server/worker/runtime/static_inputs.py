"""A pass that was captured with the tensors it was given then: whatever it is given, it reads those.

What stands still is written here without a device; cuda_graphs.py captures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from velatura.models.families.unet.call import Given, tensors_of, with_tensors

# Given -> (runs the same again, what that writes its output to).
Capture = Callable[[Given], tuple[Callable[[], object], torch.Tensor]]


class Captured:
    """A pass for all that is of the shape of ``example`` (warmup.shape_of).

    What layers keep is read and written where it lies; all else is copied to where the pass reads it.
    """

    def __init__(self, example: Given, capture: Capture) -> None:
        # A pipeline may keep its time steps elsewhere.
        device = example.inputs.device
        own = {id(one): one.to(device, copy=True) for one in _moving(example)}
        self._inputs = list(own.values())
        standing = with_tensors(example, [own.get(id(one), one) for one in tensors_of(example)])
        self._again, self._output = capture(standing)

    def __call__(self, given: Given) -> torch.Tensor:
        for mine, theirs in zip(self._inputs, _moving(given), strict=True):
            mine.copy_(theirs, non_blocking=True)
        self._again()
        # The next run writes over it.
        return self._output.clone()


def rehearsal(given: Given) -> Given:
    """The same beside what layers really keep, which belongs to a picture."""
    return replace(given, kept=[one.clone() for one in given.kept])


def _moving(given: Given) -> Iterator[torch.Tensor]:
    """What a pass is told but not what it keeps; places that many layers share once."""
    yield from tensors_of(replace(given, kept=(), places=None))
    yield from {id(one): one for one in given.places or ()}.values()
