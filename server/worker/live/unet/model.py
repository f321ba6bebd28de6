"""Paint live with a UNet: pixels in, predictions, pixels out, and what its layers keep in between."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, cast

import numpy as np
import torch
from velatura.models.devices import free_memory
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import Prediction, Step, denoised_by
from velatura.models.families.unet.call import Given, Guide
from velatura.models.families.unet.denoiser import UNetCondition, UNetDenoiser, acts
from velatura.models.families.unet.loaded import UNetLoaded
from velatura.protocol.region import Rect
from velatura.server.worker.live.model import LiveControl, LiveTools, check_finite
from velatura.server.worker.live.plan import cells_around
from velatura.server.worker.live.unet.parts import EVEN_PIXELS, part_sizes, prepared_around, times
from velatura.server.worker.runtime.accelerate import accelerate, accelerate_ends, accelerate_net
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.switches import INCREMENTAL
from velatura.server.worker.runtime.unet.incremental import Incremental, layers_of
from velatura.server.worker.runtime.unet.kept import Memory
from velatura.server.worker.runtime.unet.recorded import Recorded
from velatura.server.worker.runtime.warmup import Warmed, load_weights

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


class UNetNetwork:
    """A UNet that paints live, and what its canvases share: its pass, its ControlNets' and both ends of
    its tiny autoencoder, recorded or prepared once."""

    def __init__(self, loaded: UNetLoaded, accelerations: Accelerations) -> None:
        self.loaded = loaded
        self.run = accelerate(loaded.unet, accelerations)
        self.ends = accelerate_ends(loaded.tiny_vae, accelerations)
        # Whether they may be given what their layers keep; else every picture is painted whole.
        self.keeps = accelerations.is_on(INCREMENTAL)
        self._accelerations = accelerations
        # Where passes are prepared, few shapes serve all pictures.
        self.multiple = EVEN_PIXELS if isinstance(self.run, Warmed) else 1
        # What runs a net for a kind: always the same, as passes are prepared for it.
        self._guides: dict[tuple[torch.nn.Module, str], torch.nn.Module] = {}

    def guide(self, control: LiveControl) -> torch.nn.Module:
        """Find what runs the ControlNet of ``control``."""
        key = (control.net, control.kind)
        self._guides[key] = self._guides.get(key) or accelerate_net(
            control.net, control.kind, self._accelerations
        )
        return self._guides[key]

    def on_canvas(self, tools: LiveTools) -> UNetLiveModel:
        """Make what paints one canvas."""
        return UNetLiveModel(self, tools)

    def take_weights(self, loaded: Loaded) -> bool:
        """Take the weights of ``loaded`` in place where passes are prepared for them."""
        if not isinstance(self.run, Warmed) or not isinstance(loaded, UNetLoaded):
            return False
        load_weights(self.loaded.unet, loaded.unet)
        return True

    def wait(self) -> None:
        """Wait until every pass that is wanted so far is prepared."""
        if isinstance(self.run, Warmed):
            self.run.wait()

    def close(self) -> None:
        """Let go of what is prepared."""
        if isinstance(self.run, Warmed):
            self.run.close()


class UNetLiveModel:
    """A UNet that paints the pictures of one canvas.

    Once it has painted a whole picture, it paints parts of it as parts of the whole, where it
    ``knows_parts``. Passes that are prepared share what they keep: it is of who painted last.
    """

    def __init__(self, network: UNetNetwork, tools: LiveTools) -> None:
        self._network, self._tools = network, tools
        # Says whose picture is kept, without a circle of references.
        self._token = object()
        self._loaded, self._run, self._ends = network.loaded, network.run, network.ends
        self._denoiser = cast(UNetDenoiser, self._loaded.denoiser)
        self._factor = self._denoiser.latent.factor
        self._condition: UNetCondition = self._denoiser.condition(tools.words, (), tools.size)
        self._whole = self._in_cells(Rect(0, 0, tools.size.width, tools.size.height))
        device = self._loaded.device
        # Latents (1, channels, H, W) float32 of what was taken in and of what was painted.
        shape = self._denoiser.latent.shape(tools.size)
        self._clean, self._painted = (torch.zeros(shape, device=device) for _ in "ab")
        self._runs = [network.guide(control) for control in tools.controls]
        self._weights = [torch.tensor(control.weight, device=device) for control in tools.controls]
        # Of each step: what its pass keeps around the cells of the picture begun.
        self._around: list[dict[str, Any]] = []
        self._maps: Sequence[torch.Tensor] = ()
        if isinstance(self._run, Warmed):
            # What is prepared reads what is kept where it lies.
            self._memory, self._examples = self._run.beside(self._shapes(), self._make_both)
            for examples in self._examples.values():
                self._run.want(examples)
        else:
            self._memory = self._make_memory()

    @property
    def knows_parts(self) -> bool:
        """Whether it has painted a whole picture, and nothing else since with what it keeps that in."""
        return self._memory is not None and self._memory.holder is self._token

    def warming(self) -> tuple[int, int]:
        """Count (done, wanted) of the passes that are prepared beside painting."""
        return self._run.progress if isinstance(self._run, Warmed) else (0, 0)

    def needs_recording(self, rect: Rect) -> bool:
        """Tell whether painting ``rect`` would first record passes."""
        examples = self._examples_over(self._in_cells(rect))
        return isinstance(self._run, Recorded) and not all(map(self._run.knows, examples))

    def fit(self, rect: Rect) -> Rect:
        """What is painted for ``rect``, both in model pixels: it, more around it, or everything."""
        if not self.knows_parts:
            cells = self._whole
        elif isinstance(self._run, Warmed):
            cells = prepared_around(self._in_cells(rect), self._whole)
            # A part that is not prepared would take longer than the whole.
            if not all(map(self._run.is_ready, self._examples[cells.width, cells.height])):
                cells = self._whole
        else:
            return rect
        return times(cells, self._factor)

    def _shapes(self) -> tuple[Hashable, ...]:
        """The same for all whose passes are of the same shapes."""
        nets = (control.net for control in self._tools.controls)
        at_work = (tuple(self._at_work(step)) for step in self._steps)
        return (self._whole, self._condition.prompt.shape, *nets, *at_work)

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
        drawn = _at(self._zeros(3, self._factor), times(cells, self._factor))[:1]
        maps, noisy = [drawn] * len(self._weights), _at(self._zeros(self._channels, 1), cells)[:1]
        around = self._around_of(cells)
        return [self._given(noisy, step, maps, around) for step in self._steps]

    def _make_memory(self) -> Kept | None:
        """Room for what is to be kept; None where it is too much or a net is not understood."""
        tools, tiny = self._tools, self._loaded.tiny_vae
        if not self._network.keeps or any(not isinstance(runs, Incremental) for runs in self._runs):
            return None
        latents, picture = self._zeros(self._channels, 1), self._zeros(3, self._factor)
        called, condition = (latents, self._steps[0].timestep), self._condition
        told = {"encoder_hidden_states": condition.prompt, "added_cond_kwargs": condition.labels}
        pixels = Rect(0, 0, tools.size.width, tools.size.height)
        count = len(self._steps)
        try:
            wanted = []
            for control in tools.controls:
                layers = layers_of(control.net, *called, **told, controlnet_cond=picture)
                wanted.append((layers, self._whole, count, _WIDER))
            wanted.append(
                (layers_of(self._loaded.unet, *called, **told), self._whole, count, _WIDER)
            )
            if tiny is not None:
                wanted.append((layers_of(tiny.encoder, picture[:1]), pixels, 1, 0))
                wanted.append((layers_of(tiny.decoder, latents[:1]), self._whole, 1, 0))
        except LookupError:
            return None
        device = self._loaded.device
        most = int(_SHARE * free_memory(device))
        if device.type == "cpu":
            most = min(_MOST_KEPT, most)
        if sum(Memory(*one, device="meta").bytes for one in wanted) > most:
            return None
        made = [Memory(*one, device=device) for one in wanted]
        nets = len(tools.controls) + 1
        return Kept(made[:nets], made[nets:])

    def _zeros(self, channels: int, scale: int) -> torch.Tensor:
        loaded, whole = self._loaded, self._whole
        shape = (len(self._condition.prompt), channels, scale * whole.height, scale * whole.width)
        zeros = torch.zeros(shape, dtype=loaded.dtype, device=loaded.device)
        return zeros.contiguous(memory_format=torch.channels_last)

    def begin(self, rect: Rect, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Begin a picture in which ``rect`` is painted; returns its clean latents, float32."""
        cells = self._in_cells(rect)
        self._maps = maps
        self._around = self._around_of(cells)
        if self._memory is not None and cells == self._whole:
            self._memory.holder = self._token
        return _at(self._clean, cells)

    @torch.no_grad()
    def predict(self, x: torch.Tensor, step: Step) -> Prediction:
        """Predict in the picture begun, guided where there are two prompts."""
        output = self._run(self._given(x, step, self._maps, self._around)).float()
        if len(output) > 1:
            without, with_prompt = output.chunk(2)
            output = without + self._condition.guidance * (with_prompt - without)
        return Prediction(output, denoised_by(self._denoiser.convention, x, output, step))

    def _around_of(self, cells: Rect) -> list[dict[str, Any]]:
        if self._memory is None:
            return [{}] * len(self._steps)
        # Views would move, and other devices' norms take no pictures with channels last.
        is_plain_cpu = self._clean.device.type == "cpu" and not isinstance(self._run, Warmed)
        tell = Memory.told if is_plain_cpu else Memory.told_by_number
        told = zip(*(tell(one, cells) for one in self._memory.nets), strict=True)
        pairs = zip(self._steps, told, strict=True)
        return [_together(list(compress(now, self._at_work(step)))) for step, now in pairs]

    def _at_work(self, step: Step) -> list[bool]:
        """Tell which of the controls act in ``step``, and then the UNet, which always does."""
        return [*(acts(one.start, one.end, step) for one in self._tools.controls), True]

    def _given(
        self,
        noisy: torch.Tensor,
        step: Step,
        maps: Sequence[torch.Tensor],
        around: Sequence[dict[str, Any]],
    ) -> Given:
        condition = self._condition
        count = len(condition.prompt)
        inputs = noisy.to(self._loaded.dtype).expand(count, -1, -1, -1)
        given = zip(self._runs, maps, self._weights, strict=True)
        guides = [
            Guide(runs, drawn.repeat(count, 1, 1, 1), weight)
            for runs, drawn, weight in compress(given, self._at_work(step))
        ]
        last = inputs.contiguous(memory_format=torch.channels_last)
        told = around[step.index]
        return Given(last, step.timestep, condition.prompt, condition.labels, guides=guides, **told)

    @torch.no_grad()
    def take_in(self, picture: np.ndarray, rect: Rect) -> None:
        """``rect``, whole cells, of ``picture`` (H, W, 3) uint8 has changed."""
        loaded, cells = self._loaded, self._in_cells(rect)
        seen = self._seen_around(cells)
        pixels_seen = times(seen, self._factor)
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
    def decode(self, latents: torch.Tensor, rect: Rect) -> np.ndarray:
        """Decode what was painted in ``rect``: (h, w, 3) uint8. Raises JobError (``bad_output``)."""
        loaded, cells = self._loaded, self._in_cells(rect)
        _at(self._painted, cells).copy_(latents)
        seen = self._seen_around(cells)
        latents = _at(self._painted, seen)
        if loaded.tiny_vae is not None:
            around = self._memory.ends[1].told(seen)[0] if self._memory else {}
            sample = self._ends[1](latents.to(loaded.tiny_vae.dtype), **around)
        else:
            vae = loaded.vae
            sample = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
        check_finite(bool(torch.isfinite(sample).all()))
        values = (sample[0].float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        asked = Rect(cells.x - seen.x, cells.y - seen.y, cells.width, cells.height)
        part = _at(values, times(asked, self._factor))
        return part.permute(1, 2, 0).cpu().numpy().copy()

    def _seen_around(self, cells: Rect) -> Rect:
        """What the autoencoder is shown for ``cells``: the tiny one keeps its surroundings itself."""
        if self._ends:
            return cells
        f = self._factor
        pixels = cells_around(times(cells, f), _ROOM, times(self._whole, f), f)
        return self._in_cells(pixels)

    def _in_cells(self, rect: Rect) -> Rect:
        """Whole cells of model pixels -> cells of latents."""
        return Rect(*(side // self._factor for side in (rect.x, rect.y, rect.width, rect.height)))

    @property
    def _steps(self) -> Sequence[Step]:
        return self._tools.steps.steps

    @property
    def _channels(self) -> int:
        return self._denoiser.latent.channels


def _together(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What one pass of several nets is told, one after the other."""
    made = dict(told[-1], kept=[tensor for one in told for tensor in one["kept"]])
    if "places" in made:
        made["places"] = [tensor for one in told for tensor in one["places"]]
    return made


def _at(picture: torch.Tensor, rect: Rect) -> torch.Tensor:
    return picture[..., rect.y : rect.bottom, rect.x : rect.right]
