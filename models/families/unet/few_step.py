"""Copy a UNet with few-step weights and LoRAs in its weights, for live painting."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.errors import ModelError
from velatura.models.families.unet.loaded import UNetLoaded
from velatura.models.loras import UNET

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from velatura.models.lora_weights import WeightedLora


def make_live_copy(
    loaded: UNetLoaded, few_step: Path | None, loras: Sequence[WeightedLora]
) -> UNetLoaded:
    """Copy a model whose UNet has a few-step LoRA, if any, and ``loras`` in its weights.

    A copy, not adapters that are switched: the base stays bit for bit what it was, and neither
    pays for the other at every layer. It costs the memory of a second UNet while it is kept.
    Raises ModelError (``unsupported``) when ``few_step`` is broken or made for another UNet.
    """
    return replace(loaded, unet=with_loras(loaded.unet, few_step, loras))


def with_loras(
    unet: UNet2DConditionModel, few_step: Path | None, loras: Sequence[WeightedLora]
) -> UNet2DConditionModel:
    """Copy a UNet with LoRAs in its weights; see make_live_copy."""
    from velatura.models.lora_weights import merge, read_lora

    made = copy.deepcopy(unet)
    if few_step is not None:
        try:
            few = read_lora(few_step, {UNET: made}, made.device, made.dtype)
        except ModelError as error:
            raise ModelError(error.code, f"{few_step.name}: {error.message}") from error
        if few.left_out:
            raise ModelError(
                "unsupported",
                f"{few_step.name} does not fit this model's UNet: get the one made for it.",
            )
        merge(made, [(few, 1.0, 0.0)])
    merge(made, loras)
    return made
