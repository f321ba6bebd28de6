"""The model of a live canvas: pixels in, predictions, pixels out, and what its layers keep in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from velatura.models.families.base import Loaded
from velatura.protocol.region import Rect, Size
from velatura.server.worker.errors import JobError
from velatura.server.worker.incremental import Incremental, Memory, layers_of
from velatura.server.worker.live_plan import cells_around, in_cells, times
from velatura.server.worker.memory import free_memory
from velatura.server.worker.passes import GUIDANCE, Given, Pass
from velatura.server.worker.pipelines import guidance_embedding
from velatura.server.worker.plan import LATENT_CELL
from velatura.server.worker.union import UnionNet
from velatura.server.worker.warm import Warmed

# Cells of each deeper level that a change is followed to, beyond those of the level above. With none
# below level 1 a part costs 6 % less, but the starter answers a stroke at 0.71 of a whole picture, not 0.73.
_WIDER = 1
# What all layers may keep of one canvas, in bytes, and of the memory that is free.
_SHARE = 1 / 4
_MOST_KEPT = 2 << 30
# Model pixels around a part that an autoencoder is shown which keeps nothing itself.
_ROOM = 32


@dataclass(frozen=True)
class LiveControl:
    """One ControlNet. ``map`` (1, 3, h, w) in 0..1 of the plan's size, None: derived each time."""

    net: torch.nn.Module
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

    Once it has painted a whole picture, it paints parts of it as parts of the whole, where
    ``knows_parts``.
    """

    def __init__(
        self, tools: LiveTools, size: Size, steps: Sequence[torch.Tensor], guidance: float
    ) -> None:
        self._tools, self._size, self._steps, self._guidance = tools, size, steps, guidance
        self._nets = [
            c.net if isinstance(c.net, UnionNet) else Incremental(c.net) for c in tools.controls
        ]
        self._whole = Rect(0, 0, size.width // LATENT_CELL, size.height // LATENT_CELL)
        self._ends = tools.ends
        # Latents (1, 4, H, W) float32 of what was taken in and of what was painted.
        shape = (1, 4, self._whole.height, self._whole.width)
        self._clean, self._painted = (torch.zeros(shape, device=tools.loaded.device) for _ in "ab")
        # What the UNet and each ControlNet keep for each step, and then both ends of the autoencoder.
        self._kept = self._remembered()
        self.knows_parts = bool(self._kept)
        self._around: list[list[dict[str, Any]]] = []

    def _remembered(self) -> list[Memory]:
        """Room for what is to be kept; empty where it is too much or a net is not understood."""
        tools, tiny = self._tools, self._tools.loaded.tiny_vae
        if isinstance(tools.run, Warmed) or any(isinstance(one, UnionNet) for one in self._nets):
            return []
        given, picture = self.example(), self._zeros(3, LATENT_CELL)
        called = (given.inputs, given.step)
        told = {"encoder_hidden_states": given.prompt, "added_cond_kwargs": dict(given.labels)}
        pixels = Rect(0, 0, self._size.width, self._size.height)
        count = len(self._steps)
        try:
            wanted = [(layers_of(tools.unet, *called, **told), self._whole, count, _WIDER)]
            for control in tools.controls:
                layers = layers_of(control.net, *called, **told, controlnet_cond=picture)
                wanted.append((layers, self._whole, count, _WIDER))
            if tiny is not None:
                wanted.append((layers_of(tiny.encoder, picture[:1]), pixels, 1, 0))
                wanted.append((layers_of(tiny.decoder, given.inputs[:1]), self._whole, 1, 0))
        except LookupError:
            return []
        most = min(_MOST_KEPT, int(_SHARE * free_memory(tools.loaded.device)))
        if sum(Memory(*one, device="meta").bytes for one in wanted) > most:
            return []
        return [Memory(*one, device=tools.loaded.device) for one in wanted]

    def _zeros(self, channels: int, scale: int) -> torch.Tensor:
        loaded, whole = self._tools.loaded, self._whole
        shape = (len(self._tools.prompt), channels, scale * whole.height, scale * whole.width)
        zeros = torch.zeros(shape, dtype=loaded.dtype, device=loaded.device)
        return zeros.contiguous(memory_format=torch.channels_last)

    def example(self) -> Given:
        """What a pass over the whole picture is told, without controls."""
        return self._told(self._zeros(4, 1), self._steps[0])

    def begin(self, cells: Rect) -> torch.Tensor:
        """Begin a picture in which ``cells`` are painted; (1, 4, h, w) float32, what was taken in."""
        self._around = [one.told(cells) for one in self._kept[: 1 + len(self._nets)]]
        return _at(self._clean, cells)

    @torch.no_grad()
    def predict(
        self, noisy: torch.Tensor, index: int, maps: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """What the UNet makes of ``noisy`` (1, 4, h, w) in step ``index`` of the picture begun.

        Guided where there are two prompts; float32. ``maps``: the controls', (1, 3, 8h, 8w).
        """
        tools, count = self._tools, len(self._steps)
        prompts, step = tools.prompt, self._steps[index]
        inputs = noisy.to(tools.loaded.dtype).expand(len(prompts), -1, -1, -1)
        given = self._told(inputs.contiguous(memory_format=torch.channels_last), step)
        residuals: list[torch.Tensor] = []
        for number, control in enumerate(tools.controls):
            if index / count < control.start or (index + 1) / count > control.end:
                continue
            down, middle = self._nets[number](
                given.inputs,
                step,
                encoder_hidden_states=prompts,
                controlnet_cond=maps[number].repeat(len(prompts), 1, 1, 1),
                conditioning_scale=control.weight,
                added_cond_kwargs=given.labels or None,
                return_dict=False,
                **(self._around[1 + number][index] if self._around else {}),
            )
            new = [*down, middle]
            residuals = (
                [one + other for one, other in zip(residuals, new, strict=True)]
                if residuals
                else new
            )
        around = self._around[0][index] if self._around else {}
        output = tools.run(replace(given, residuals=residuals, **around)).float()
        if len(prompts) == 1:
            return output
        without, with_prompt = output.chunk(2)
        return without + self._guidance * (with_prompt - without)

    def _told(self, inputs: torch.Tensor, step: torch.Tensor) -> Given:
        """A pass over ``inputs`` (n, 4, h, w) without controls."""
        tools, labels = self._tools, {}
        if tools.pooled is not None:
            # Nothing of the picture is cut off (Podell et al.).
            height, width = self._size.height, self._size.width
            sizes = torch.tensor([[height, width, 0, 0, height, width]] * len(inputs))
            labels = {"text_embeds": tools.pooled, "time_ids": sizes.to(tools.pooled)}
        if tools.unet.config.time_cond_proj_dim is not None:
            labels[GUIDANCE] = guidance_embedding(tools.unet, max(1.0, self._guidance)).to(inputs)
        return Given(inputs, step, tools.prompt, labels)

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
            around = self._kept[-2].told(pixels_seen)[0] if self._kept else {}
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
            around = self._kept[-1].told(seen)[0] if self._kept else {}
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


def _at(picture: torch.Tensor, rect: Rect) -> torch.Tensor:
    return picture[..., rect.y : rect.bottom, rect.x : rect.right]
