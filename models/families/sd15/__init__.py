"""Stable Diffusion 1.x and models of its architecture: ordinary, 9-channel inpaint, with depth.

Source: Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from velatura.models.families import sd2, single
from velatura.models.families.base import Family, Found, Loaded
from velatura.models.families.unet import parts as unet
from velatura.models.weights import Header
from velatura.protocol.messages import ACTIONS

# Of the text embeddings.
_WIDTH = 768


def _fits(config: Mapping[str, Any]) -> bool:
    # Stable Diffusion 2 differs by its text encoder, the only one of its width.
    return (
        config.get("addition_embed_type") is None and config.get("cross_attention_dim") != sd2.WIDTH
    )


def detect(folder: Path, unet_folder: str = "unet") -> Found | None:
    return unet.find(folder, unet_folder, ("text_encoder",), _fits, "Stable Diffusion 1.5")


def detect_file(header: Header) -> Found | None:
    if single.text_width(header) != _WIDTH or single.has_labels(header):
        return None
    return single.find(header, "sd15", 512, ("cond_stage_model.transformer.",), unet.EXTRAS)


def load(*arguments: Any) -> Loaded:
    return unet.load(SD15, *arguments)


SD15 = Family(
    name="sd15",
    multiple=unet.FACTOR,
    largest=1024,
    actions=ACTIONS,
    steps=20,
    guidance=5.0,
    sampler="DPM++ 2M Karras",
    pads=("<|endoftext|>",),
    clip_layer=1,
    detect=detect,
    detect_file=detect_file,
    load=load,
    make_denoiser=unet.make_denoiser,
)
