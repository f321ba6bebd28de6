"""The model of a live canvas: pixels in, predictions, pixels out, and what its layers keep in between."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import torch
from velatura.models.families.base import Loaded
from velatura.models.families.unet.call import GUIDANCE, Given, Guide, Pass
from velatura.models.families.unet.denoiser import guidance_embedding
from velatura.protocol.region import Rect, Size
from velatura.server.worker.errors import JobError
from velatura.server.worker.live_plan import (
    cells_around,
    in_cells,
    part_sizes,
    prepared_around,
    times,
)
from velatura.server.worker.memory import free_memory
from velatura.server.worker.plan import LATENT_CELL
from velatura.server.worker.runtime.unet.incremental import Incremental, layers_of
from velatura.server.worker.runtime.unet.kept import Memory
from velatura.server.worker.runtime.unet.recorded import Recorded
from velatura.server.worker.runtime.warmup import Warmed

# Cells of each deeper level that a change is followed to, beyond those of the level above. With none
# below level 1 a part costs 6 % less, but the starter answers a stroke at 0.71 of a whole picture, not 0.73.
_WIDER = 1
# What all layers may keep of one canvas, in bytes, and of the memory that is free.
_SHARE = 1 / 4
_MOST_KEPT = 2 << 30
# Model pixels around a part that an autoencoder is shown which keeps nothing itself.
_ROOM = 32


@dataclass
class Kept:
    """What layers keep of one picture: of each control's net and then of the UNet, of both ``ends`` of
    a tiny autoencoder. ``holder`` has painted it."""

    nets: Sequence[Memory]
    ends: Sequence[Memory]
    holder: object = None


@dataclass(frozen=True)
class LiveControl:
    """One ControlNet.

    runs  is called in its place: an Incremental one, or a union
    map   (1, 3, h, w) in 0..1 of the plan's size, None: derived each time
    """

    net: torch.nn.Module
    runs: torch.nn.Module
    kind: str
    map: torch.Tensor | None
    weight: float
    start: float
    end: float


@dataclass(frozen=True)
class LiveTools:
    """What all pictures of one canvas under one setting share.

    unet      the model's, the one with few-step weights where it has them
    run       a pass of it
    ends      a tiny autoencoder's encoder and decoder, as Incremental ones; none without
    prompt    embeddings (1 or 2, tokens, width): with guidance the negative ones come first
    pooled    the same as one vector each, of a family whose UNet is told them (SDXL)
    alphas    the noise schedule's cumulative alphas, one for each training step
    velocity  the model predicts v, not noise (Salimans & Ho 2022)
    derive    (kind, the canvas (H, W, 4) uint8) -> its control map (H, W, 3) uint8, kept for a while
    """

    loaded: Loaded
    unet: torch.nn.Module
    run: Pass
    ends: Sequence[Callable[..., torch.Tensor]]
    prompt: torch.Tensor
    pooled: torch.Tensor | None
    alphas: Sequence[float]
    velocity: bool
    controls: Sequence[LiveControl]
    derive: Callable[[str, np.ndarray], np.ndarray]


class LiveModel:
    """A model that paints pictures of one ``size`` (model pixels) in ``steps`` (time steps).

    Once it has painted a whole picture, it paints parts of it as parts of the whole, where it
    ``knows_parts``. Passes that are prepared share what they keep: it is of who painted last.
    """

    def __init__(
        self, tools: LiveTools, size: Size, steps: Sequence[torch.Tensor], guidance: float
    ) -> None:
        self._tools, self._size, self._steps, self._guidance = tools, size, steps, guidance
        self._whole = Rect(0, 0, size.width // LATENT_CELL, size.height // LATENT_CELL)
        self._ends = tools.ends
        device = tools.loaded.device
        # Latents (1, 4, H, W) float32 of what was taken in and of what was painted.
        shape = (1, 4, self._whole.height, self._whole.width)
        self._clean, self._painted = (torch.zeros(shape, device=device) for _ in "ab")
        self._weights = [torch.tensor(control.weight, device=device) for control in tools.controls]
        self._labels = self._make_labels()
        # Of each step: what its pass keeps around the cells of the picture begun.
        self._around: list[dict[str, Any]] = []
        if isinstance(tools.run, Warmed):
            # What is prepared reads what is kept where it lies.
            self._memory, self._examples = tools.run.beside(self._shapes(), self._make_both)
            for examples in self._examples.values():
                tools.run.want(examples)
        else:
            self._memory = self._make_memory()

    @property
    def knows_parts(self) -> bool:
        """Whether it has painted a whole picture, and nothing else since with what it keeps that in."""
        return self._memory is not None and self._memory.holder is self

    def needs_recording(self, cells: Rect) -> bool:
        """Whether painting ``cells`` would first record passes."""
        run = self._tools.run
        return isinstance(run, Recorded) and not all(map(run.knows, self._examples_over(cells)))

    def fit(self, rect: Rect) -> Rect:
        """What is painted for ``rect``, both in model pixels: it, more around it, or everything."""
        run = self._tools.run
        if not self.knows_parts:
            cells = self._whole
        elif isinstance(run, Warmed):
            cells = prepared_around(in_cells(rect), self._whole)
            # A part that is not prepared would take longer than the whole.
            if not all(map(run.is_ready, self._examples[cells.width, cells.height])):
                cells = self._whole
        else:
            return rect
        return times(cells, LATENT_CELL)

    def _shapes(self) -> tuple[Hashable, ...]:
        """The same for all whose passes are of the same shapes."""
        nets = (control.net for control in self._tools.controls)
        at_work = (tuple(self._at_work(index)) for index in range(len(self._steps)))
        return (self._whole, self._tools.prompt.shape, *nets, *at_work)

    def _make_both(self) -> tuple[Kept | None, dict[tuple[int, int], list[Given]]]:
        """Memory, and what passes are told that are to be prepared: by a part's size, of each step."""
        self._memory = self._make_memory()
        made = {}
        sizes = part_sizes(self._whole) if self._memory else []
        for width, height in ((self._whole.width, self._whole.height), *sizes):
            made[width, height] = self._examples_over(Rect(0, 0, width, height))
        return self._memory, made

    def _examples_over(self, cells: Rect) -> list[Given]:
        """What the pass of each step over ``cells`` is told."""
        drawn = _at(self._zeros(3, LATENT_CELL), times(cells, LATENT_CELL))[:1]
        maps, noisy = [drawn] * len(self._weights), _at(self._zeros(4, 1), cells)[:1]
        around, count = self._around_of(cells), range(len(self._steps))
        return [self._given(noisy, index, maps, around) for index in count]

    def _make_memory(self) -> Kept | None:
        """Room for what is to be kept; None where it is too much or a net is not understood."""
        tools, tiny = self._tools, self._tools.loaded.tiny_vae
        if any(not isinstance(control.runs, Incremental) for control in tools.controls):
            return None
        latents, picture = self._zeros(4, 1), self._zeros(3, LATENT_CELL)
        called = (latents, self._steps[0])
        told = {"encoder_hidden_states": tools.prompt, "added_cond_kwargs": self._labels}
        pixels = Rect(0, 0, self._size.width, self._size.height)
        count = len(self._steps)
        try:
            wanted = []
            for control in tools.controls:
                layers = layers_of(control.net, *called, **told, controlnet_cond=picture)
                wanted.append((layers, self._whole, count, _WIDER))
            wanted.append((layers_of(tools.unet, *called, **told), self._whole, count, _WIDER))
            if tiny is not None:
                wanted.append((layers_of(tiny.encoder, picture[:1]), pixels, 1, 0))
                wanted.append((layers_of(tiny.decoder, latents[:1]), self._whole, 1, 0))
        except LookupError:
            return None
        device = tools.loaded.device
        most = int(_SHARE * free_memory(device))
        if device.type == "cpu":
            most = min(_MOST_KEPT, most)
        if sum(Memory(*one, device="meta").bytes for one in wanted) > most:
            return None
        made = [Memory(*one, device=device) for one in wanted]
        nets = len(tools.controls) + 1
        return Kept(made[:nets], made[nets:])

    def _zeros(self, channels: int, scale: int) -> torch.Tensor:
        loaded, whole = self._tools.loaded, self._whole
        shape = (len(self._tools.prompt), channels, scale * whole.height, scale * whole.width)
        zeros = torch.zeros(shape, dtype=loaded.dtype, device=loaded.device)
        return zeros.contiguous(memory_format=torch.channels_last)

    def begin(self, cells: Rect) -> torch.Tensor:
        """Begin a picture in which ``cells`` are painted; (1, 4, h, w) float32, what was taken in."""
        self._around = self._around_of(cells)
        if self._memory is not None and cells == self._whole:
            self._memory.holder = self
        return _at(self._clean, cells)

    @torch.no_grad()
    def predict(
        self, noisy: torch.Tensor, index: int, maps: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """What the UNet makes of ``noisy`` (1, 4, h, w) in step ``index`` of the picture begun.

        Guided where there are two prompts; float32. ``maps``: the controls', (1, 3, 8h, 8w).
        """
        output = self._tools.run(self._given(noisy, index, maps, self._around)).float()
        if len(output) == 1:
            return output
        without, with_prompt = output.chunk(2)
        return without + self._guidance * (with_prompt - without)

    def _around_of(self, cells: Rect) -> list[dict[str, Any]]:
        if self._memory is None:
            return [{}] * len(self._steps)
        # Views would move, and other devices' norms take no pictures with channels last.
        is_plain_cpu = self._clean.device.type == "cpu" and not isinstance(self._tools.run, Warmed)
        tell = Memory.told if is_plain_cpu else Memory.told_by_number
        told = zip(*(tell(one, cells) for one in self._memory.nets), strict=True)
        return [
            _together(list(compress(now, self._at_work(index)))) for index, now in enumerate(told)
        ]

    def _at_work(self, index: int) -> list[bool]:
        """Which of the controls work in step ``index``, and then the UNet, which always does."""
        count = len(self._steps)
        asked = ((c.start, c.end) for c in self._tools.controls)
        return [
            *(start <= index / count and (index + 1) / count <= end for start, end in asked),
            True,
        ]

    def _given(
        self,
        noisy: torch.Tensor,
        index: int,
        maps: Sequence[torch.Tensor],
        around: Sequence[dict[str, Any]],
    ) -> Given:
        tools = self._tools
        count = len(tools.prompt)
        inputs = noisy.to(tools.loaded.dtype).expand(count, -1, -1, -1)
        given = zip(tools.controls, maps, self._weights, strict=True)
        guides = [
            Guide(control.runs, drawn.repeat(count, 1, 1, 1), weight)
            for control, drawn, weight in compress(given, self._at_work(index))
        ]
        last = inputs.contiguous(memory_format=torch.channels_last)
        return Given(
            last, self._steps[index], tools.prompt, self._labels, guides=guides, **around[index]
        )

    def _make_labels(self) -> dict[str, torch.Tensor]:
        tools, count, labels = self._tools, len(self._tools.prompt), {}
        if tools.pooled is not None:
            # Nothing of the picture is cut off (Podell et al.).
            height, width = self._size.height, self._size.width
            sizes = torch.tensor([[height, width, 0, 0, height, width]] * count)
            labels = {"text_embeds": tools.pooled, "time_ids": sizes.to(tools.pooled)}
        if tools.unet.config.time_cond_proj_dim is not None:
            told = guidance_embedding(
                max(1.0, self._guidance), tools.unet.config.time_cond_proj_dim
            )
            labels[GUIDANCE] = told.to(tools.loaded.device, tools.loaded.dtype)
        return labels

    @torch.no_grad()
    def take_in(self, picture: np.ndarray, rect: Rect) -> None:
        """``rect``, whole cells, of ``picture`` (H, W, 3) uint8 has changed."""
        loaded, cells = self._tools.loaded, in_cells(rect)
        seen = self._seen_around(cells)
        pixels_seen = times(seen, LATENT_CELL)
        part = picture[pixels_seen.y : pixels_seen.bottom, pixels_seen.x : pixels_seen.right]
        pixels = torch.from_numpy(np.ascontiguousarray(part))
        if loaded.device.type == "cuda":
            pixels = pixels.pin_memory().to(loaded.device, non_blocking=True)
        # Bytes travel; floats are made on the device.
        values = pixels.permute(2, 0, 1)[None].to(loaded.device).float() / 127.5 - 1
        if loaded.tiny_vae is not None:
            around = self._memory.ends[0].told(pixels_seen)[0] if self._memory else {}
            latents = self._ends[0](values.to(loaded.tiny_vae.dtype), **around).float()
        else:
            vae = loaded.vae
            latents = vae.encode(values.to(vae.dtype)).latent_dist.mode().float()
            latents = latents * vae.config.scaling_factor
        asked = Rect(cells.x - seen.x, cells.y - seen.y, cells.width, cells.height)
        _at(self._clean, cells).copy_(_at(latents, asked))

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, cells: Rect) -> np.ndarray:
        """(h, w, 3) uint8 of ``cells``. Raises JobError (``bad_output``) for what is no picture."""
        loaded = self._tools.loaded
        _at(self._painted, cells).copy_(latents)
        seen = self._seen_around(cells)
        latents = _at(self._painted, seen)
        if loaded.tiny_vae is not None:
            around = self._memory.ends[1].told(seen)[0] if self._memory else {}
            sample = self._ends[1](latents.to(loaded.tiny_vae.dtype), **around)
        else:
            vae = loaded.vae
            sample = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
        if not torch.isfinite(sample).all():
            raise JobError(
                "bad_output",
                "The model returned values that are not numbers; nothing was kept. Try fewer "
                "controls, or the model in full precision.",
            )
        values = (sample[0].float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        asked = Rect(cells.x - seen.x, cells.y - seen.y, cells.width, cells.height)
        part = _at(values, times(asked, LATENT_CELL))
        return part.permute(1, 2, 0).cpu().numpy().copy()

    def _seen_around(self, cells: Rect) -> Rect:
        """What the autoencoder is shown for ``cells``: the tiny one keeps its surroundings itself."""
        if self._ends:
            return cells
        pixels = cells_around(times(cells, LATENT_CELL), _ROOM, times(self._whole, LATENT_CELL))
        return in_cells(pixels)


def _together(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What one pass of several nets is told, one after the other."""
    made = dict(told[-1], kept=[tensor for one in told for tensor in one["kept"]])
    if "places" in made:
        made["places"] = [tensor for one in told for tensor in one["places"]]
    return made


def _at(picture: torch.Tensor, rect: Rect) -> torch.Tensor:
    return picture[..., rect.y : rect.bottom, rect.x : rect.right]
