"""Paint what changed of a live canvas: few steps, fixed noise, everything kept from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import Text
from velatura.models.families.unet.call import Pass
from velatura.models.samplers import make_scheduler
from velatura.protocol.messages import LiveOpen
from velatura.protocol.region import Rect
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.live_canvas import LiveCanvas, Task
from velatura.server.worker.live_model import LiveControl, LiveModel, LiveTools
from velatura.server.worker.live_plan import (
    Crop,
    LivePlan,
    crop_around,
    in_cells,
    kept_noise,
    live_steps,
    noise_levels,
    see,
    show,
    source_rect,
    to_model_rect,
)
from velatura.server.worker.pixels import to_array
from velatura.server.worker.plan import LATENT_CELL
from velatura.server.worker.prompts import Parsed
from velatura.server.worker.runtime.warmup import Warmed
from velatura.server.worker.text import Prompts, embed_both

# What each step continues with, as gamma of Zheng et al. 2024: at 1 LCM draws the canvas's noise for it
# anew (Luo et al. 2023), at 0 DDIM goes on with what was predicted (Song et al. 2020), which is Euler's
# step too; TCD stands between, where its authors and diffusers leave it.
LIVE_SAMPLERS = {"LCM": 1.0, "TCD": 0.3, "DDIM": 0.0, "Euler": 0.0}


class GivenUp(Exception):
    """Something newer is waiting."""


def check_live(settings: LiveOpen, extra: str) -> None:
    """Raises JobError for what cannot be painted live. ``extra``: of the model, as in Found."""
    if extra:
        raise JobError(
            "unsupported",
            Sentence(
                "{model} needs more than a picture to paint from: choose its base for live.",
                model=settings.model,
            ),
            "model",
        )
    if settings.sampler not in LIVE_SAMPLERS:
        names = ", ".join(LIVE_SAMPLERS)
        sentence = Sentence("sampler must be one of {names} in live.", names=names)
        raise JobError("unsupported", sentence, "sampler")
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
    unet: torch.nn.Module,
    run: Pass,
    ends: Sequence[Callable[..., torch.Tensor]],
    prompts: Prompts,
    nets: Sequence[tuple[torch.nn.Module, torch.nn.Module]],
    embed: Callable[[Parsed], Text],
    read_guide: Callable[[str, np.ndarray, bool], np.ndarray],
) -> LiveTools:
    """What all pictures of one canvas share. ``nets``: of each control the ControlNet and what runs it.

    ``embed`` and ``read_guide`` (kind, picture, derived) -> control map are the engine's, cached.
    """
    # LCM's own UNet is told the scale, and asked once.
    guided = settings.guidance > 1 and unet.config.time_cond_proj_dim is None
    words, negative = embed_both(prompts, guided, embed)
    prompt, pooled = words.embeddings, words.pooled
    if negative:
        prompt = torch.cat([negative.embeddings, prompt])
        if pooled is not None and negative.pooled is not None:
            pooled = torch.cat([negative.pooled, pooled])
    controls = []
    for control, (net, runs) in zip(settings.controls, nets, strict=True):
        drawn = None
        if control.picture is not None:
            guide = read_guide(control.kind, to_array(control.picture), False)
            height, width = guide.shape[:2]
            area = Rect(0, 0, width, height)
            opaque = np.concatenate([guide, np.full_like(guide[..., :1], 255)], -1)
            whole = Rect(0, 0, plan.size.width, plan.size.height)
            drawn = map_tensor(see(opaque, area, whole, plan))
        controls.append(
            LiveControl(net, runs, control.kind, drawn, control.weight, control.start, control.end)
        )
    schedule = make_scheduler("DDIM", loaded.scheduler_config)
    return LiveTools(
        loaded=loaded,
        unet=unet,
        run=run,
        ends=ends,
        prompt=prompt,
        pooled=pooled,
        alphas=schedule.alphas_cumprod.tolist(),
        velocity=schedule.config.prediction_type == "v_prediction",
        controls=controls,
        derive=lambda kind, picture: read_guide(kind, picture, True),
    )


class LivePainter:
    """One live canvas as the model sees it, under one setting.

    It keeps what went in, what came out and what the model's layers saw, so that a change repaints
    the part around it only and the rest stays as it is, bit for bit.
    """

    def __init__(self, settings: LiveOpen, plan: LivePlan, tools: LiveTools) -> None:
        self.settings = settings
        self._plan, self._tools = plan, tools
        height, width = plan.size.height, plan.size.width
        self._seen = np.zeros((height, width, 3), np.uint8)
        self._shown = np.zeros((height, width, 3), np.uint8)
        self._is_new = self._is_unrehearsed = True
        device = tools.loaded.device
        # Drawn on the CPU, so that it is the same on any device: one plane for each step.
        shape = (settings.steps, 4, height // LATENT_CELL, width // LATENT_CELL)
        generator = torch.Generator().manual_seed(settings.seed)
        self._noise = torch.randn(shape, generator=generator).to(device)
        steps = live_steps(settings.steps, settings.strength, len(tools.alphas))
        self._levels = [noise_levels(tools.alphas, step) for step in steps]
        gamma = LIVE_SAMPLERS[settings.sampler]
        self._kept = [kept_noise(tools.alphas, step, gamma) for step in steps[1:]]
        times = [torch.tensor(step, device=device) for step in steps]
        self._model = LiveModel(tools, plan.size, times, settings.guidance)
        self._warmed = tools.run if isinstance(tools.run, Warmed) else None

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
            return self._canvas_itself(canvas, task)
        first = self._is_new
        # When no pixel changed, the smallest part answers the frame.
        changed = Rect(0, 0, 1, 1)
        if first or task.rect is not None:
            dirty = whole if first or task.rect is None else to_model_rect(task.rect, plan)
            source = source_rect(dirty, plan)
            self._seen[dirty.y : dirty.bottom, dirty.x : dirty.right] = see(
                canvas.read(source), source, dirty, plan
            )
            crop = crop_around(None if dirty == whole else dirty, plan, self._model.fit)
            self._model.take_in(self._seen, crop.rect)
            changed = self._repaint(crop, on_step)
        rect, pixels = show(self._shown, whole if task.whole else changed, plan)
        return rect.x, rect.y, pixels

    @torch.no_grad()
    def rehearse(self) -> None:
        """Record what the first stroke would: it takes a second. Nothing that is shown changes."""
        corner = Rect(0, 0, LATENT_CELL, LATENT_CELL)
        if self._is_unrehearsed and not self._is_new and self._model.knows_parts:
            self._is_unrehearsed = False
            if self._model.needs_recording(in_cells(corner)):
                self._model.take_in(self._seen, corner)
                self._sample(corner, lambda done, steps: None)

    def _canvas_itself(self, canvas: LiveCanvas, task: Task) -> tuple[int, int, np.ndarray]:
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
        painted = self._sample(rect, on_step)
        self._is_new = False
        part = crop.shown[..., None]
        mixed = painted * part + self._shown[rows, columns] * (1 - part)
        self._shown[rows, columns] = np.rint(mixed).astype(np.uint8)
        return rect

    @torch.no_grad()
    def _sample(self, rect: Rect, on_step: Callable[[int, int], None]) -> np.ndarray:
        """What the model paints in ``rect`` (model pixels): (h, w, 3) uint8."""
        cells = in_cells(rect)
        noise = self._noise[..., cells.y : cells.bottom, cells.x : cells.right]
        maps = self._maps(rect)
        count = len(self._levels)
        clean = self._model.begin(cells)
        go_on = noise[:1]
        for index, (alpha, sigma) in enumerate(self._levels):
            noisy = alpha * clean + sigma * go_on
            predicted = self._model.predict(noisy, index, maps)
            if self._tools.velocity:
                clean = alpha * noisy - sigma * predicted
            else:
                clean = (noisy - sigma * predicted) / alpha
            on_step(index + 1, count)
            if index + 1 < count:
                kept = self._kept[index]
                go_on = kept * (noisy - alpha * clean) / sigma
                go_on = go_on + (1 - kept**2) ** 0.5 * noise[index + 1 : index + 2]
        return self._model.decode(clean, cells)

    def _maps(self, rect: Rect) -> list[torch.Tensor]:
        """The control maps' parts in ``rect``. Derived ones follow the picture."""
        loaded = self._tools.loaded
        maps = []
        for control in self._tools.controls:
            drawn = control.map
            if drawn is None:
                opaque = np.full_like(self._seen[..., :1], 255)
                picture = np.concatenate([self._seen, opaque], -1)
                drawn = map_tensor(self._tools.derive(control.kind, picture))
            part = drawn[..., rect.y : rect.bottom, rect.x : rect.right]
            maps.append(part.to(loaded.device, loaded.dtype))
        return maps


def map_tensor(drawn: np.ndarray) -> torch.Tensor:
    """A control map (h, w, 3) uint8 -> (1, 3, h, w) float32 in 0..1."""
    return torch.from_numpy(drawn.astype(np.float32) / 255).permute(2, 0, 1)[None]
