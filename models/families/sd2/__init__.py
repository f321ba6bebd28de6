"""Stable Diffusion 2.x: its 512 and 768 models (the latter predict v), 9-channel inpaint, depth.

Its text encoder is OpenCLIP ViT-H. Source: Rombach et al. 2022, High-Resolution Image Synthesis
with Latent Diffusion Models; for v Salimans & Ho 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from velatura.models.families import single
from velatura.models.families.base import Family, Found, Loaded
from velatura.models.families.unet import parts as unet
from velatura.models.weights import Header
from velatura.protocol.messages import ACTIONS

# Of the text embeddings.
WIDTH = 1024
# The side that SD-Turbo paints best.
_TURBO = 512


def _fits(config: Mapping[str, Any]) -> bool:
    return config.get("addition_embed_type") is None and config.get("cross_attention_dim") == WIDTH


def detect(folder: Path, unet_folder: str = "unet") -> Found | None:
    return unet.find(folder, unet_folder, ("text_encoder",), _fits, "Stable Diffusion 2")


def detect_file(header: Header) -> Found | None:
    if single.text_width(header) != WIDTH or single.has_labels(header):
        return None
    # One architecture; the training at 768 is the one that predicts v.
    native = 768 if single.predicts_v(header) else 512
    return single.find(header, "sd2", native, ("cond_stage_model.model.",), unet.EXTRAS)


def load(*arguments: Any) -> Loaded:
    return unet.load(SD2, *arguments)


def distil(found: Found) -> Found:
    """Correct what was found of a model distilled to paint in one step (SD-Turbo).

    It comes from the model that predicts v, whose mark it keeps, to predict noise.
    """
    is_turbo = found.few is not None and found.few.kind == "turbo"
    return replace(found, native=_TURBO, schedule={}) if is_turbo else found


SD2 = Family(
    name="sd2",
    multiple=unet.FACTOR,
    largest=1536,
    actions=ACTIONS,
    steps=20,
    guidance=5.0,
    sampler="DPM++ 2M Karras",
    pads=("!",),
    clip_layer=2,
    detect=detect,
    detect_file=detect_file,
    load=load,
    make_denoiser=unet.make_denoiser,
    distil=distil,
)
