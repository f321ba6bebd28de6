"""Few-step weights beside a model: a LoRA that lets it paint in a handful of steps without guidance.

Sources: LCM-LoRA (Luo et al. 2023), and what has its form: Hyper-SD, Lightning, TCD.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.errors import ModelError
from velatura.models.loras import UNET

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from velatura.models.lora_weights import WeightedLora

# Beside the model's own sub-folders.
FEW_STEP = "lora-few-step.safetensors"


def has_few_step(folder: Path) -> bool:
    return (folder / FEW_STEP).is_file()


def make_live_unet(
    folder: Path, unet: UNet2DConditionModel, loras: Sequence[WeightedLora]
) -> UNet2DConditionModel:
    """A copy of ``unet`` with the folder's few-step LoRA, if any, and ``loras`` in its weights.

    A copy, not adapters that are switched: the base stays bit for bit what it was, and neither
    pays for the other at every layer. It costs the memory of a second UNet while it is kept.
    Raises ModelError (``unsupported``) when the folder's file is broken or made for another UNet.
    """
    from velatura.models.lora_weights import merge, read_lora

    made = copy.deepcopy(unet)
    if has_few_step(folder):
        try:
            few = read_lora(folder / FEW_STEP, {UNET: made}, made.device, made.dtype)
        except ModelError as error:
            raise ModelError(error.code, f"{FEW_STEP}: {error.message}") from error
        if few.left_out:
            raise ModelError(
                "unsupported",
                f"{FEW_STEP} does not fit this model's UNet: get the one made for it.",
            )
        merge(made, [(few, 1.0, 0.0)])
    merge(made, loras)
    return made
