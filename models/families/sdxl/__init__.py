"""Stable Diffusion XL: base, 9-channel inpaint, and what was trained from them (few steps, v).

Two text encoders; the UNet is also told the picture's size and a pooled text. Source: Podell et
al. 2023, SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from velatura.models.families import single
from velatura.models.families.base import Family, Found, Loaded
from velatura.models.families.unet import parts as unet
from velatura.models.weights import Header
from velatura.protocol.messages import ACTIONS

# Of the text embeddings: those of both encoders, side by side.
_WIDTH = 2048
_ENCODERS = ("text_encoder", "text_encoder_2")
_EXTRAS = {channels: extra for channels, extra in unet.EXTRAS.items() if extra != "depth"}


def _fits(config: Mapping[str, Any]) -> bool:
    return config.get("addition_embed_type") == "text_time" and config["in_channels"] in _EXTRAS


def detect(folder: Path, unet_folder: str = "unet") -> Found | None:
    return unet.find(folder, unet_folder, _ENCODERS, _fits, "Stable Diffusion XL")


def detect_file(header: Header) -> Found | None:
    if single.text_width(header) != _WIDTH or not single.has_labels(header):
        return None
    text = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")
    return single.find(header, "sdxl", 1024, text, _EXTRAS)


def load(*arguments: Any) -> Loaded:
    return unet.load(SDXL, *arguments)


SDXL = Family(
    name="sdxl",
    multiple=unet.FACTOR,
    largest=2048,
    actions=ACTIONS,
    steps=25,
    guidance=6.0,
    sampler="DPM++ 2M Karras",
    pads=("<|endoftext|>", "!"),
    clip_layer=2,
    detect=detect,
    detect_file=detect_file,
    load=load,
    make_denoiser=unet.make_denoiser,
)
