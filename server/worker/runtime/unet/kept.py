"""What the layers of a net keep of a whole picture, and where a part of it lies in that."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from velatura.protocol.region import Rect, grown
from velatura.server.worker.runtime.unet.incremental import Convolution, Layer, Norm, Same, Tokens
from velatura.server.worker.runtime.unet.levels import LEVELS, in_level, shifted

# Of fewer cells and fewer channels in a group a norm on a CPU is quicker with each channel in one place:
# 10 us for 45 with 19 x 19 cells and groups of 4.
_FEW_CELLS, _FEW_CHANNELS = 1024, 16


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
            n, rect = layer.shape[0], in_level(whole, layer.level)
            beside: list[tuple[torch.Tensor, ...]] = [() for _ in range(times)]
            shape: tuple[int, ...] = (times, n, rect.height, rect.width)
            if isinstance(layer.stands, Convolution):
                y, x = (2 * side for side in module.padding)
                shape = (times, n, rect.height + y, rect.width + x, module.in_channels)
            elif isinstance(layer.stands, Norm):
                shape = (*shape, module.num_channels)
            elif isinstance(layer.stands, Tokens):
                shape = (*shape, module.out_features)
            else:
                shape = (times, *layer.shape[:-1], module.out_features)
            kept = torch.zeros(shape, dtype=module.weight.dtype, device=device)
            is_cpu = torch.device(device).type == "cpu"
            if is_cpu and isinstance(layer.stands, Norm) and _is_fine(module, rect):
                kept = kept.permute(0, 1, 4, 2, 3).contiguous().permute(0, 1, 3, 4, 2)
            if isinstance(layer.stands, Norm):
                beside = [(picture,) for picture in kept.permute(0, 1, 4, 2, 3).unbind()]
            elif isinstance(layer.stands, Tokens):
                beside = [(tokens,) for tokens in kept.flatten(2, 3).unbind()]
            elif isinstance(layer.stands, Same):
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
        ranges = {level: in_level(rect, level) for level in LEVELS if level <= 0}
        for level in range(1, LEVELS.stop):
            ranges[level] = grown(
                in_level(ranges[level - 1], 1), self._wider, in_level(self._whole, level)
            )
        return ranges

    def _even_ranges(self, rect: Rect) -> dict[int, Rect]:
        """The same and a little more: of one size wherever ``rect`` lies."""
        ranges, reach = {}, 0
        for level in LEVELS:
            reach = -(-reach // 2) + self._wider if level > 0 else 0
            ranges[level] = shifted(in_level(rect, level), reach, in_level(self._whole, level))
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
    if isinstance(layer.stands, Same):
        return []
    if not isinstance(layer.stands, Convolution):
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


def _is_fine(norm: torch.nn.GroupNorm, rect: Rect) -> bool:
    """Whether it is quicker over ``rect`` where its channels do not lie last."""
    channels = norm.num_channels // norm.num_groups
    return rect.width * rect.height < _FEW_CELLS and channels < _FEW_CHANNELS
