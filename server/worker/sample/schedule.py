"""Step through the noise schedule of a model with one of diffusers' schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import SchedulerMixin
from velatura.models.families.denoiser import Prediction, Step
from velatura.server.worker.errors import JobError


class SolverSchedule:
    """The last ``run`` of ``steps`` steps of a fresh ``scheduler``.

    generator   draws what a stochastic solver adds
    seed        for solvers that draw by a generator of their own
    is_blended  latents are changed between steps (see Hold)

    Raises JobError (``invalid_field``) where the solver cannot take that many steps.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        steps: int,
        run: int,
        *,
        device: torch.device,
        generator: torch.Generator,
        seed: int = 0,
        is_blended: bool = False,
    ) -> None:
        try:
            scheduler.set_timesteps(steps, device=device)
        except ValueError as error:
            raise JobError(
                "invalid_field", f"steps does not fit this sampler: {error}", field="steps"
            ) from error
        self._scheduler = scheduler
        self._first = (steps - run) * scheduler.order
        self._of = len(scheduler.timesteps) - self._first
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(self._first)
        if hasattr(scheduler, "noise_sampler_seed"):
            # It makes its noise itself.
            scheduler.noise_sampler_seed = seed
        # UniPC's corrector starts again from the latents before the blend and would undo it.
        if is_blended and hasattr(scheduler, "disable_corrector"):
            scheduler.disable_corrector = list(range(len(scheduler.timesteps)))
        # As diffusers' pipelines call it: DDIM and TCD without noise of their own.
        known = inspect.signature(scheduler.step).parameters
        given = {"generator": generator, "eta": 0.0}
        self._options: dict[str, Any] = {k: v for k, v in given.items() if k in known}

    @property
    def of(self) -> int:
        """How often the model is evaluated."""
        return self._of

    def __iter__(self) -> Iterator[Step]:
        order = self._scheduler.order
        for index in range(self._of):
            alpha, sigma = self.level(index)
            timestep = self._scheduler.timesteps[self._first + index]
            yield Step(index, self._of, timestep, alpha, sigma, index % order > 0)

    def level(self, index: int) -> tuple[float, float]:
        """Tell (alpha, sigma) before evaluation ``index``; (1, 0) after the last.

        A noisy latent is alpha * clean + sigma * noise, whatever space the scheduler keeps it in.
        """
        return noise_level(self._scheduler, self._first + index)

    def noised(self, clean: torch.Tensor | None, noise: torch.Tensor, index: int) -> torch.Tensor:
        """Add noise to clean latents as the scheduler expects them before evaluation ``index``.

        None: noise alone.
        """
        if clean is None:
            return noise * _initial_scale(self._scheduler)
        return renoise(clean, noise, self._scheduler, self._first + index)

    def scaled(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        """Scale latents as the model was trained on them."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return x
        return self._scheduler.scale_model_input(x, step.timestep)

    def advance(self, x: torch.Tensor, step: Step, prediction: Prediction) -> torch.Tensor:
        """Take one of the scheduler's steps."""
        return self._scheduler.step(
            prediction.output, step.timestep, x, **self._options, return_dict=False
        )[0]

    def is_settled(self, step: Step) -> bool:
        """Tell whether the solver stands between two whole steps."""
        is_last = step.index + 1 == self._of
        return is_last or bool(getattr(self._scheduler, "state_in_first_order", True))


def noise_level(scheduler: SchedulerMixin, index: int) -> tuple[float, float]:
    """Tell (alpha, sigma) of ``scheduler.timesteps[index]``; (1, 0) after the last.

    alpha² + sigma² = 1, but for flow matching, where alpha + sigma = 1.
    """
    if index >= len(scheduler.timesteps):
        return 1.0, 0.0
    if hasattr(scheduler, "sigmas"):
        sigma = float(scheduler.sigmas[index])
        if _is_flow(scheduler):
            return 1 - sigma, sigma
        alpha = (1 + sigma**2) ** -0.5
        return alpha, sigma * alpha
    kept = float(scheduler.alphas_cumprod[int(scheduler.timesteps[index])])
    return kept**0.5, (1 - kept) ** 0.5


def renoise(
    clean: torch.Tensor, noise: torch.Tensor, scheduler: SchedulerMixin, index: int
) -> torch.Tensor:
    """Add noise to clean latents as the scheduler expects them before ``timesteps[index]``.

    Euler-like schedulers keep clean + (sigma / alpha) * noise (Karras et al. 2022), which they show
    by an initial scale other than 1; the others alpha * clean + sigma * noise (Ho et al. 2020).
    """
    alpha, sigma = noise_level(scheduler, index)
    if float(_initial_scale(scheduler)) != 1.0:
        return clean + (sigma / alpha) * noise
    return alpha * clean + sigma * noise


def _initial_scale(scheduler: SchedulerMixin) -> float:
    """What noise alone is multiplied with; schedulers of flow matching do not tell it."""
    return getattr(scheduler, "init_noise_sigma", 1.0)


def _is_flow(scheduler: SchedulerMixin) -> bool:
    return not hasattr(scheduler, "alphas_cumprod") or bool(
        getattr(scheduler.config, "use_flow_sigmas", False)
    )
