"""Step through a few noise levels with noise that stays where it is on the canvas.

Every picture of a live canvas is painted with the same noise, so that what the painter did not touch
comes out the same, and a part of the picture as in the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from velatura.models.families.denoiser import Prediction, Step
from velatura.models.samplers import is_flow, make_scheduler

# What each step continues with, as gamma of Zheng et al. 2024: at 1 LCM draws the canvas's noise for it
# anew (Luo et al. 2023), at 0 DDIM goes on with what was predicted (Song et al. 2020), which is Euler's
# step too; TCD stands between, where its authors and diffusers leave it.
LIVE_SAMPLERS = {"LCM": 1.0, "TCD": 0.3, "DDIM": 0.0, "Euler": 0.0}

# Training step -> (alpha, sigma): a noisy latent is alpha * clean + sigma * noise.
NoiseCurve = Callable[[int], tuple[float, float]]


@dataclass(frozen=True)
class LiveSteps:
    """The steps of every picture of one canvas.

    kept  for each step but the first: how much of the predicted noise goes on to it, 0..1; the rest
          of its variance is drawn anew
    """

    steps: Sequence[Step]
    kept: Sequence[float]


def live_steps(
    config: Mapping[str, Any],
    sampler: str,
    count: int,
    strength: float,
    device: torch.device | str = "cpu",
) -> LiveSteps:
    """Plan ``count`` steps of ``sampler`` (of LIVE_SAMPLERS) over the last ``strength`` of the noise.

    ``config`` is the model's scheduler config, whose noise schedule is kept.
    """
    curve, length = noise_curve(config)
    times = step_times(count, strength, length)
    gamma = LIVE_SAMPLERS[sampler]
    # A network of flow matching is told the noise level, others the training step.
    told = [curve(time)[1] * length if is_flow(config) else time for time in times]
    steps = [
        Step(index, count, torch.tensor(now, device=device), *curve(time))
        for index, (time, now) in enumerate(zip(times, told, strict=True))
    ]
    return LiveSteps(steps, [kept_noise(curve, time, gamma) for time in times[1:]])


def noise_curve(config: Mapping[str, Any]) -> tuple[NoiseCurve, int]:
    """Read (alpha, sigma) at each training step, and how many there are, off a scheduler config."""
    if is_flow(config):
        length, shift = int(config.get("num_train_timesteps", 1000)), config.get("shift", 1.0)

        def shifted(time: int) -> tuple[float, float]:
            sigma = (time + 1) / length
            sigma = shift * sigma / (1 + (shift - 1) * sigma)
            return 1 - sigma, sigma

        return shifted, length
    alphas = make_scheduler("DDIM", config).alphas_cumprod.tolist()

    def at(time: int) -> tuple[float, float]:
        kept = float(alphas[time])
        return kept**0.5, (1 - kept) ** 0.5

    return at, len(alphas)


class CanvasNoiseSchedule:
    """The steps of one picture, or of a part of one.

    noise  (steps, channels, h, w) float32: the canvas's noise for each step, there
    """

    def __init__(self, steps: LiveSteps, noise: torch.Tensor) -> None:
        self._steps, self._noise = steps, noise

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps.steps)

    def noised(self, clean: torch.Tensor) -> torch.Tensor:
        """Add the first step's noise to clean latents."""
        first = self._steps.steps[0]
        return first.alpha * clean + first.sigma * self._noise[:1]

    def scaled(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        """Leave latents as they are: they are kept as models are trained on them."""
        return x

    def advance(self, x: torch.Tensor, step: Step, prediction: Prediction) -> torch.Tensor:
        """Go on with a part of the noise that was predicted and a part of the canvas's."""
        clean, after = prediction.denoised, step.index + 1
        if after == step.of:
            return clean
        following, kept = self._steps.steps[after], self._steps.kept[step.index]
        noise = kept * (x - step.alpha * clean) / step.sigma
        noise = noise + (1 - kept**2) ** 0.5 * self._noise[after : after + 1]
        return following.alpha * clean + following.sigma * noise

    def is_settled(self, step: Step) -> bool:
        """Tell that every step is whole."""
        return True


def step_times(count: int, strength: float, length: int) -> tuple[int, ...]:
    """Spread ``count`` training steps, falling evenly, over the last ``strength`` of ``length``.

    Unlike int(steps * strength) of an ordinary schedule, the number of steps is the one asked for.
    """
    start = strength * length
    return tuple(max(1, round(start * (1 - i / count)) - 1) for i in range(count))


def kept_noise(curve: NoiseCurve, time: int, gamma: float) -> float:
    """Tell how much of the predicted noise goes on to training step ``time``, 0..1.

    ``gamma`` 0..1 as in Zheng et al. 2024 (trajectory consistency distillation): what was predicted
    is taken down to the training step (1 - gamma) * time, and new noise brings it up again. Training
    step 0 is taken for clean.
    """
    below = int((1 - gamma) * time)
    if below == 0:
        return 0.0
    (alpha, sigma), (alpha_below, sigma_below) = curve(time), curve(below)
    return alpha / alpha_below * sigma_below / sigma
