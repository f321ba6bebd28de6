"""Samplers by the names painters know, and the diffusers class and options each one is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from velatura.models.errors import ModelError
from velatura.protocol.sentences import Sentence

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


@dataclass(frozen=True)
class Sampler:
    """``scheduler`` is the name of a diffusers class; ``options`` are set on top of its defaults.

    anywhere: it can start in the middle of its schedule and go on from latents that were changed
    between two steps; without that it paints from noise alone, and holds nothing.
    """

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    anywhere: bool = True


# How the noise levels are spaced, by A1111's names: Karras et al. 2022 (equation 5); evenly in the
# logarithm; evenly in the training steps down to the very last (Lin et al. 2023, "trailing"); by a
# beta distribution (Lee et al. 2024).
_SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "SGM Uniform": {"timestep_spacing": "trailing"},
    "Beta": {"use_beta_sigmas": True},
}
_BETA = _SCHEDULES["Beta"].keys()
_SPACED = {option for schedule in _SCHEDULES.values() for option in schedule}
_ALL = tuple(_SCHEDULES)
_SDE = {"algorithm_type": "sde-dpmsolver++"}
# Stable Diffusion's own convention: latents are not clipped, the last step lands on the first
# training step.
# PLMS takes its first step twice, from a sample that it keeps for itself.
_FROM_NOISE_ONLY = ("PLMS",)
_DDIM = {"clip_sample": False, "set_alpha_to_one": False}
# Name -> (diffusers class, options, schedules that its class knows).
_SOLVERS: Mapping[str, tuple[str, Mapping[str, Any], tuple[str, ...]]] = {
    "Euler": ("EulerDiscreteScheduler", {}, _ALL),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}, ("", "SGM Uniform")),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}, _ALL),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", _SDE, _ALL),
    "DPM++ 3M SDE": (
        "DPMSolverMultistepScheduler",
        {**_SDE, "solver_order": 3},
        ("", "Karras", "Exponential"),
    ),
    "DPM++ SDE": ("DPMSolverSDEScheduler", {}, ("", "Karras", "SGM Uniform")),
    "UniPC": ("UniPCMultistepScheduler", {}, ("", "Karras", "SGM Uniform")),
    "DEIS": ("DEISMultistepScheduler", {}, ("", "Karras")),
    "Heun": ("HeunDiscreteScheduler", {}, ("", "Karras", "Beta")),
    "DPM2": ("KDPM2DiscreteScheduler", {}, ("", "Karras")),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}, ("", "Karras")),
    "LMS": ("LMSDiscreteScheduler", {}, ("", "Karras")),
    "DDIM": ("DDIMScheduler", _DDIM, ("", "SGM Uniform")),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}, ("",)),
    "LCM": ("LCMScheduler", {"set_alpha_to_one": False}, ("",)),
    "TCD": ("TCDScheduler", {"set_alpha_to_one": False}, ("",)),
}

# The name that a painter reads -> what it is.
SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        f"{name} {schedule}".rstrip(): Sampler(
            scheduler, {**options, **_SCHEDULES[schedule]}, name not in _FROM_NOISE_ONLY
        )
        for name, (scheduler, options, schedules) in _SOLVERS.items()
        for schedule in schedules
    }
)

# What a model of flow matching predicts, as schedulers' configs name it.
FLOW = "flow_prediction"
_FLOW_SIGMAS = {"use_flow_sigmas": True, "prediction_type": FLOW}
# Name -> (diffusers class, options) of the samplers that flow matching has.
_FLOW_SOLVERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", _FLOW_SIGMAS),
    "UniPC": ("UniPCMultistepScheduler", _FLOW_SIGMAS),
}
# The names that painters of such a model choose from.
FLOW_SAMPLERS = tuple(_FLOW_SOLVERS)
# What says how a flow's noise levels are shifted (Esser et al. 2024).
_FLOW_SCHEDULE = ("num_train_timesteps", "shift")

_LONGEST_SCHEDULE = 100_000


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


# What a checkpoint's noise schedule is; all else in its scheduler config describes the sampler
# that its maker happened to save, and the painter chooses that here. Name -> (whether a value can be
# true, what is allowed).
_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "num_train_timesteps": (
        lambda value: isinstance(value, int) and _is_number(value, 1, _LONGEST_SCHEDULE),
        f"a whole number from 1 to {_LONGEST_SCHEDULE}",
    ),
    "beta_start": (lambda value: _is_number(value, 1e-9, 0.999), "a number between 0 and 1"),
    "beta_end": (lambda value: _is_number(value, 1e-9, 0.999), "a number between 0 and 1"),
    "beta_schedule": (
        lambda value: value in ("linear", "scaled_linear", "squaredcos_cap_v2"),
        "linear, scaled_linear or squaredcos_cap_v2",
    ),
    "trained_betas": (
        lambda value: (
            value is None
            or (
                isinstance(value, (list, tuple))
                and 1 <= len(value) <= _LONGEST_SCHEDULE
                and all(_is_number(one, 1e-9, 0.999) for one in value)
            )
        ),
        "a list of numbers between 0 and 1",
    ),
    "prediction_type": (
        lambda value: value in ("epsilon", "sample", "v_prediction"),
        "epsilon, sample or v_prediction",
    ),
    "rescale_betas_zero_snr": (lambda value: isinstance(value, bool), "true or false"),
}


def _noise_schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a model's scheduler config that it was trained with.

    Raises ModelError (``unsupported``) for a value that no model can have.
    """
    schedule = {name: config[name] for name in _ALLOWED if name in config}
    for name, value in schedule.items():
        fits, allowed = _ALLOWED[name]
        if not fits(value):
            sentence = Sentence(
                "This model's scheduler config cannot be right: {name} must be {allowed}, not {value}.",
                name=name,
                allowed=allowed,
                value=f"{value!r:.60}",
            )
            raise ModelError("unsupported", sentence, field="model")
    return schedule


_ZERO_SNR = "rescale_betas_zero_snr"
# Of the last step of training with a terminal signal-to-noise ratio of zero, as diffusers has it: at
# 0 itself the noise level would be infinite.
_LEAST_ALPHA = 2.0**-24
# What is offered first for such a model. Karras' spacing, made for a largest noise level of about 15,
# would spend two thirds of its steps above 90 % of the noise, as the level is 4096 here.
ZERO_SNR_SAMPLER = "Euler"


def has_zero_snr(config: Mapping[str, Any]) -> bool:
    """Whether a model of this scheduler config was trained down to no signal (Lin et al. 2023)."""
    return config.get(_ZERO_SNR) is True


def samplers_for(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the samplers that a model of this scheduler config can be painted with.

    A beta distribution over noise levels up to 4096 would leave one step for the whole picture.
    """
    if is_flow(config):
        return FLOW_SAMPLERS
    zero = has_zero_snr(config)
    return tuple(n for n, one in SAMPLERS.items() if not (zero and one.options.keys() & _BETA))


def make_scheduler(
    sampler: str, config: Mapping[str, Any], *, trailing: bool = False
) -> SchedulerMixin:
    """A fresh scheduler for one run of the sampler called ``sampler``.

    ``config`` is a model's scheduler config; its noise schedule and prediction type are kept.
    ``trailing``: the model was trained for a few steps that begin at the very last training step;
    a schedule of another name is kept. So is a model with a terminal signal-to-noise ratio of zero,
    which every sampler honours that is offered for it.
    Raises ModelError (``unsupported``) for a name that is not in SAMPLERS, and for a config whose
    numbers no model can have.
    """
    if sampler not in SAMPLERS:
        names = ", ".join(SAMPLERS)
        sentence = Sentence(
            "sampler must be one of {names}; not {sampler}.",
            names=names,
            sampler=f"{sampler!r:.100}",
        )
        raise ModelError("unsupported", sentence, field="sampler")
    import diffusers

    if is_flow(config):
        return _make_flow_scheduler(sampler, config)
    chosen = SAMPLERS[sampler]
    schedule = _noise_schedule(config)
    # Stable Diffusion's pipelines insist on this offset; only "leading" schedules look at it.
    options = {"steps_offset": 1, **chosen.options}
    if (trailing or has_zero_snr(config)) and not options.keys() & _SPACED:
        options["timestep_spacing"] = "trailing"
    made = getattr(diffusers, chosen.scheduler)
    if has_zero_snr(config) and _ZERO_SNR not in inspect.signature(made.__init__).parameters:
        schedule["trained_betas"] = _zero_snr_betas(schedule)
    return made.from_config(schedule, **options)


def _zero_snr_betas(schedule: Mapping[str, Any]) -> list[float]:
    """The rescaled betas, for a scheduler that cannot make them itself."""
    from diffusers import DDIMScheduler

    betas = DDIMScheduler.from_config(schedule).betas.double()
    before_last = (1 - betas[:-1]).prod()
    betas[-1] = 1 - _LEAST_ALPHA / before_last
    return betas.tolist()


def is_flow(config: Mapping[str, Any]) -> bool:
    """Tell whether a model with this scheduler config was trained by flow matching."""
    named = str(config.get("_class_name", ""))
    return config.get("prediction_type") == FLOW or named.startswith("FlowMatch")


def _make_flow_scheduler(sampler: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """Make a scheduler of flow matching. Raises ModelError (``unsupported``) where there is none."""
    import diffusers

    if sampler not in _FLOW_SOLVERS:
        sentence = Sentence(
            "sampler must be one of {names} for a model of flow matching; not {sampler}.",
            names=", ".join(_FLOW_SOLVERS),
            sampler=sampler,
        )
        raise ModelError("unsupported", sentence, field="sampler")
    name, options = _FLOW_SOLVERS[sampler]
    schedule = {key: config[key] for key in _FLOW_SCHEDULE if key in config}
    if options and "shift" in schedule:
        schedule["flow_shift"] = schedule.pop("shift")
    return getattr(diffusers, name).from_config(schedule, **options)
