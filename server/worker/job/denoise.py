"""Run the diffusion of one pass of a job: noise, schedule, hold and tiles around the sampling loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin
from velatura.models.families.denoiser import (
    NOTHING_SHOWN,
    ControlInput,
    Denoiser,
    Prediction,
    Shown,
    Step,
    Words,
)
from velatura.models.samplers import SAMPLERS
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.plan import JobPlan, passes
from velatura.server.worker.sample.hold import SourceHold
from velatura.server.worker.sample.loop import Conditioned, Under, sample
from velatura.server.worker.sample.schedule import SolverSchedule
from velatura.server.worker.sample.tiled import Tiled

# Called after each step with (steps done, the finished latents that it predicts). May raise.
OnStep = Callable[[int, torch.Tensor], None]


@dataclass(frozen=True)
class InitLatents:
    """What the noise is laid over and what is held. Latents are (1, channels, h, w), scaled.

    start   what is to be repainted starts from it; None: from noise alone
    source  what is held where ``mask`` is low; None when nothing is held
    mask    (1, 1, h, w) of latent cells in 0..1
    shown   what a model with more inputs is shown beside the latents
    """

    start: torch.Tensor | None
    source: torch.Tensor | None
    mask: torch.Tensor | None
    shown: Shown = NOTHING_SHOWN


def check_sampler(sampler: str, plan: JobPlan) -> None:
    """Raise JobError (``unsupported``) for a sampler that cannot do what ``plan`` asks for."""
    whole = all(one.start == "noise" and one.run == one.steps for one in passes(plan))
    if not (whole or SAMPLERS[sampler].anywhere):
        names = ", ".join(name for name, one in SAMPLERS.items() if one.anywhere)
        raise JobError(
            "unsupported",
            Sentence(
                "sampler {sampler} paints whole pictures from noise only; for this there are: "
                "{names}.",
                sampler=sampler,
                names=names,
            ),
            "sampler",
        )


@torch.inference_mode()
def denoise(
    denoiser: Denoiser,
    plan: JobPlan,
    scheduler: SchedulerMixin,
    init: InitLatents,
    words: Words,
    controls: Sequence[ControlInput],
    seed: int,
    on_step: OnStep,
    check: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Sample the latents of the finished picture: (1, channels, h, w) in the model's dtype.

    The noise is drawn on the CPU by a generator of its own, so the same seed gives the same picture
    alone, among variants and, but for rounding, on any device. ``scheduler`` must be fresh. Raises
    JobError (``invalid_field``) when the sampler cannot run that many steps, and what ``on_step``
    and ``check``, which is called before each tile of a step, raise.
    """
    generator = torch.Generator().manual_seed(seed)
    schedule = SolverSchedule(
        scheduler,
        plan.steps,
        plan.run,
        device=denoiser.device,
        generator=generator,
        seed=seed,
        is_blended=init.mask is not None,
    )
    shape = denoiser.latent.shape(plan.size)
    noise = torch.randn(shape, generator=generator).to(denoiser.device, denoiser.dtype)
    x = schedule.noised(init.start, noise, 0)
    hold = SourceHold(schedule, init.source, init.mask, noise)
    condition = denoiser.condition(words, controls, plan.size, init.shown, generator)
    conditioned: Conditioned = Under(denoiser, condition)
    if plan.tiles:
        conditioned = Tiled(denoiser, condition, plan.tiles, init.mask, check)

    def after_step(step: Step, prediction: Prediction) -> None:
        # PLMS evaluates once more than it takes steps.
        done = min(plan.run, -(-(step.index + 1) // scheduler.order))
        on_step(done, prediction.denoised)

    return sample(conditioned, x, schedule, hold, after_step)
