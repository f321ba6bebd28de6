"""Record a function of tensors with torch.jit.trace, to replay it without Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from itertools import chain, combinations
from typing import Any

import torch
from velatura.models.devices import lacks_memory
from velatura.server.worker.runtime.graph_simplify import tidy
from velatura.server.worker.runtime.packed_weights import lay_out, packing
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.switches import PACKED, SIMPLIFIED


def record(
    net: torch.nn.Module,
    run: Callable[..., torch.Tensor],
    tensors: tuple[torch.Tensor, ...],
    accelerations: Accelerations,
) -> Any:
    """Record ``run``, a function of ``tensors`` that runs ``net``, as a TorchScript module.

    Simplified and with packed weights where these work; one that does not is turned off. Raises
    whatever torch raises when it cannot be recorded at all.
    """
    wanted = [name for name in (SIMPLIFIED, PACKED) if accelerations.is_on(name)]
    subsets = chain.from_iterable(combinations(wanted, n) for n in range(len(wanted) + 1))
    failed: Exception | None = None
    for left_out in subsets:
        try:
            made = traced(net, run, tensors, set(wanted) - set(left_out))
        except Exception as error:
            if lacks_memory(error):
                raise
            failed = failed or error
            continue
        if failed is not None:
            for name in left_out:
                accelerations.fail(name, failed)
        return made
    assert failed is not None
    raise failed


class _Recorded(torch.nn.Module):
    """What is traced: ``run``, a function of tensors, with the ``net`` whose weights it reads.

    Not made where it is used: a class lives in circles, and would keep the net in memory.
    """

    def __init__(self, net: torch.nn.Module, run: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.net, self._run = net, run

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Run it."""
        return self._run(*tensors)

    def forget(self) -> None:
        """Let go of the net and of the function."""
        del self.net, self._run


def traced(
    net: torch.nn.Module,
    run: Callable[..., torch.Tensor],
    tensors: tuple[torch.Tensor, ...],
    using: Collection[str],
) -> Any:
    """Record ``run`` with those of SIMPLIFIED and PACKED that are in ``using``."""
    flat = _Recorded(net, run).eval()
    with warnings.catch_warnings(), torch.no_grad(), packing(PACKED in using):
        # It tells of what depends on sizes, and that torch.export and torch.compile are preferred.
        # An exported graph is walked by Python: the starter's pass over a part of a picture took
        # 10.2 ms so, 7.0 replayed and 12.8 as it is. A compiler is what people who paint on a CPU
        # rarely have, and takes minutes.
        warnings.simplefilter("ignore")
        made = torch.jit.freeze(torch.jit.trace(flat, tensors, check_trace=False))
    # torch keeps what it traced in a circle of its own; the recording does not need it.
    flat.forget()
    if PACKED in using:
        lay_out(made.graph)
    if SIMPLIFIED in using:
        tidy(made.graph)
    return made
