"""Denoise with a UNet: its text, ControlNets and further input channels as one condition.

What is computed, and in which order, is what diffusers' Stable Diffusion pipelines compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from velatura.models.families.denoiser import (
    NOTHING_SHOWN,
    ControlInput,
    Convention,
    LatentSpec,
    Prediction,
    Shown,
    Step,
    Words,
    denoised_by,
)
from velatura.models.families.unet import autoencoder
from velatura.models.families.unet.call import GUIDANCE, Given, Pass, plain
from velatura.models.families.unet.parts import FACTOR
from velatura.models.families.unet.text import ClipEncoder
from velatura.models.families.unet.union import UnionNet, is_union

if TYPE_CHECKING:
    import numpy as np
    from velatura.models.families.unet.loaded import UNetLoaded
    from velatura.protocol.region import Rect, Size

_LABEL_SIZES = "time_ids"
_LABEL_TEXT = "text_embeds"


@dataclass(frozen=True)
class Control:
    """A ControlNet with its control map, (n, 3, h, w) in 0..1, for the batch of a condition."""

    net: torch.nn.Module
    map: torch.Tensor
    weight: float
    start: float
    end: float

    def acts(self, step: Step) -> bool:
        """Tell whether it acts in ``step``."""
        return acts(self.start, self.end, step)


@dataclass(frozen=True)
class UNetCondition:
    """What the UNet is told in a run, for a batch of n: 2 with classifier-free guidance, else 1.

    prompt    (n, tokens, width), the negative prompt first
    labels    more that some UNets are told, by diffusers' names: the pooled text and the picture's
              size (SDXL), the guidance scale (LCM)
    guidance  the guidance scale, where n is 2
    channels  (n, c, h / 8, w / 8) beside the latents: a hole and what is around it, or a depth
    """

    prompt: torch.Tensor
    labels: Mapping[str, torch.Tensor] = field(default_factory=dict)
    guidance: float = 1.0
    controls: Sequence[Control] = ()
    channels: torch.Tensor | None = None


class UNetDenoiser:
    """The denoiser of Stable Diffusion 1.5, 2 and XL.

    run  the UNet's pass; an accelerated one, or None for diffusers' own call
    """

    def __init__(self, loaded: UNetLoaded, run: Pass | None = None) -> None:
        self._loaded = loaded
        self._run = run or plain(loaded.unet)
        self.device, self.dtype = loaded.device, loaded.dtype
        self.latent = LatentSpec(loaded.vae.config.latent_channels, FACTOR)
        said = loaded.scheduler_config.get("prediction_type", "epsilon")
        self.convention: Convention = "v_prediction" if said == "v_prediction" else "epsilon"

    @cached_property
    def text(self) -> ClipEncoder:
        """Its text encoders."""
        return ClipEncoder(self._loaded)

    def encode(self, picture: np.ndarray) -> torch.Tensor:
        """Encode a picture as scaled latents; see Denoiser."""
        return autoencoder.encode(picture, self._loaded)

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Decode latents to a picture; see Denoiser."""
        return autoencoder.decode(latents, self._loaded)

    def preview(self, latents: torch.Tensor) -> np.ndarray:
        """Decode latents roughly and fast; see Denoiser."""
        return self._preview(latents)

    @cached_property
    def _preview(self) -> Callable[[torch.Tensor], np.ndarray]:
        return autoencoder.make_preview(self._loaded)

    def condition(
        self,
        words: Words,
        controls: Sequence[ControlInput],
        size: Size,
        shown: Shown = NOTHING_SHOWN,
        generator: torch.Generator | None = None,
    ) -> UNetCondition:
        """Make the condition of one run; see Denoiser."""
        loaded = self._loaded
        # A UNet that is told the guidance scale was distilled with it, and runs once a step.
        told = loaded.unet.config.time_cond_proj_dim
        texts = [words.prompt]
        if words.negative is not None and told is None:
            texts.insert(0, words.negative)
        count, labels = len(texts), {}
        if words.prompt.pooled is not None:
            pooled = torch.cat([text.pooled for text in texts if text.pooled is not None])
            sizes = _sizes(size.width, size.height, pooled).expand(count, -1)
            labels = {_LABEL_TEXT: pooled, _LABEL_SIZES: sizes}
        if told is not None:
            scale = words.guidance if words.negative is not None else 1.0
            labels[GUIDANCE] = guidance_embedding(scale, told).to(self.device, self.dtype)
        channels = self._channels(shown, generator)
        if channels is not None:
            # A depth may differ between the negative prompt and the prompt.
            channels = channels[-count:].expand(count, -1, -1, -1)
        return UNetCondition(
            torch.cat([text.embeddings for text in texts]),
            labels,
            words.guidance,
            [self._control(group, count) for group in _together(controls)],
            channels,
        )

    def hidden_value(self, net: torch.nn.Module) -> float:
        """Tell what a control map for inpainting holds where ``net`` is to paint."""
        return 0.0 if is_union(net) else -1.0

    def crop(self, condition: UNetCondition, tile: Rect) -> UNetCondition:
        """Cut a condition to ``tile``, which SDXL is told is a whole picture (Podell et al. 2023)."""
        labels = dict(condition.labels)
        if _LABEL_SIZES in labels:
            sizes = labels[_LABEL_SIZES]
            labels[_LABEL_SIZES] = _sizes(tile.width, tile.height, sizes).expand_as(sizes)
        channels = condition.channels
        return replace(
            condition,
            labels=labels,
            controls=[
                replace(one, map=one.map[..., tile.y : tile.bottom, tile.x : tile.right])
                for one in condition.controls
            ],
            channels=None if channels is None else channels[self.latent.cells(tile)],
        )

    def predict(self, x: torch.Tensor, step: Step, condition: UNetCondition) -> Prediction:
        """Run the UNet and combine both sides of guidance (Ho & Salimans 2022); see Denoiser."""
        count = len(condition.prompt)
        x = x.to(self.dtype)
        inputs = torch.cat([x] * count)
        residuals = self._residuals(inputs, step, condition)
        if condition.channels is not None:
            inputs = torch.cat([inputs, condition.channels], dim=1)
        given = Given(inputs, step.timestep, condition.prompt, condition.labels, residuals)
        output = self._run(given)
        if count > 1:
            without, with_prompt = output.chunk(2)
            output = without + condition.guidance * (with_prompt - without)
        return Prediction(output, denoised_by(self.convention, x, output, step))

    def _residuals(
        self, inputs: torch.Tensor, step: Step, condition: UNetCondition
    ) -> list[torch.Tensor]:
        labels = {name: one for name, one in condition.labels.items() if name != GUIDANCE}
        added: list[torch.Tensor] = []
        for control in condition.controls:
            acts = control.acts(step)
            # A union's residuals are not nothing where its controls weigh nothing, and diffusers'
            # pipelines add them before a control's start and after its end too.
            if not acts and not isinstance(control.net, UnionNet):
                continue
            down, middle = control.net(
                inputs,
                step.timestep,
                encoder_hidden_states=condition.prompt,
                controlnet_cond=control.map,
                conditioning_scale=control.weight if acts else 0.0,
                added_cond_kwargs=labels or None,
                return_dict=False,
            )
            new = [*down, middle]
            added = [a + b for a, b in zip(added, new, strict=True)] if added else new
        return added

    def _channels(self, shown: Shown, generator: torch.Generator | None) -> torch.Tensor | None:
        loaded = self._loaded
        if shown.depth is not None:
            return shown.depth.to(self.device, self.dtype)
        if shown.picture is None or shown.hole is None:
            return None
        hole = shown.hole.to(loaded.device)
        around = autoencoder.encode_masked(shown.picture, hole, loaded, generator)
        cells = torch.nn.functional.interpolate(hole, size=around.shape[-2:])
        return torch.cat([cells.to(around), around], dim=1)

    def _control(self, group: Sequence[ControlInput], count: int) -> Control:
        first, net = group[0], group[0].net
        drawn, weight = torch.cat([one.map for one in group], dim=1), first.weight
        if is_union(net):
            net = UnionNet(net, [one.kind for one in group], [one.weight for one in group])
            weight = 1.0
        drawn = drawn.to(self.device, self.dtype)
        return Control(net, drawn.expand(count, -1, -1, -1), weight, first.start, first.end)


def acts(start: float, end: float, step: Step) -> bool:
    """Tell whether a control acts in ``step``: wholly between ``start`` and ``end`` of the run."""
    return start <= step.done and (step.index + 1) / step.of <= end


def guidance_embedding(guidance: float, width: int) -> torch.Tensor:
    """Embed the guidance scale for a UNet that is told it: (1, width) float32.

    Sinusoids as of time steps, of 1000 * (guidance - 1). Source: Luo et al. 2023, section 4.3.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10_000.0) / (half - 1)))
    angles = 1000.0 * (guidance - 1) * frequencies
    embedding = torch.cat([angles.sin(), angles.cos()])[None]
    return torch.nn.functional.pad(embedding, (0, width % 2))


def _together(controls: Sequence[ControlInput]) -> list[list[ControlInput]]:
    """Group what runs as one net: the inputs of one union that act in the same steps."""
    keys = {
        id(one): (id(one.net), one.start, one.end) if is_union(one.net) else (id(one),)
        for one in controls
    }
    order = [keys[id(one)] for one in controls]
    ordered = sorted(controls, key=lambda one: order.index(keys[id(one)]))
    return [list(group) for _, group in groupby(ordered, key=lambda one: keys[id(one)])]


def _sizes(width: int, height: int, like: torch.Tensor) -> torch.Tensor:
    """SDXL's label of a picture's size, of which nothing is cut off: (1, 6)."""
    return torch.tensor([[height, width, 0, 0, height, width]]).to(like)
