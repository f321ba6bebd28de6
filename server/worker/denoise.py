"""The diffusion call: diffusers' pipelines, and in their step callback cancel, previews and soft masks.

Soft masks are differential diffusion (Levin & Fried 2023): a pixel of mask value m is held to the
source until the remaining part of the run is at most m. The invariant: where m is 0 the latents are
exactly the source's at the end, for every sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, SchedulerMixin
from velatura.models.families.base import Loaded
from velatura.models.samplers import SAMPLERS
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.pipelines import make_pipeline, told_guidance
from velatura.server.worker.plan import LATENT_CELL, JobPlan, passes
from velatura.server.worker.text import Text
from velatura.server.worker.tiles import tiled

# Called after each step with (steps done, prediction of the finished latents). May raise.
OnStep = Callable[[int, Callable[[], torch.Tensor]], None]


@dataclass(frozen=True)
class Condition:
    """One ControlNet and its map, (1, 3, h, w) in 0..1; ``start`` and ``end`` parts of the run."""

    net: ControlNetModel
    map: torch.Tensor
    weight: float
    start: float
    end: float


@dataclass(frozen=True)
class Conditioning:
    """``prompt`` and ``negative`` are equally long; negative None: no guidance."""

    prompt: Text
    negative: Text | None
    guidance: float
    controls: Sequence[Condition] = ()


@dataclass(frozen=True)
class Ground:
    """What the noise is laid over and what is held. Latents are (1, 4, h/8, w/8), scaled.

    start    what is to be repainted starts from it; None: from noise alone
    source   what is held where ``mask`` is low; None when nothing is held
    mask     (1, 1, h/8, w/8) in 0..1
    picture  (1, 3, h, w) in -1..1 and ``hole`` (1, 1, h, w) of 0 and 1: what a UNet with inpaint
             channels is shown
    depth    (2, 1, h/8, w/8) in -1..1, nearer is larger: what a UNet with a depth channel is shown
             beside the negative prompt, and beside the prompt
    """

    start: torch.Tensor | None
    source: torch.Tensor | None
    mask: torch.Tensor | None
    picture: torch.Tensor | None = None
    hole: torch.Tensor | None = None
    depth: torch.Tensor | None = None


def level(scheduler: SchedulerMixin, index: int) -> tuple[float, float]:
    """(alpha, sigma) of ``scheduler.timesteps[index]``, alpha² + sigma² = 1; (1, 0) after the last.

    A noisy latent is alpha * clean + sigma * noise, whatever space the scheduler keeps it in.
    """
    if index >= len(scheduler.timesteps):
        return 1.0, 0.0
    if hasattr(scheduler, "sigmas"):
        sigma = float(scheduler.sigmas[index])
        alpha = (1 + sigma**2) ** -0.5
        return alpha, sigma * alpha
    kept = float(scheduler.alphas_cumprod[int(scheduler.timesteps[index])])
    return kept**0.5, (1 - kept) ** 0.5


def renoise(
    x0: torch.Tensor, noise: torch.Tensor, scheduler: SchedulerMixin, index: int
) -> torch.Tensor:
    """Clean latents ``x0`` with ``noise``, as the scheduler expects them before step ``index``.

    Euler-like schedulers keep x0 + (sigma / alpha) * noise (Karras et al. 2022), which they show
    by an initial scale other than 1; the others alpha * x0 + sigma * noise (Ho et al. 2020).
    """
    alpha, sigma = level(scheduler, index)
    if float(scheduler.init_noise_sigma) != 1.0:
        return x0 + (sigma / alpha) * noise
    return alpha * x0 + sigma * noise


def check_sampler(sampler: str, plan: JobPlan) -> None:
    """Raises JobError (``unsupported``) for a sampler that cannot do what ``plan`` asks for."""
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
    loaded: Loaded,
    plan: JobPlan,
    scheduler: SchedulerMixin,
    ground: Ground,
    conditioning: Conditioning,
    seed: int,
    on_step: OnStep,
    check: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Latents of the finished picture: (1, 4, h/8, w/8) in the model's dtype.

    The noise is drawn on the CPU by a generator of its own, so the same seed gives the same picture
    alone, among variants and, but for rounding, on any device. ``scheduler`` must be fresh. Raises
    JobError (``invalid_field``) when the sampler cannot run that many steps, and what ``on_step``
    and ``check``, which is called before each tile of a step, raise.
    """
    # First: a pipeline may correct the scheduler's config, which the time steps depend on.
    nets = [c.net for c in conditioning.controls]
    pipeline = make_pipeline(loaded, scheduler, nets)
    try:
        scheduler.set_timesteps(plan.steps, device=loaded.device)
    except ValueError as error:
        raise JobError(
            "invalid_field", f"steps does not fit this sampler: {error}", field="steps"
        ) from error
    if hasattr(scheduler, "noise_sampler_seed"):
        # It makes its noise itself.
        scheduler.noise_sampler_seed = seed
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 4, plan.size.height // LATENT_CELL, plan.size.width // LATENT_CELL)
    noise = torch.randn(shape, generator=generator).to(loaded.device, loaded.dtype)
    first = (plan.steps - plan.run) * scheduler.order
    hold = _Hold(scheduler, ground, noise, first)

    if ground.start is None:
        latents = noise * scheduler.init_noise_sigma
    else:
        latents = renoise(ground.start, noise, scheduler, first)
    latents = hold(latents, first)

    guides = _guides(conditioning)
    telling: AbstractContextManager[None] = nullcontext()
    if nets and loaded.unet.config.time_cond_proj_dim is not None:
        # diffusers' pipelines with ControlNets that start from a picture guide it as any other.
        telling = told_guidance(loaded.unet, guides["guidance_scale"])
        guides["guidance_scale"] = 1.0
    tiles = tiled(loaded.unet, nets, plan.tiles, ground.mask, check)
    with _watch(loaded.unet) as seen, tiles, telling:

        def after_step(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            now = tensors["latents"]
            index = first + step + 1
            # Between the halves of a two-pass step the solver keeps a derivative of its own.
            whole = getattr(scheduler, "state_in_first_order", True)
            if whole or index == len(scheduler.timesteps):
                now = hold(now, index)
                # PLMS takes one step more than was asked for.
                done = min(plan.run, -(-(step + 1) // scheduler.order))
                on_step(done, lambda: _predict(seen, scheduler, index - 1, conditioning.guidance))
            return {"latents": now}

        return pipeline(
            **_inputs(loaded, plan, latents, scheduler, ground),
            **guides,
            num_inference_steps=plan.steps,
            # The half keeps int(steps * strength) from losing a step to rounding.
            strength=min(1.0, (plan.run + 0.5) / plan.steps),
            generator=generator,
            output_type="latent",
            callback_on_step_end=after_step,
        ).images


class _Hold:
    """Put the source back, at the right noise level, where the mask does not yet let go."""

    def __init__(
        self, scheduler: SchedulerMixin, ground: Ground, noise: torch.Tensor, first: int
    ) -> None:
        self._scheduler, self._ground, self._noise, self._first = scheduler, ground, noise, first
        # UniPC's corrector starts again from the latents before the blend and would undo it.
        if ground.mask is not None and hasattr(scheduler, "disable_corrector"):
            scheduler.disable_corrector = list(range(len(scheduler.timesteps)))

    def __call__(self, latents: torch.Tensor, index: int) -> torch.Tensor:
        mask, source = self._ground.mask, self._ground.source
        if mask is None or source is None:
            return latents
        run = len(self._scheduler.timesteps) - self._first
        # The part that remains, before step `index`. After the last step only what was never free
        # is held: its mask is below the part that the last step was.
        remaining = max(1, run - (index - self._first)) / run
        held = renoise(source, self._noise, self._scheduler, index)
        return torch.where(mask >= remaining, latents, held.to(latents.dtype))


def _inputs(
    loaded: Loaded,
    plan: JobPlan,
    latents: torch.Tensor,
    scheduler: SchedulerMixin,
    ground: Ground,
) -> dict[str, Any]:
    if loaded.extra == "depth":
        return {"image": latents, "depth_map": ground.depth}
    if loaded.extra != "inpaint":
        return {"image": latents}
    assert ground.picture is not None, "a UNet with inpaint channels is shown a picture"
    return {
        # In 0..1: of anything else diffusers guesses the range, by whether it holds a dark value.
        "image": ground.picture / 2 + 0.5,
        "mask_image": ground.hole,
        "height": plan.size.height,
        "width": plan.size.width,
        # The pipeline multiplies what it is given by the initial scale.
        "latents": latents / scheduler.init_noise_sigma,
    }


def _guides(conditioning: Conditioning) -> dict[str, Any]:
    prompt, negative = conditioning.prompt, conditioning.negative
    guides: dict[str, Any] = {
        "prompt_embeds": prompt.embeddings,
        "negative_prompt_embeds": negative and negative.embeddings,
        "guidance_scale": conditioning.guidance if negative else 1.0,
    }
    if prompt.pooled is not None:
        guides |= {
            "pooled_prompt_embeds": prompt.pooled,
            "negative_pooled_prompt_embeds": negative and negative.pooled,
        }
    if controls := conditioning.controls:
        guides |= {
            "control_image": [c.map for c in controls],
            "controlnet_conditioning_scale": [c.weight for c in controls],
            "control_guidance_start": [c.start for c in controls],
            "control_guidance_end": [c.end for c in controls],
        }
    return guides


@contextmanager
def _watch(unet: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """See what goes into the UNet and comes out: [scaled latents, prediction] of the last pass."""
    seen: list[torch.Tensor] = []

    def keep(_: Any, inputs: tuple[torch.Tensor, ...], outputs: Any) -> None:
        seen[:] = [inputs[0], outputs[0]]

    handle = unet.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _predict(
    seen: list[torch.Tensor], scheduler: SchedulerMixin, index: int, guidance: float
) -> torch.Tensor:
    """The finished latents as the last pass predicts them (Song et al. 2020, equation 12)."""
    latents, predicted = (tensor.float() for tensor in seen)
    if len(predicted) == 2:
        without, with_prompt = predicted.chunk(2)
        predicted = without + guidance * (with_prompt - without)
    latents = latents[:1, :4]
    alpha, sigma = level(scheduler, index)
    if scheduler.config.prediction_type == "v_prediction":
        return alpha * latents - sigma * predicted
    return (latents - sigma * predicted) / alpha
