"""Sample: the one loop that turns noise into latents, for jobs and for live painting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from velatura.models.families.denoiser import Condition, Denoiser, Prediction, Step

# Called with each step that a solver has finished; may raise, which ends the run.
OnStep = Callable[[Step, Prediction], None]


class Conditioned(Protocol):
    """A denoiser under its condition."""

    def predict(self, x: torch.Tensor, step: Step) -> Prediction: ...


class Schedule(Protocol):
    """Which steps a run takes, and how latents go from one to the next."""

    def __iter__(self) -> Iterator[Step]: ...

    def scaled(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        """Scale latents as the model was trained on them."""
        ...

    def advance(self, x: torch.Tensor, step: Step, prediction: Prediction) -> torch.Tensor:
        """Take the latents of ``step`` to those of the next one."""
        ...

    def is_settled(self, step: Step) -> bool:
        """Tell whether the solver holds nothing but the latents after ``step``."""
        ...


class Hold(Protocol):
    """Keep a part of the latents as it is to be."""

    def __call__(self, x: torch.Tensor, index: int) -> torch.Tensor:
        """Blend latents before evaluation ``index``; after the last, ``index`` is their number."""
        ...


def hold_nothing(x: torch.Tensor, index: int) -> torch.Tensor:
    """Leave all latents free."""
    return x


class Under:
    """A denoiser with the condition of one run."""

    def __init__(self, denoiser: Denoiser, condition: Condition) -> None:
        self._denoiser, self._condition = denoiser, condition

    def predict(self, x: torch.Tensor, step: Step) -> Prediction:
        """Predict under the condition."""
        return self._denoiser.predict(x, step, self._condition)


@torch.no_grad()
def sample(
    denoiser: Conditioned, x: torch.Tensor, schedule: Schedule, hold: Hold, on_step: OnStep
) -> torch.Tensor:
    """Run all steps of ``schedule`` from noisy latents ``x``; returns the finished latents.

    ``hold`` is applied before the first step and after each one; ``on_step`` may raise.
    """
    x = hold(x, 0)
    for step in schedule:
        prediction = denoiser.predict(schedule.scaled(x, step), step)
        x = schedule.advance(x, step, prediction)
        # Between the halves of a step of two a solver keeps a derivative of its own.
        if schedule.is_settled(step):
            x = hold(x, step.index + 1)
            on_step(step, prediction)
    return x
