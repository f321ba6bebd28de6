"""Hold the parts of a model with a UNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velatura.models.families.base import Loaded

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


@dataclass(kw_only=True)
class UNetLoaded(Loaded):
    """Stable Diffusion 1.5, 2 or XL in memory.

    tiny_vae        a small autoencoder for previews, where the folder has one (``vae-tiny/``)
    text_encoder_2  its embeddings stand beside the first one's; it also gives the pooled text
    """

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    tiny_vae: AutoencoderTiny | None = None
    tokenizer_2: CLIPTokenizer | None = None
    text_encoder_2: CLIPTextModelWithProjection | None = None

    @property
    def network(self) -> torch.nn.Module:
        """The UNet."""
        return self.unet

    @property
    def lora_parts(self) -> Mapping[str, torch.nn.Module]:
        """The UNet and its text encoders, by diffusers' names."""
        parts = {
            "unet": self.unet,
            "text_encoder": self.text_encoder,
            "text_encoder_2": self.text_encoder_2,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def live_copy(self, few_step: Path | None, loras: Sequence[Any]) -> UNetLoaded:
        """Copy it with another UNet; see Loaded."""
        from velatura.models.families.unet.few_step import make_live_copy

        return make_live_copy(self, few_step, loras)
