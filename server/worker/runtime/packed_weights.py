"""Layers over few cells of a picture, with weights that are laid out for that once.

Over few cells a layer's time goes into its weights. torch's matrix products lay them out anew in each
call; here that is done once, when a pass has been recorded. A recording's weights never change.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch

# Weights with fewer numbers than this gain nothing.
_WORTH_IT = 50_000
# oneDNN lays weights out for a number of rows: the same way for all that are not very few.
_ROWS = 32


# Whether what is being recorded here and now is to have packed weights.
_wanted: ContextVar[bool] = ContextVar("packing", default=False)


@contextmanager
def packing(wanted: bool) -> Iterator[None]:
    """Pack the weights of what is recorded while the context lasts, where ``wanted``."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def is_packed(module: torch.nn.Conv2d | torch.nn.Linear) -> bool:
    """Whether ``module`` is being recorded, and over few cells is quicker as below."""
    weight = module.weight
    return (
        _wanted.get()
        and torch.jit.is_tracing()
        and torch.backends.mkldnn.is_available()
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.numel() >= _WORTH_IT
    )


def convolved(seen: torch.Tensor, one: torch.nn.Conv2d) -> torch.Tensor:
    """``one`` of ``seen`` (n, channels, h, w), which is padded and has its channels last."""
    (ky, kx), (sy, sx) = one.kernel_size, one.stride
    packed = _packed(one.weight.permute(0, 2, 3, 1).flatten(1).contiguous())
    made: torch.Tensor = _scripted(_convolved)(seen, packed, one.bias, ky, kx, sy, sx)
    return made


def multiplied(x: torch.Tensor, one: torch.nn.Conv2d | torch.nn.Linear) -> torch.Tensor:
    """``one``, which looks at one cell, of ``x`` (..., channels)."""
    made: torch.Tensor = _scripted(_multiplied)(x, _packed(one.weight.flatten(1)), one.bias)
    return made


def _packed(weight: torch.Tensor) -> torch.Tensor:
    """``weight`` (made, seen) in oneDNN's own layout."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    return packed


def lay_out(graph: Any) -> None:
    """Lay out the weights in ``graph``, that of a frozen recording, once and for all.

    Freezing leaves that to each run, as what is made has a layout of oneDNN's own.
    """
    for node in list(graph.nodes()):
        if node.kind() == "mkldnn::_reorder_linear_weight":
            weights, rows = (one.toIValue() for one in node.inputs())
            graph.setInsertPoint(node)
            kept = graph.insertNode(graph.create("prim::Constant"))
            kept.t_("value", torch.ops.mkldnn._reorder_linear_weight(weights, rows))
            node.output().replaceAllUsesWith(kept.output())


# Scripts, as a trace knows no operation that is given a list of optional numbers.


def _multiplied(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def _convolved(
    seen: torch.Tensor,
    packed: torch.Tensor,
    bias: torch.Tensor | None,
    ky: int,
    kx: int,
    sy: int,
    sx: int,
) -> torch.Tensor:
    n, channels, height, width = seen.shape
    h, w = (height - ky) // sy + 1, (width - kx) // sx + 1
    t, _, y, x = seen.stride()
    rows = seen.as_strided((n, h, w, ky, kx * channels), (t, y * sy, x * sx, y, 1))
    rows = rows.reshape(n * h * w, ky * kx * channels)
    made = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")
    return made.view(n, h, w, -1).permute(0, 3, 1, 2)


@cache
def _scripted(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(function)
