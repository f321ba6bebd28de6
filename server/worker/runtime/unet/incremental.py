"""A UNet that repaints a part of a picture as a part of the whole.

Each layer that looks beyond its own cell keeps what it saw of the whole picture, and sees that around
the part. So a part costs little and comes out almost as in the whole: nothing has to be hidden at its
border. Source: sparse incremental inference of Li et al. 2022 (SIGE). What is left out: a change is not
followed beyond the part.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers.models.upsampling import Upsample2D
from torch.nn import functional
from velatura.protocol.region import Rect
from velatura.server.worker.runtime.packed_weights import convolved, is_packed, multiplied
from velatura.server.worker.runtime.unet.levels import LEVELS, in_level


@dataclass(frozen=True)
class Layer:
    """A layer that keeps something.

    module  its convolution, norm or projection
    stands  what stands for it
    shape   of its input
    level   the size of that is the latents' halved ``level`` times, rounded up
    """

    module: torch.nn.Module
    stands: _Keeping
    shape: torch.Size
    level: int

    @property
    def alike(self) -> Hashable:
        """The same for layers that look at the same cells of any part."""
        kind, one = type(self.stands), cast(Any, self.module)
        if kind is not Convolution:
            return kind, self.level
        return self.level, one.padding, one.kernel_size, one.stride, self.stands.is_doubled


class _Pass(threading.local):
    """The pass that is running in this thread: what its layers keep, in the order in which they run.

    Where a part lies is told by views of what is kept (``places`` is None), or by numbers: then
    ``next`` gives all that a layer keeps, (n, height, width, channels), and ``place`` the numbers of
    the cells in it, for a part only.
    """

    def __init__(self) -> None:
        self.is_part = False
        self._kept: Iterator[torch.Tensor] = iter(())
        self._places: Iterator[torch.Tensor] = iter(())
        self.is_keeping = self.by_number = False
        # While layers are found: those seen so far, each with its input's shape.
        self.seen: list[tuple[_Keeping, torch.Size]] | None = None

    def begin(
        self,
        kept: Iterable[torch.Tensor] | None,
        places: Iterable[torch.Tensor] | None,
        is_part: bool,
    ) -> None:
        self._kept, self.is_keeping, self.is_part = iter(kept or ()), kept is not None, is_part
        self._places, self.by_number = iter(places or ()), places is not None

    def next(self) -> torch.Tensor:
        return next(self._kept)

    def place(self) -> torch.Tensor:
        return next(self._places)


class _Keeping(torch.nn.Module):
    """Stands for ``module`` in a UNet."""

    is_doubled = False
    is_picture = True

    def __init__(self, module: Any, running: _Pass) -> None:
        super().__init__()
        self.module, self._running = module, running

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._running.seen is not None:
            self._running.seen.append((self, x.shape))
        return self.keeping(x) if self._running.is_keeping else self.module(x)

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Convolution(_Keeping):
    """Keeps its padded input."""

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        seen = self._by_number(x) if self._running.by_number else self._in_views(x)
        one = self.module
        if self._running.is_part and is_packed(one):
            return convolved(seen, one)
        weight = one.weight
        # What is kept has its channels last, and weights must lie as that does. A recording rearranges
        # them once, a call each time: whatever is smaller is copied then.
        if torch.jit.is_tracing() or weight.numel() < seen.numel():
            weight = weight.contiguous(memory_format=torch.channels_last)
        elif weight.is_contiguous():
            seen = seen.contiguous()
        return functional.conv2d(seen, weight, one.bias, one.stride)

    def _in_views(self, x: torch.Tensor) -> torch.Tensor:
        to, seen = self._running.next(), self._running.next()
        to.copy_(self._cut(x, *to.shape[-2:]))
        return seen

    def _by_number(self, x: torch.Tensor) -> torch.Tensor:
        kept = self._running.next()
        if self._running.is_part:
            at, around = self._running.place(), self._running.place()
            _put(kept, at, self._cut(x, *at.shape))
            seen = kept.flatten(1, 2).index_select(1, around.flatten())
            return seen.unflatten(1, around.shape).permute(0, 3, 1, 2)
        (py, px), (_, height, width, _) = self.module.padding, kept.shape
        x = self._cut(x, height - 2 * py, width - 2 * px)
        kept[:, py : height - py, px : width - px] = x.permute(0, 2, 3, 1)
        return kept.permute(0, 3, 1, 2)

    def _cut(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        # A side that was odd and is doubled has got one too many.
        return x[..., :height, :width] if self.is_doubled else x


class Norm(_Keeping):
    """Keeps its input, so that its statistics are always those of the whole picture.

    Old ones do not do: each norm's would follow the error of those before it, and that grows.
    """

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        if self._running.by_number:
            return self._by_number(x)
        to, whole = self._running.next(), self._running.next()
        to.copy_(x)
        norm = self.module
        groups = norm.num_groups
        n, channels, height, width = whole.shape
        made, mean, deviation = torch.native_group_norm(
            whole, norm.weight, norm.bias, n, channels, height * width, groups, norm.eps
        )
        if not self._running.is_part:
            return made
        scale = deviation[..., None] * norm.weight.view(1, groups, -1)
        shift = torch.addcmul(norm.bias.view(1, groups, -1), mean[..., None], scale, value=-1)
        return torch.addcmul(shift.view(n, -1, 1, 1), x, scale.view(n, -1, 1, 1))

    def _by_number(self, x: torch.Tensor) -> torch.Tensor:
        kept, norm = self._running.next(), self.module
        if not self._running.is_part:
            kept.copy_(x.permute(0, 2, 3, 1))
            return norm(x)
        _put(kept, self._running.place(), x)
        # native_group_norm takes no channels that are last on CUDA. Half precision would overflow.
        groups = kept.flatten(1, 2).unflatten(2, (norm.num_groups, -1)).float()
        variance, mean = torch.var_mean(groups, (1, 3), correction=0, keepdim=True)
        weight, bias = (one.float().view(groups.shape[2:]) for one in (norm.weight, norm.bias))
        scale = (variance + norm.eps).rsqrt() * weight
        shift = bias - mean * scale
        scale, shift = (one.view(len(x), -1, 1, 1) for one in (scale, shift))
        return (x.float() * scale + shift).to(x.dtype)


class Tokens(_Keeping):
    """Keeps the keys or values of self-attention, and gives those of the whole picture."""

    is_picture = False

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        if self._running.by_number:
            return self._by_number(self.module(x))
        to, whole = self._running.next(), self._running.next()
        to.copy_(self.module(x).view(to.shape))
        return whole

    def _by_number(self, made: torch.Tensor) -> torch.Tensor:
        kept = self._running.next()
        if not self._running.is_part:
            kept.copy_(made.view(kept.shape))
            return made
        return _put(kept, self._running.place(), made)


class Same(_Keeping):
    """Keeps what it makes, which is the same of every part."""

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        made = self._running.next()
        return made if self._running.is_part else made.copy_(self.module(x))


class _Product(_Keeping):
    """Keeps nothing: in the recording of a part it is quicker, and its channels are last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.module
        if not (self._running.is_part and torch.jit.is_tracing()):
            return one(x)
        if isinstance(one, torch.nn.Conv2d):
            return self._of_rows(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._of_rows(x)

    def _of_rows(self, x: torch.Tensor) -> torch.Tensor:
        one = self.module
        if is_packed(one):
            return multiplied(x, one)
        return functional.linear(x, one.weight.flatten(1), one.bias)


class _Doubled(torch.nn.Module):
    """Doubles whatever size is asked for: what is too much is not kept."""

    def __init__(self, module: Upsample2D, running: _Pass) -> None:
        super().__init__()
        self.module, self._running = module, running

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        return self.module(x, None if self._running.is_keeping else output_size)


class Incremental(torch.nn.Module):
    """``net`` (a UNet or a ControlNet) with the same weights, in the same memory.

    It is called as ``net`` is, and may be given what its layers keep and where (``Memory``); ``is_part``
    tells whether the rest of what it is given is only a part of the picture.
    """

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        shared = {id(one): one for one in (*net.parameters(), *net.buffers())}
        self._running = _Pass()
        self.net = _replaced(copy.deepcopy(net, shared), self._running)

    def forward(
        self,
        *given: Any,
        kept: Iterable[torch.Tensor] | None = None,
        places: Iterable[torch.Tensor] | None = None,
        is_part: bool = False,
        **more: Any,
    ) -> Any:
        self._running.begin(kept, places, is_part)
        return self.net(*given, **more)


def layers_of(net: torch.nn.Module, *given: Any, **named: Any) -> list[Layer]:
    """What keeps something when ``net`` is called like this, in the order in which it runs.

    The first of what is given are the latents. Nothing is computed. Raises LookupError for a net whose
    layers are not understood.
    """
    tensors = (*net.parameters(), *net.buffers())
    copied: dict[int, Any] = {id(one): _without_values(one) for one in tensors}
    running = _Pass()
    running.seen = []
    empty = _replaced(copy.deepcopy(net, copied), running)
    own = {id(copied[id(module)]): module for module in net.modules()}
    with torch.no_grad():
        empty(*_without_values(given), **_without_values(named))
    return [_layer(one, own[id(one.module)], shape, given[0].shape) for one, shape in running.seen]


def _put(kept: torch.Tensor, at: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Put ``x``, a picture or tokens, at cells ``at`` of (n, height, width, channels).

    Returns all of it as tokens.
    """
    tokens = kept.flatten(1, 2)
    return tokens.index_copy_(1, at.flatten(), x.flatten(2).mT if x.dim() == 4 else x)


def _replaced(module: torch.nn.Module, running: _Pass) -> torch.nn.Module:
    """Put what keeps in the place of what looks beyond its own cell, in ``module`` itself."""
    for name, child in module.named_children():
        new = _replaced(child, running)
        if isinstance(child, torch.nn.Conv2d):
            kind = Convolution if max(child.kernel_size) > 1 else _Product
            new = kind(child, running)
        elif isinstance(child, torch.nn.GroupNorm):
            new = Norm(child, running)
        elif isinstance(child, Upsample2D):
            child.conv.is_doubled = True
            new = _Doubled(child, running)
        elif name == "time_emb_proj":
            new = Same(child, running)
        elif isinstance(child, torch.nn.Linear) and name not in ("to_k", "to_v"):
            new = _Product(child, running)
        elif name in ("attn1", "attn2"):
            kind = Tokens if name == "attn1" else Same
            child.to_k, child.to_v = (kind(one, running) for one in (child.to_k, child.to_v))
        setattr(module, name, new)
    return module


def _without_values(value: Any) -> Any:
    """The same with shapes in place of tensors."""
    if isinstance(value, torch.Tensor):
        empty = torch.empty_like(value, device="meta")
        return torch.nn.Parameter(empty, False) if isinstance(value, torch.nn.Parameter) else empty
    if isinstance(value, dict):
        return {name: _without_values(one) for name, one in value.items()}
    return [_without_values(one) for one in value] if isinstance(value, list | tuple) else value


def _layer(one: _Keeping, module: torch.nn.Module, shape: torch.Size, latents: torch.Size) -> Layer:
    """Raises LookupError where the size of its input is not the latents', halved or doubled."""
    whole = Rect(0, 0, latents[-1], latents[-2])
    for level in LEVELS:
        rect = in_level(whole, level)
        size = (rect.height, rect.width) if len(shape) == 4 else (rect.height * rect.width,)
        if isinstance(one, Same) or size in (shape[-2:], shape[1:2]):
            return Layer(module, one, shape, level)
    raise LookupError(f"a layer is given {tuple(shape)} for latents of {tuple(latents)}")
