"""A UNet that repaints a part of a picture as a part of the whole.

Each layer that looks beyond its own cell keeps what it saw of the whole picture, and sees that around
the part. So a part costs little and comes out almost as in the whole: nothing has to be hidden at its
border. Source: sparse incremental inference of Li et al. 2022 (SIGE). What is left out: a change is not
followed beyond the part.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

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

    @property
    def alike(self) -> Hashable:
        """The same for layers that look at the same cells of any part."""
        kind, one = type(self.stands), cast(Any, self.module)
        if kind is not _Convolution:
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


class _Convolution(_Keeping):
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


class _Norm(_Keeping):
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


class _Tokens(_Keeping):
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


class _Same(_Keeping):
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
        all_kept = zip(*(kept.unbind() for kept in self._kept), strict=True)
        self._by_time = [list(now) for now in all_kept]

    def told(self, rect: Rect) -> list[dict[str, Any]]:
        """For each time what an ``Incremental`` is told for a pass over ``rect``; it changes it."""
        given: list[list[torch.Tensor]] = [[] for _ in self._beside[0]]
        ranges = self._ranges(rect)
        for layer, kept, beside in zip(self._layers, self._kept, self._beside, strict=True):
            windows = _windows(layer, kept, ranges)
            views = [_view(kept, one, layer.stands.is_picture).unbind() for one in windows]
            for now, more, *seen in zip(given, beside, *views, strict=True):
                now += (*seen, *more)
        return [{"kept": now, "is_part": rect != self._whole} for now in given]

    def told_by_number(self, rect: Rect) -> list[dict[str, Any]]:
        """The same in tensors that are where they were, whatever ``rect``, and numbers of cells.

        The numbers' shapes depend on the size of ``rect`` alone where that, its place and the size of
        the whole are multiples of the deepest level's cells.
        """
        is_part, places = rect != self._whole, []
        made: dict[Hashable, list[torch.Tensor]] = {}
        ranges = self._even_ranges(rect) if is_part else {}
        for layer, kept in zip(self._layers, self._kept, strict=True) if is_part else ():
            if layer.alike not in made:
                windows = _windows(layer, kept, ranges)
                made[layer.alike] = [_numbers(*one, kept.shape[3], kept.device) for one in windows]
            places += made[layer.alike]
        return [{"kept": now, "places": places, "is_part": is_part} for now in self._by_time]

    def _ranges(self, rect: Rect) -> dict[int, Rect]:
        """What is painted of each level for ``rect`` of the latents: as little as can be."""
        ranges = {level: _at(rect, level) for level in _LEVELS if level <= 0}
        for level in range(1, _LEVELS.stop):
            ranges[level] = _grown(_at(ranges[level - 1], 1), self._wider, _at(self._whole, level))
        return ranges

    def _even_ranges(self, rect: Rect) -> dict[int, Rect]:
        """The same and a little more: of one size wherever ``rect`` lies."""
        ranges, reach = {}, 0
        for level in _LEVELS:
            reach = -(-reach // 2) + self._wider if level > 0 else 0
            ranges[level] = _shifted(_at(rect, level), reach, _at(self._whole, level))
        return ranges

    @property
    def bytes(self) -> int:
        return sum(one.nbytes for one in self._kept)


def _windows(
    layer: Layer, kept: torch.Tensor, parts: Mapping[int, Rect]
) -> list[tuple[int, int, int, int]]:
    """(top, bottom, left, right) in ``kept``: where a layer puts its input, and what a convolution
    then looks at.

    ``parts``: of each level, what is painted there.
    """
    here = parts[layer.level]
    if isinstance(layer.stands, _Same):
        return []
    if not isinstance(layer.stands, _Convolution):
        return [(here.y, here.bottom, here.x, here.right)]
    one: Any = layer.module
    (py, px), (ky, kx), (sy, sx) = one.padding, one.kernel_size, one.stride
    made = parts[layer.level + 1] if sy > 1 else here
    seen = (made.y * sy, (made.bottom - 1) * sy + ky, made.x * sx, (made.right - 1) * sx + kx)
    if layer.stands.is_doubled:
        half = parts[layer.level + 1]
        here = Rect(2 * half.x, 2 * half.y, 2 * half.width, 2 * half.height)
    # Doubling a side that was odd gives one too many.
    bottom = min(here.bottom, kept.shape[2] - 2 * py)
    right = min(here.right, kept.shape[3] - 2 * px)
    return [(here.y + py, bottom + py, here.x + px, right + px), seen]


def _view(kept: torch.Tensor, window: tuple[int, int, int, int], is_picture: bool) -> torch.Tensor:
    """That part of (times, n, height, width, channels), with the channels second in a picture.

    In one call: a live picture looks at hundreds of them.
    """
    top, bottom, left, right = window
    times, n, _, _, channels = kept.shape
    t, p, y, x, c = kept.stride()
    high, wide = bottom - top, right - left
    if is_picture:
        size, stride = (times, n, channels, high, wide), (t, p, c, y, x)
    else:
        size, stride = (times, n, high, wide, channels), (t, p, y, x, c)
    return kept.as_strided(size, stride, top * y + left * x)


def _numbers(
    top: int, bottom: int, left: int, right: int, width: int, device: torch.device
) -> torch.Tensor:
    """(bottom - top, right - left) int64: the numbers of those cells, in rows of ``width``."""
    rows, columns = (torch.arange(*ends, device=device) for ends in ((top, bottom), (left, right)))
    return rows[:, None] * width + columns


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
            kind = _Convolution if max(child.kernel_size) > 1 else _Product
            new = kind(child, running)
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


def _shifted(rect: Rect, by: int, whole: Rect) -> Rect:
    """As ``_grown``, but as large at a border as anywhere, where ``whole`` is large enough."""

    def along(low: int, side: int, most: int) -> tuple[int, int]:
        size = min(side + 2 * by, most)
        return min(max(0, low - by), most - size), size

    x, width = along(rect.x, rect.width, whole.width)
    y, height = along(rect.y, rect.height, whole.height)
    return Rect(x, y, width, height)


def _at(rect: Rect, level: int) -> Rect:
    """The cells of that level that ``rect`` of the latents is in."""
    if level < 0:
        k = 1 << -level
        return Rect(rect.x * k, rect.y * k, rect.width * k, rect.height * k)
    x, y = rect.x >> level, rect.y >> level
    right, bottom = -(-rect.right >> level), -(-rect.bottom >> level)
    return Rect(x, y, right - x, bottom - y)
