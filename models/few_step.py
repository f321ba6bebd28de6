"""Few-step weights beside a model: a LoRA that lets it paint in a handful of steps without guidance.

Sources: LCM-LoRA (Luo et al. 2023), and what has its form: Hyper-SD, Lightning, TCD.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.errors import ModelError
from velatura.models.weights import check_safetensors

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from velatura.models.lora_weights import Worn

# Beside the model's own sub-folders.
FEW_STEP = "lora-few-step.safetensors"


def has_few_step(folder: Path) -> bool:
    return (folder / FEW_STEP).is_file()


def make_live_unet(
    folder: Path, unet: UNet2DConditionModel, loras: Sequence[Worn]
) -> UNet2DConditionModel:
    """A copy of ``unet`` with the folder's few-step LoRA, if any, and ``loras`` in its weights.

    A copy, not adapters that are switched: the base stays bit for bit what it was, and neither
    pays for the other at every layer. It costs the memory of a second UNet while it is kept.
    Raises ModelError as load_few_step does.
    """
    from velatura.models.lora_weights import merge

    made = load_few_step(folder, unet) if has_few_step(folder) else copy.deepcopy(unet)
    merge(made, loras)
    return made


def load_few_step(folder: Path, unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy of ``unet`` with the folder's few-step LoRA in its weights.

    Raises ModelError (``unsupported``) when the file is broken or made for another UNet.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from safetensors.torch import load_file

    path = folder / FEW_STEP
    check_safetensors(path)
    few = copy.deepcopy(unet)
    try:
        weights, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(load_file(path))
        few.load_lora_adapter(weights, prefix="unet", network_alphas=alphas)
        if not getattr(few, "peft_config", None):
            raise ValueError("no layer of the UNet has a place in it")
        few.fuse_lora()
        few.unload_lora()
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(
            "unsupported", f"{FEW_STEP} does not fit this model's UNet: get the one made for it."
        ) from error
    return few.eval().requires_grad_(False)
