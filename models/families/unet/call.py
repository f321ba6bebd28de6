"""Call a UNet and its ControlNets as one function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

# diffusers' names of what a UNet may be told beside latents, time step and prompt.
_LABELS, GUIDANCE = "added_cond_kwargs", "timestep_cond"
_DOWN, _MIDDLE = "down_block_additional_residuals", "mid_block_additional_residual"


@dataclass(frozen=True)
class Guide:
    """A ControlNet at work in a pass.

    net     a module that is called as diffusers' are; an Incremental one where something is kept
    map     (n, 3, 8h, 8w) in 0..1, its control map there
    weight  () float32
    """

    net: torch.nn.Module
    map: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True)
class Given:
    """What a pass is told. All tensors are on the model's device and, but for ``step``, in its dtype.

    inputs     (n, 4, h, w) noisy latents
    step       () int64, the time step
    prompt     (n, tokens, width) embeddings
    labels     of a family whose UNet is told more than a text (SDXL), or of one that is told the
               guidance scale (LCM's own), by diffusers' names
    residuals  what ControlNets add to the skips, and last to the middle; empty without any
    guides     ControlNets that the pass runs itself, in place of ``residuals``
    kept       what the layers of the guides and then of the UNet keep of the whole picture
               (kept.py); empty: nothing is kept
    is_part    ``inputs`` are but a part of that picture
    places     where that lies, by number; None: ``kept`` are views of it
    """

    inputs: torch.Tensor
    step: torch.Tensor
    prompt: torch.Tensor
    labels: Mapping[str, torch.Tensor] = field(default_factory=dict)
    residuals: Sequence[torch.Tensor] = ()
    guides: Sequence[Guide] = ()
    kept: Sequence[torch.Tensor] = ()
    is_part: bool = False
    places: Sequence[torch.Tensor] | None = None


# Given -> (n, 4, h, w), what the model predicts, in its dtype.
Pass = Callable[[Given], torch.Tensor]


def plain(unet: Callable[..., Any]) -> Pass:
    """Make the pass that is diffusers' own call of ``unet``."""

    def run(given: Given) -> torch.Tensor:
        around: dict[str, Any] = {}
        if given.kept:
            # One net goes on where the one before it ends.
            places = None if given.places is None else iter(given.places)
            around = {"kept": iter(given.kept), "places": places, "is_part": given.is_part}
        labels = dict(given.labels)
        guidance = labels.pop(GUIDANCE, None)
        told = {"encoder_hidden_states": given.prompt, "return_dict": False, **around}
        if given.labels:
            told[_LABELS] = labels
        residuals = list(given.residuals)
        for guide in given.guides:
            down, middle = guide.net(
                given.inputs,
                given.step,
                controlnet_cond=guide.map,
                conditioning_scale=guide.weight,
                **told,
            )
            new = [*down, middle]
            residuals = [a + b for a, b in zip(residuals, new, strict=True)] if residuals else new
        if guidance is not None:
            told[GUIDANCE] = guidance
        if residuals:
            *down, middle = residuals
            told[_DOWN], told[_MIDDLE] = tuple(down), middle
        return unet(given.inputs, given.step, **told)[0]

    return run


def tensors_of(given: Given) -> tuple[torch.Tensor, ...]:
    """List all tensors that a pass is told, in one order."""
    told = (given.inputs, given.step, given.prompt, *given.labels.values(), *given.residuals)
    guides = (tensor for guide in given.guides for tensor in (guide.map, guide.weight))
    return (*told, *guides, *given.kept, *(given.places or ()))


def with_tensors(given: Given, tensors: Iterable[torch.Tensor]) -> Given:
    """Replace the tensors of ``given``, in the order of ``tensors_of``."""
    rest = iter(tensors)

    def as_many_as(those: Iterable[Any]) -> list[torch.Tensor]:
        return [next(rest) for _ in those]

    return replace(
        given,
        inputs=next(rest),
        step=next(rest),
        prompt=next(rest),
        labels={name: next(rest) for name in given.labels},
        residuals=as_many_as(given.residuals),
        guides=[replace(guide, map=next(rest), weight=next(rest)) for guide in given.guides],
        kept=as_many_as(given.kept),
        places=None if given.places is None else as_many_as(given.places),
    )
