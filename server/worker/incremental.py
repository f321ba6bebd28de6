"""A UNet that repaints a part of a picture as a part of the whole.

Each layer that looks beyond its own cell keeps what it saw of the whole picture, and sees that around
the part. So a part costs little and comes out almost as in the whole: nothing has to be hidden at its
border. Source: sparse incremental inference of Li et al. 2022 (SIGE). What is left out: a change is not
followed beyond the part.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch.nn import functional
from velatura.protocol.region import Rect
from velatura.server.worker.packed import convolved, is_packed, multiplied

# Layers' sizes are those of what a net is given, doubled (where it makes pixels, or looks at them
# beside latents) or halved so often.
_LEVELS = range(-3, 6)
# Of fewer cells and fewer channels in a group a norm on a CPU is quicker with each channel in one place:
# 10 us for 45 with 19 x 19 cells and groups of 4.
_FEW_CELLS, _FEW_CHANNELS = 1024, 16


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


class _Pass:
    """The pass that is running: what its layers keep, in the order in which they run."""

    def __init__(self) -> None:
        self.is_part = False
        self._kept: Iterator[torch.Tensor] = iter(())
        self.is_keeping = False
        # While layers are found: those seen so far, each with its input's shape.
        self.seen: list[tuple[_Keeping, torch.Size]] | None = None

    def begin(self, kept: Sequence[torch.Tensor], is_part: bool) -> None:
        self._kept, self.is_keeping, self.is_part = iter(kept), bool(kept), is_part

    def next(self) -> torch.Tensor:
        return next(self._kept)


class _Keeping(torch.nn.Module):
    """Stands for ``module`` in a UNet."""

    is_doubled = False

    def __init__(self, module: Any, running: _Pass) -> None:
        super().__init__()
        self.module, self._running = module, running

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._running.seen is not None:
            self._running.seen.append((self, x.shape))
        return self.keeping(x) if self._running.is_keeping else self.module(x)

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class _Convolution(_Keeping):
    """Keeps its padded input."""

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        to, seen = self._running.next(), self._running.next()
        if self.is_doubled:
            # A side that was odd has got one too many.
            x = x[..., : to.shape[-2], : to.shape[-1]]
        to.copy_(x)
        one = self.module
        if self._running.is_part and is_packed(one):
            return convolved(seen, one)
        # What is kept has its channels last; a recording rearranges the weights once.
        weight = one.weight.contiguous(memory_format=torch.channels_last)
        return functional.conv2d(seen, weight, one.bias, one.stride)


class _Norm(_Keeping):
    """Keeps its input, so that its statistics are always those of the whole picture.

    Old ones do not do: each norm's would follow the error of those before it, and that grows.
    """

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
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
        shift = norm.bias.view(1, groups, -1) - mean[..., None] * scale
        return torch.addcmul(shift.view(n, -1, 1, 1), x, scale.view(n, -1, 1, 1))


class _Tokens(_Keeping):
    """Keeps the keys or values of self-attention, and gives those of the whole picture."""

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        to, whole = self._running.next(), self._running.next()
        to.copy_(self.module(x).view(to.shape))
        return whole


class _Same(_Keeping):
    """Keeps what it makes, which is the same of every part."""

    def keeping(self, x: torch.Tensor) -> torch.Tensor:
        made = self._running.next()
        return made if self._running.is_part else made.copy_(self.module(x))


class _Product(_Keeping):
    """Keeps nothing: of a part it is quicker."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._running.is_part and is_packed(self.module):
            return multiplied(x, self.module)
        return self.module(x)


class _Doubled(torch.nn.Module):
    """Doubles whatever size is asked for: what is too much is not kept."""

    def __init__(self, module: Upsample2D, running: _Pass) -> None:
        super().__init__()
        self.module, self._running = module, running

    def forward(self, x: torch.Tensor, output_size: Any = None) -> torch.Tensor:
        return self.module(x, None if self._running.is_keeping else output_size)


class Incremental(torch.nn.Module):
    """``net`` (a UNet or a ControlNet) with the same weights, in the same memory.

    It is called as ``net`` is, and may be given what its layers keep (``Memory``); ``is_part`` tells
    whether the rest of what it is given is only a part of the picture.
    """

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        shared = {id(one): one for one in (*net.parameters(), *net.buffers())}
        self._running = _Pass()
        self.net = _replaced(copy.deepcopy(net, shared), self._running)

    def forward(
        self, *given: Any, kept: Sequence[torch.Tensor] = (), is_part: bool = False, **more: Any
    ) -> Any:
        self._running.begin(kept, is_part)
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


class Memory:
    """What ``layers`` keep of passes over latents of the size of ``whole``, for each of so many times.

    wider  cells of each deeper level by which a part reaches beyond those of the level above
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        whole: Rect,
        times: int = 1,
        wider: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self._layers, self._whole, self._wider = layers, whole, wider
        # (times, pictures, height, width, channels) of each, and what goes with it each time.
        self._kept: list[torch.Tensor] = []
        self._beside: list[list[tuple[torch.Tensor, ...]]] = []
        for layer in layers:
            module: Any = layer.module
            n, rect = layer.shape[0], _at(whole, layer.level)
            beside: list[tuple[torch.Tensor, ...]] = [() for _ in range(times)]
            shape: tuple[int, ...] = (times, n, rect.height, rect.width)
            if isinstance(layer.stands, _Convolution):
                y, x = (2 * side for side in module.padding)
                shape = (times, n, rect.height + y, rect.width + x, module.in_channels)
            elif isinstance(layer.stands, _Norm):
                shape = (*shape, module.num_channels)
            elif isinstance(layer.stands, _Tokens):
                shape = (*shape, module.out_features)
            else:
                shape = (times, *layer.shape[:-1], module.out_features)
            kept = torch.zeros(shape, dtype=module.weight.dtype, device=device)
            is_cpu = torch.device(device).type == "cpu"
            if is_cpu and isinstance(layer.stands, _Norm) and _is_fine(module, rect):
                kept = kept.permute(0, 1, 4, 2, 3).contiguous().permute(0, 1, 3, 4, 2)
            if isinstance(layer.stands, _Norm):
                beside = [(picture,) for picture in kept.permute(0, 1, 4, 2, 3).unbind()]
            elif isinstance(layer.stands, _Tokens):
                beside = [(tokens,) for tokens in kept.flatten(2, 3).unbind()]
            elif isinstance(layer.stands, _Same):
                beside = [(made,) for made in kept.unbind()]
            self._kept.append(kept)
            self._beside.append(beside)

    def told(self, rect: Rect) -> list[dict[str, Any]]:
        """For each time what an ``Incremental`` is told for a pass over ``rect``; it changes it."""
        given: list[list[torch.Tensor]] = [[] for _ in self._beside[0]]
        ranges = {level: _at(rect, level) for level in _LEVELS if level <= 0}
        for level in range(1, _LEVELS.stop):
            ranges[level] = _grown(_at(ranges[level - 1], 1), self._wider, _at(self._whole, level))
        for layer, kept, beside in zip(self._layers, self._kept, self._beside, strict=True):
            views = [one.unbind() for one in _views(layer, kept, ranges)]
            for now, more, *seen in zip(given, beside, *views, strict=True):
                now += (*seen, *more)
        return [{"kept": now, "is_part": rect != self._whole} for now in given]

    @property
    def bytes(self) -> int:
        return sum(one.nbytes for one in self._kept)


def _views(layer: Layer, kept: torch.Tensor, parts: Mapping[int, Rect]) -> list[torch.Tensor]:
    """Where in ``kept`` a layer puts its input, and what a convolution then looks at.

    ``parts``: of each level, what is painted there.
    """
    here = parts[layer.level]
    if isinstance(layer.stands, _Same):
        return []
    if not isinstance(layer.stands, _Convolution):
        is_picture = isinstance(layer.stands, _Norm)
        return [_window(kept, here.y, here.bottom, here.x, here.right, is_picture=is_picture)]
    one: Any = layer.module
    (py, px), (ky, kx), (sy, sx) = one.padding, one.kernel_size, one.stride
    made = parts[layer.level + 1] if sy > 1 else here
    seen = _window(
        kept, made.y * sy, (made.bottom - 1) * sy + ky, made.x * sx, (made.right - 1) * sx + kx
    )
    if layer.stands.is_doubled:
        half = parts[layer.level + 1]
        here = Rect(2 * half.x, 2 * half.y, 2 * half.width, 2 * half.height)
    # Doubling a side that was odd gives one too many.
    bottom, right = (
        min(here.bottom, kept.shape[2] - 2 * py),
        min(here.right, kept.shape[3] - 2 * px),
    )
    return [_window(kept, here.y + py, bottom + py, here.x + px, right + px), seen]


def _window(
    kept: torch.Tensor, top: int, bottom: int, left: int, right: int, *, is_picture: bool = True
) -> torch.Tensor:
    """That part of (times, n, height, width, channels), with the channels second in a picture.

    In one call: a live picture looks at hundreds of them.
    """
    times, n, _, _, channels = kept.shape
    t, p, y, x, c = kept.stride()
    high, wide = bottom - top, right - left
    if is_picture:
        size, stride = (times, n, channels, high, wide), (t, p, c, y, x)
    else:
        size, stride = (times, n, high, wide, channels), (t, p, y, x, c)
    return kept.as_strided(size, stride, top * y + left * x)


def _replaced(module: torch.nn.Module, running: _Pass) -> torch.nn.Module:
    """Put what keeps in the place of what looks beyond its own cell, in ``module`` itself."""
    for name, child in module.named_children():
        new = _replaced(child, running)
        if isinstance(child, torch.nn.Conv2d) and max(child.kernel_size) > 1:
            new = _Convolution(child, running)
        elif isinstance(child, torch.nn.GroupNorm):
            new = _Norm(child, running)
        elif isinstance(child, Upsample2D):
            child.conv.is_doubled = True
            new = _Doubled(child, running)
        elif name == "time_emb_proj":
            new = _Same(child, running)
        elif isinstance(child, torch.nn.Linear) and name not in ("to_k", "to_v"):
            new = _Product(child, running)
        elif name in ("attn1", "attn2"):
            kind = _Tokens if name == "attn1" else _Same
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
    for level in _LEVELS:
        rect = _at(whole, level)
        size = (rect.height, rect.width) if len(shape) == 4 else (rect.height * rect.width,)
        if isinstance(one, _Same) or size in (shape[-2:], shape[1:2]):
            return Layer(module, one, shape, level)
    raise LookupError(f"a layer is given {tuple(shape)} for latents of {tuple(latents)}")


def _is_fine(norm: torch.nn.GroupNorm, rect: Rect) -> bool:
    """Whether it is quicker over ``rect`` where its channels do not lie last."""
    channels = norm.num_channels // norm.num_groups
    return rect.width * rect.height < _FEW_CELLS and channels < _FEW_CHANNELS


def _grown(rect: Rect, by: int, whole: Rect) -> Rect:
    x, y = max(0, rect.x - by), max(0, rect.y - by)
    right, bottom = min(whole.right, rect.right + by), min(whole.bottom, rect.bottom + by)
    return Rect(x, y, right - x, bottom - y)


def _at(rect: Rect, level: int) -> Rect:
    """The cells of that level that ``rect`` of the latents is in."""
    if level < 0:
        k = 1 << -level
        return Rect(rect.x * k, rect.y * k, rect.width * k, rect.height * k)
    x, y = rect.x >> level, rect.y >> level
    right, bottom = -(-rect.right >> level), -(-rect.bottom >> level)
    return Rect(x, y, right - x, bottom - y)
