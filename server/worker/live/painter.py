"""Paint what changed of a live canvas: few steps, fixed noise, everything kept from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from velatura.models.families.denoiser import Denoiser, Prediction, Step, Words
from velatura.protocol.messages import LiveOpen
from velatura.protocol.region import Rect
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.live.canvas import LiveCanvas, Task
from velatura.server.worker.live.model import LiveControl, LiveModel, LiveNetwork, LiveTools
from velatura.server.worker.live.plan import (
    Crop,
    LivePlan,
    crop_around,
    see,
    show,
    source_rect,
    to_model_rect,
)
from velatura.server.worker.live.schedule import LIVE_SAMPLERS, CanvasNoiseSchedule, live_steps
from velatura.server.worker.pixels import to_array
from velatura.server.worker.sample.loop import hold_nothing, sample


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


def make_live_painter(
    settings: LiveOpen,
    plan: LivePlan,
    network: LiveNetwork,
    words: Words,
    nets: Sequence[torch.nn.Module],
    read_guide: Callable[[str, np.ndarray, bool], np.ndarray],
) -> LivePainter:
    """Make what paints the canvas of ``settings``. ``nets``: the ControlNet of each control.

    ``read_guide`` (kind, picture, derived) -> control map is the engine's, cached.
    """
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
    loaded = network.loaded
    steps = live_steps(
        loaded.scheduler_config, settings.sampler, settings.steps, settings.strength, loaded.device
    )
    tools = LiveTools(plan.size, steps, words, controls)
    return LivePainter(
        settings,
        plan,
        tools,
        network.on_canvas(tools),
        loaded.denoiser,
        lambda kind, picture: read_guide(kind, picture, True),
    )


class LivePainter:
    """One live canvas as the model sees it, under one setting.

    It keeps what went in, what came out and what the model's layers saw, so that a change repaints
    the part around it only and the rest stays as it is, bit for bit.
    """

    def __init__(
        self,
        settings: LiveOpen,
        plan: LivePlan,
        tools: LiveTools,
        model: LiveModel,
        denoiser: Denoiser,
        derive: Callable[[str, np.ndarray], np.ndarray],
    ) -> None:
        self.settings = settings
        self._plan, self._tools, self._model = plan, tools, model
        self._latent, self._device, self._dtype = denoiser.latent, denoiser.device, denoiser.dtype
        self._derive = derive
        height, width = plan.size.height, plan.size.width
        self._seen = np.zeros((height, width, 3), np.uint8)
        self._shown = np.zeros((height, width, 3), np.uint8)
        self._is_new = self._is_unrehearsed = True
        # Drawn on the CPU, so that it is the same on any device: one plane for each step.
        shape = (settings.steps, *self._latent.shape(plan.size)[1:])
        generator = torch.Generator().manual_seed(settings.seed)
        self._noise = torch.randn(shape, generator=generator).to(self._device)

    def warming(self) -> str:
        """Make a sentence while something is being prepared, else none."""
        done, wanted = self._model.warming()
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
        corner = Rect(0, 0, self._latent.factor, self._latent.factor)
        if self._is_unrehearsed and not self._is_new and self._model.knows_parts:
            self._is_unrehearsed = False
            if self._model.needs_recording(corner):
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

    def _sample(self, rect: Rect, on_step: Callable[[int, int], None]) -> np.ndarray:
        """Paint ``rect`` (model pixels): (h, w, 3) uint8."""
        clean = self._model.begin(rect, self._maps(rect))
        schedule = CanvasNoiseSchedule(self._tools.steps, self._noise[self._latent.cells(rect)])

        def after_step(step: Step, _: Prediction) -> None:
            on_step(step.index + 1, step.of)

        x = schedule.noised(clean)
        painted = sample(self._model, x, schedule, hold_nothing, after_step)
        return self._model.decode(painted, rect)

    def _maps(self, rect: Rect) -> list[torch.Tensor]:
        """The control maps' parts in ``rect``. Derived ones follow the picture."""
        maps = []
        for control in self._tools.controls:
            drawn = control.map
            if drawn is None:
                opaque = np.full_like(self._seen[..., :1], 255)
                picture = np.concatenate([self._seen, opaque], -1)
                drawn = map_tensor(self._derive(control.kind, picture))
            part = drawn[..., rect.y : rect.bottom, rect.x : rect.right]
            maps.append(part.to(self._device, self._dtype))
        return maps


def map_tensor(drawn: np.ndarray) -> torch.Tensor:
    """A control map (h, w, 3) uint8 -> (1, 3, h, w) float32 in 0..1."""
    return torch.from_numpy(drawn.astype(np.float32) / 255).permute(2, 0, 1)[None]
