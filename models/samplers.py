"""Samplers by the names painters know, and the diffusers class and options each one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from velatura.models.errors import ModelError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


@dataclass(frozen=True)
class Sampler:
    """``scheduler`` is the name of a diffusers class; ``options`` are set on top of its defaults."""

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)


def _dpm(**options: Any) -> Sampler:
    return Sampler("DPMSolverMultistepScheduler", options)


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "Euler": Sampler("EulerDiscreteScheduler"),
        "Euler a": Sampler("EulerAncestralDiscreteScheduler"),
        "DPM++ 2M Karras": _dpm(use_karras_sigmas=True),
        # Stable Diffusion's own convention: latents are not clipped, the last step lands on the
        # first training step.
        "DDIM": Sampler("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        "LCM": Sampler("LCMScheduler", {"set_alpha_to_one": False}),
        "Heun": Sampler("HeunDiscreteScheduler"),
        "DPM++ 2M": _dpm(),
        "UniPC": Sampler("UniPCMultistepScheduler"),
        "DPM++ 2M SDE Karras": _dpm(use_karras_sigmas=True, algorithm_type="sde-dpmsolver++"),
    }
)

# What a checkpoint's noise schedule is; all else in its scheduler config describes the sampler
# that its maker happened to save, and the painter chooses that here.
_NOISE_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)


def make_scheduler(sampler: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """A fresh scheduler for one run of the sampler called ``sampler``.

    ``config`` is a model's scheduler config; its noise schedule and prediction type are kept.
    Raises ModelError (``unsupported``) for a name that is not in SAMPLERS.
    """
    if sampler not in SAMPLERS:
        names = ", ".join(SAMPLERS)
        raise ModelError(
            "unsupported", f"sampler must be one of {names}; not {sampler!r:.100}.", field="sampler"
        )
    import diffusers

    chosen = SAMPLERS[sampler]
    schedule = {name: config[name] for name in _NOISE_SCHEDULE if name in config}
    # Stable Diffusion's pipelines insist on this offset; only "leading" schedules look at it.
    options = {"steps_offset": 1, **chosen.options}
    return getattr(diffusers, chosen.scheduler).from_config(schedule, **options)
