"""One painting job, stage by stage: masks, control, text -> passes -> finish -> result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from velatura.models.families.denoiser import Words
from velatura.protocol.messages import Generate, Result
from velatura.protocol.region import Rect
from velatura.server.worker.job.denoise import OnStep
from velatura.server.worker.job.finish import cut_layer
from velatura.server.worker.job.masks import OPAQUE, bounds
from velatura.server.worker.job.passes import Pass, Tools, first_pass, make_second_pass, run, settle
from velatura.server.worker.job.plan import JobPlan, passes
from velatura.server.worker.job.recipe import make_recipe
from velatura.server.worker.job.scene import Scene
from velatura.server.worker.pixels import resize, to_image
from velatura.server.worker.prompt.encode import Prompts, embed_both
from velatura.server.worker.report import Emit, Reporter

# Of a variant's progress, what its steps are; the rest is decoding and finishing.
_STEPS_PART = 0.95


def paint(
    request: Generate,
    plan: JobPlan,
    scene: Scene,
    prompts: Sequence[Prompts],
    tools: Tools,
    report: Reporter,
    emit: Emit,
) -> None:
    """Run the model for every variant of ``request`` and emit a Result for each as it finishes.

    Raises JobError and Cancelled.
    """
    report.stage("preparing")
    first = first_pass(request, plan, scene, tools, report)
    second_pass = make_second_pass(request, first, tools, report) if plan.finer else None
    loaded = tools.loaded
    recipe = make_recipe(request, plan, loaded)
    for variant in range(request.variants):
        steps = _Steps(request, plan, variant, tools, report)
        seed = request.seed_of(variant)
        last = first
        with tools.variant(variant) as now:
            prompt, negative = embed_both(
                prompts[variant], plan.guided, loaded.denoiser.text, now.encode
            )
            for note in (now.note, *(text.note for text in (prompt, negative) if text)):
                report.note(note)
            words = Words(prompt, negative, request.guidance)
            latents = run(first, tools, now, words, seed, steps.watch(first), steps.check)
            if second_pass is not None:
                last = second_pass(settle(latents, first, loaded, is_last=False))
                latents = run(last, tools, now, words, seed, steps.watch(last), steps.check)
        steps.finish(_STEPS_PART)
        rgb = settle(latents, last, loaded, is_last=True)
        steps.finish(1.0)
        told = {**recipe, **tools.named(variant)}
        emit(result(last.request, variant, rgb, last.scene.composite, told))


@dataclass
class _Steps:
    """The progress of one variant through the steps of all passes; each call may raise Cancelled."""

    request: Generate
    plan: JobPlan
    variant: int
    tools: Tools
    report: Reporter
    done: float = 0.0
    step: int = 0

    def watch(self, one: Pass) -> OnStep:
        """What to call after each step of ``one``, with the steps done and the prediction."""
        all_passes = list(passes(self.plan))
        work = sum(each.work for each in all_passes)
        before = all_passes[: all_passes.index(one.plan)]
        begun, steps_before = sum(each.work for each in before), sum(each.run for each in before)
        shown = bounds(one.scene.composite)
        region, preview = one.request.region, self.tools.loaded.denoiser.preview

        def on_step(done: int, denoised: torch.Tensor) -> None:
            self.step = steps_before + done
            self.done = _STEPS_PART * (begun + one.plan.work * done / one.plan.run) / work
            self.check()
            if shown:
                self.report.preview(
                    self.variant,
                    self.step,
                    replace(shown, x=shown.x + region.x, y=shown.y + region.y),
                    lambda: _preview(preview(denoised), one.scene, shown, one.plan),
                )

        self.step, self.done = steps_before, _STEPS_PART * begun / work
        self.check()
        return on_step

    def check(self) -> None:
        self._say("painting")

    def finish(self, done: float) -> None:
        self.done = done
        self._say("finishing")

    def _say(self, stage: str) -> None:
        steps = sum(one.run for one in passes(self.plan))
        part = (self.variant + self.done) / self.request.variants
        self.report.stage(stage, part, variant=self.variant, step=self.step, steps=steps)


def _preview(picture: np.ndarray, scene: Scene, shown: Rect, plan: JobPlan) -> np.ndarray:
    """The part of a small picture that the layer will cover, with its alpha: (h, w, 4) uint8."""
    scale = picture.shape[1] / plan.size.width * plan.scale
    left, top = int(shown.x * scale), int(shown.y * scale)
    right = max(left + 1, min(picture.shape[1], round(shown.right * scale)))
    bottom = max(top + 1, min(picture.shape[0], round(shown.bottom * scale)))
    part = picture[top:bottom, left:right]
    alpha = scene.composite[shown.y : shown.bottom, shown.x : shown.right]
    return np.dstack([part, resize(alpha, part.shape[1], part.shape[0])])


def unchanged_alpha(request: Generate, scene: Scene) -> np.ndarray:
    """The alpha (H, W) uint8 of the layer of strength 0, which holds the source's own pixels.

    It is at most the source's too, so that laid over the source the layer changes nothing.
    """
    alpha = scene.composite.astype(np.uint16)
    if not request.keep_outline:
        alpha = alpha * scene.source[..., 3] // OPAQUE
    return alpha.astype(np.uint8)


def result(
    request: Generate, variant: int, rgb: np.ndarray, alpha: np.ndarray, recipe: dict[str, Any]
) -> Result:
    """The message for a layer of the region's size: (H, W, 3) and (H, W), both uint8."""
    cut, x, y = cut_layer(rgb, alpha, request.around)
    return Result(
        job=request.job,
        variant=variant,
        seed=request.seed_of(variant),
        x=request.region.x + x,
        y=request.region.y + y,
        picture=to_image(cut),
        recipe={**recipe, "seed": request.seed_of(variant), "variant": variant},
        last=variant == request.variants - 1,
    )
