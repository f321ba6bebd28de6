"""Paint what changed of a live canvas: few steps, fixed noise, everything kept from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from velatura.models.families.base import Loaded
from velatura.models.samplers import make_scheduler
from velatura.protocol.messages import LiveOpen
from velatura.protocol.region import Rect, Size
from velatura.server.worker.control import control_map
from velatura.server.worker.errors import JobError
from velatura.server.worker.live_canvas import LiveCanvas, Task
from velatura.server.worker.live_plan import (
    Crop,
    LivePlan,
    crop_around,
    crop_sizes,
    kept_noise,
    live_steps,
    noise_levels,
    see,
    show,
    source_rect,
    to_model_rect,
)
from velatura.server.worker.passes import Given, Pass
from velatura.server.worker.pixels import to_array
from velatura.server.worker.plan import LATENT_CELL
from velatura.server.worker.prompts import Parsed
from velatura.server.worker.text import Prompts, Text, embed_both
from velatura.server.worker.warm import Warmed

# What each step continues with, as gamma of Zheng et al. 2024: at 1 LCM draws the canvas's noise for it
# anew (Luo et al. 2023), at 0 DDIM goes on with what was predicted (Song et al. 2020), which is Euler's
# step too; TCD stands between, where its authors and diffusers leave it.
LIVE_SAMPLERS = {"LCM": 1.0, "TCD": 0.3, "DDIM": 0.0, "Euler": 0.0}


class GivenUp(Exception):
    """Something newer is waiting."""


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

    run       a pass of the UNet, of the one with few-step weights where the model has them
    prompt    embeddings (1 or 2, tokens, width): with guidance the negative ones come first
    pooled    the same as one vector each, of a family whose UNet is told them (SDXL)
    alphas    the noise schedule's cumulative alphas, one for each training step
    velocity  the model predicts v, not noise (Salimans & Ho 2022)
    """

    loaded: Loaded
    run: Pass
    prompt: torch.Tensor
    pooled: torch.Tensor | None
    alphas: Sequence[float]
    velocity: bool
    controls: Sequence[LiveControl]


def check_live(settings: LiveOpen, extra: str) -> None:
    """Raises JobError for what cannot be painted live. ``extra``: of the model, as in Found."""
    if extra:
        raise JobError(
            "unsupported",
            f"{settings.model} needs more than a picture to paint from: choose its base for live.",
            "model",
        )
    if settings.sampler not in LIVE_SAMPLERS:
        names = ", ".join(LIVE_SAMPLERS)
        raise JobError("unsupported", f"sampler must be one of {names} in live.", "sampler")
    area = settings.area
    for number, control in enumerate(settings.controls):
        picture = control.picture
        if picture and (picture.width, picture.height) != (area.width, area.height):
            raise JobError(
                "invalid_field",
                f"controls[{number}].picture must have the area's size, "
                f"{area.width} x {area.height} pixels.",
                f"controls[{number}].picture",
            )


def make_live_tools(
    settings: LiveOpen,
    plan: LivePlan,
    loaded: Loaded,
    run: Pass,
    prompts: Prompts,
    nets: Sequence[torch.nn.Module],
    embed: Callable[[Parsed], Text],
    read_guide: Callable[[str, np.ndarray, bool], np.ndarray],
) -> LiveTools:
    """``embed`` and ``read_guide`` (kind, picture, False) -> control map are the engine's, cached."""
    words, negative = embed_both(prompts, settings.guidance > 1, embed)
    prompt, pooled = words.embeddings, words.pooled
    if negative:
        prompt = torch.cat([negative.embeddings, prompt])
        if pooled is not None and negative.pooled is not None:
            pooled = torch.cat([negative.pooled, pooled])
    controls = []
    for control, net in zip(settings.controls, nets, strict=True):
        drawn = None
        if control.picture is not None:
            guide = read_guide(control.kind, to_array(control.picture), False)
            height, width = guide.shape[:2]
            area = Rect(0, 0, width, height)
            opaque = np.concatenate([guide, np.full_like(guide[..., :1], 255)], -1)
            whole = Rect(0, 0, plan.size.width, plan.size.height)
            drawn = map_tensor(see(opaque, area, whole, plan))
        controls.append(
            LiveControl(net, control.kind, drawn, control.weight, control.start, control.end)
        )
    schedule = make_scheduler("DDIM", loaded.scheduler_config)
    return LiveTools(
        loaded=loaded,
        run=run,
        prompt=prompt,
        pooled=pooled,
        alphas=schedule.alphas_cumprod.tolist(),
        velocity=schedule.config.prediction_type == "v_prediction",
        controls=controls,
    )


class LivePainter:
    """One live canvas as the model sees it, under one setting.

    It keeps what went in, what came out and its latents, so that a change repaints the part around
    it only and the rest stays as it is, bit for bit.
    """

    def __init__(self, settings: LiveOpen, plan: LivePlan, tools: LiveTools) -> None:
        self.settings = settings
        self._plan, self._tools = plan, tools
        height, width = plan.size.height, plan.size.width
        self._seen = np.zeros((height, width, 3), np.uint8)
        self._shown = np.zeros((height, width, 3), np.uint8)
        self._latents: torch.Tensor | None = None
        loaded = tools.loaded
        # Drawn on the CPU, so that it is the same on any device: one plane for each step.
        shape = (settings.steps, 4, height // LATENT_CELL, width // LATENT_CELL)
        generator = torch.Generator().manual_seed(settings.seed)
        self._noise = torch.randn(shape, generator=generator).to(loaded.device)
        steps = live_steps(settings.steps, settings.strength, len(tools.alphas))
        self._levels = [
            (torch.tensor(step, device=loaded.device), *noise_levels(tools.alphas, step))
            for step in steps
        ]
        gamma = LIVE_SAMPLERS[settings.sampler]
        self._kept = [kept_noise(tools.alphas, step, gamma) for step in steps[1:]]

        self._warmed = tools.run if isinstance(tools.run, Warmed) else None
        if self._warmed is not None and not tools.controls:
            # Controls' shapes are known when they have been run: those are asked for then.
            self._warmed.want(self._given(size) for size in crop_sizes(plan))

    def warming(self) -> str:
        """A sentence while passes are being prepared, else nothing."""
        done, wanted = self._warmed.progress if self._warmed is not None else (0, 0)
        return f"Getting quicker on this card: {done} of {wanted} sizes." if done < wanted else ""

    def paint(
        self, canvas: LiveCanvas, task: Task, on_step: Callable[[int, int], None]
    ) -> tuple[int, int, np.ndarray]:
        """(x, y, pixels (H, W, 4) uint8) for the client, in canvas pixels.

        ``on_step`` gets (steps done, steps) and may raise; then nothing but ``task`` must be painted
        again. Raises JobError (``bad_output``).
        """
        plan = self._plan
        whole = Rect(0, 0, plan.size.width, plan.size.height)
        if self.settings.strength == 0:
            return self._source(canvas, task)
        first = self._latents is None
        # When no pixel changed, the smallest part answers the frame.
        changed = Rect(0, 0, 1, 1)
        if first or task.rect is not None:
            dirty = whole if first or task.rect is None else to_model_rect(task.rect, plan)
            source = source_rect(dirty, plan)
            self._seen[dirty.y : dirty.bottom, dirty.x : dirty.right] = see(
                canvas.read(source), source, dirty, plan
            )
            changed = self._repaint(crop_around(None if first else dirty, plan), on_step)
        rect, pixels = show(self._shown, whole if task.whole else changed, plan)
        return rect.x, rect.y, pixels

    def _source(self, canvas: LiveCanvas, task: Task) -> tuple[int, int, np.ndarray]:
        """Strength 0: the canvas itself."""
        area = self._plan.area
        rect = Rect(0, 0, area.width, area.height) if task.whole else task.rect or Rect(0, 0, 1, 1)
        pixels = canvas.read(rect)
        white = np.full_like(pixels, 255)
        white[..., :3] = see(
            pixels, rect, rect, replace(self._plan, shrink=1, grow=1, content=area, size=area)
        )
        return rect.x, rect.y, white

    def _repaint(self, crop: Crop, on_step: Callable[[int, int], None]) -> Rect:
        """Paint ``crop`` into what is shown; returns what changed there, in model pixels."""
        rect = crop.rect
        rows, columns = slice(rect.y, rect.bottom), slice(rect.x, rect.right)
        cells = (
            slice(rect.y // LATENT_CELL, rect.bottom // LATENT_CELL),
            slice(rect.x // LATENT_CELL, rect.right // LATENT_CELL),
        )
        held = None if self._latents is None or crop.whole else self._latents[..., *cells]
        latents = self._sample(crop, cells, held, on_step)
        painted = self._decode(latents)
        if held is None or self._latents is None:
            self._latents = latents
            self._shown = painted
            return rect
        self._latents[..., *cells] = latents
        part = crop.shown[..., None]
        mixed = painted * part + self._shown[rows, columns] * (1 - part)
        self._shown[rows, columns] = np.rint(mixed).astype(np.uint8)
        ys, xs = np.flatnonzero(crop.shown.any(1)), np.flatnonzero(crop.shown.any(0))
        x, y = int(xs[0]), int(ys[0])
        return Rect(rect.x + x, rect.y + y, int(xs[-1]) - x + 1, int(ys[-1]) - y + 1)

    @torch.no_grad()
    def _sample(
        self,
        crop: Crop,
        cells: tuple[slice, slice],
        held: torch.Tensor | None,
        on_step: Callable[[int, int], None],
    ) -> torch.Tensor:
        """Clean latents (1, 4, h/8, w/8) float32 of ``crop``.

        Where the crop is not free, each prediction of the clean latents is replaced by ``held``,
        what is shown there: every step sees its surroundings as they will stay.
        """
        noise = self._noise[..., *cells]
        free = torch.from_numpy(crop.free).to(noise.device)
        maps = self._maps(crop.rect)
        count = len(self._levels)
        clean = self._encode(crop.rect)
        go_on = noise[:1]
        for index, (step, alpha, sigma) in enumerate(self._levels):
            noisy = alpha * clean + sigma * go_on
            predicted = self._predict(noisy, step, index, maps)
            if self._tools.velocity:
                clean = alpha * noisy - sigma * predicted
            else:
                clean = (noisy - sigma * predicted) / alpha
            if held is not None:
                clean = free * clean + (1 - free) * held
            on_step(index + 1, count)
            if index + 1 < count:
                kept = self._kept[index]
                go_on = kept * (noisy - alpha * clean) / sigma
                go_on = go_on + (1 - kept**2) ** 0.5 * noise[index + 1 : index + 2]
        return clean

    def _predict(
        self, noisy: torch.Tensor, step: torch.Tensor, index: int, maps: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """What the UNet makes of ``noisy``, guided where there are two prompts; float32."""
        tools, count = self._tools, len(self._levels)
        prompts = tools.prompt
        inputs = noisy.to(tools.loaded.dtype).repeat(len(prompts), 1, 1, 1)
        given = self._told(inputs.contiguous(memory_format=torch.channels_last), step)
        residuals: list[torch.Tensor] = []
        for control, drawn in zip(tools.controls, maps, strict=True):
            if index / count < control.start or (index + 1) / count > control.end:
                continue
            down, middle = control.net(
                given.inputs,
                step,
                encoder_hidden_states=prompts,
                controlnet_cond=drawn.repeat(len(prompts), 1, 1, 1),
                conditioning_scale=control.weight,
                added_cond_kwargs=given.labels or None,
                return_dict=False,
            )
            new = [*down, middle]
            residuals = (
                [one + other for one, other in zip(residuals, new, strict=True)]
                if residuals
                else new
            )
        output = tools.run(replace(given, residuals=residuals)).float()
        if len(prompts) == 1:
            return output
        without, with_prompt = output.chunk(2)
        return without + self.settings.guidance * (with_prompt - without)

    def _told(self, inputs: torch.Tensor, step: torch.Tensor) -> Given:
        """A pass over ``inputs`` (n, 4, h, w) without controls."""
        tools, labels = self._tools, {}
        if tools.pooled is not None:
            # The crop is a whole picture of its own size: nothing of it is cut off (Podell et al.).
            height, width = (LATENT_CELL * side for side in inputs.shape[-2:])
            sizes = torch.tensor([[height, width, 0, 0, height, width]] * len(inputs))
            labels = {"text_embeds": tools.pooled, "time_ids": sizes.to(tools.pooled)}
        return Given(inputs, step, tools.prompt, labels)

    def _given(self, size: Size) -> Given:
        """What a pass over a crop of ``size`` looks like."""
        loaded, count = self._tools.loaded, len(self._tools.prompt)
        shape = (count, 4, size.height // LATENT_CELL, size.width // LATENT_CELL)
        zeros = torch.zeros(shape, dtype=loaded.dtype, device=loaded.device)
        step = self._levels[0][0]
        return self._told(zeros.contiguous(memory_format=torch.channels_last), step)

    def _maps(self, rect: Rect) -> list[torch.Tensor]:
        """The control maps' parts in ``rect``. Derived ones follow the picture."""
        loaded = self._tools.loaded
        maps = []
        for control in self._tools.controls:
            drawn = control.map
            if drawn is None:
                opaque = np.full_like(self._seen[..., :1], 255)
                picture = np.concatenate([self._seen, opaque], -1)
                drawn = map_tensor(control_map(control.kind, picture, derived=True))
            part = drawn[..., rect.y : rect.bottom, rect.x : rect.right]
            maps.append(part.to(loaded.device, loaded.dtype))
        return maps

    @torch.no_grad()
    def _encode(self, rect: Rect) -> torch.Tensor:
        """Scaled latents (1, 4, h/8, w/8) float32 of what is seen in ``rect``."""
        loaded = self._tools.loaded
        part = np.ascontiguousarray(self._seen[rect.y : rect.bottom, rect.x : rect.right])
        pixels = torch.from_numpy(part)
        if loaded.device.type == "cuda":
            pixels = pixels.pin_memory().to(loaded.device, non_blocking=True)
        # Bytes travel; floats are made on the device.
        values = pixels.permute(2, 0, 1)[None].to(loaded.device).float() / 127.5 - 1
        if loaded.tiny_vae is not None:
            tiny = loaded.tiny_vae
            return tiny.encode(values.to(tiny.dtype)).latents.float()
        vae = loaded.vae
        latents = vae.encode(values.to(vae.dtype)).latent_dist.mode().float()
        return latents * vae.config.scaling_factor

    @torch.no_grad()
    def _decode(self, latents: torch.Tensor) -> np.ndarray:
        """(h, w, 3) uint8. Raises JobError (``bad_output``) for what is no picture."""
        loaded = self._tools.loaded
        if loaded.tiny_vae is not None:
            sample = loaded.tiny_vae.decode(latents.to(loaded.tiny_vae.dtype)).sample
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
        return values.permute(1, 2, 0).cpu().numpy().copy()


def map_tensor(drawn: np.ndarray) -> torch.Tensor:
    """A control map (h, w, 3) uint8 -> (1, 3, h, w) float32 in 0..1."""
    return torch.from_numpy(drawn.astype(np.float32) / 255).permute(2, 0, 1)[None]
