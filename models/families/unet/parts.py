"""What the families with a UNet share: reading their config files and loading their parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velatura.models.depth import load_estimator
from velatura.models.errors import ModelError
from velatura.models.families import single
from velatura.models.families.base import Family, Found, Loaded, ReportProgress
from velatura.models.families.clip import make_tokenizer
from velatura.models.families.denoiser import Denoiser
from velatura.models.families.unet.loaded import UNetLoaded
from velatura.models.parts import load_part
from velatura.models.weights import read_json

if TYPE_CHECKING:
    import torch

FACTOR = 8
# Input channels of the UNet -> what it takes beside the 4 of the latents.
EXTRAS = {4: "", 5: "depth", 9: "inpaint"}
_TINY_VAE = "vae-tiny"
_TOKENIZERS = ("tokenizer", "tokenizer_2")
# Loaded first to last; the part of the progress at which each begins.
_BEGINS = {"text_encoder": 0.3, "text_encoder_2": 0.4, "unet": 0.5, "vae": 0.9}
_NAMES = {
    "text_encoder": "the text encoder",
    "text_encoder_2": "the second text encoder",
    "unet": "the UNet",
    "vae": "the autoencoder",
}


def find(
    folder: Path,
    unet: str,
    encoders: tuple[str, ...],
    fits: Callable[[Mapping[str, Any]], bool],
    family: str,
) -> Found | None:
    """What a diffusers folder holds, or None when it is another family's.

    ``unet`` names the UNet's sub-folder, ``encoders`` those of exactly the text encoders that the
    family has; ``fits`` tells from the UNet's config whether it is the family's. Raises ModelError
    (``unsupported``) for configs that contradict each other.
    """
    index = read_json(folder / "model_index.json")
    there = {name for name, value in index.items() if isinstance(value, list) and any(value)}
    if not there >= {"unet", "vae", "tokenizer", *encoders}:
        return None
    if {name for name in there if name.startswith("text_encoder")} != set(encoders):
        return None
    config = read_json(folder / unet / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    if (
        config.get("_class_name") != "UNet2DConditionModel"
        or config.get("in_channels") not in EXTRAS
        or vae.get("latent_channels", 4) != 4
        or not fits(config)
    ):
        return None
    width, size = config.get("cross_attention_dim"), config.get("sample_size")
    channels, levels = config.get("block_out_channels"), vae.get("block_out_channels")
    if not (
        isinstance(width, int)
        and isinstance(size, int)
        and isinstance(channels, list)
        and isinstance(levels, list)
        and 2 ** (len(levels) - 1) == FACTOR
    ):
        raise ModelError("unsupported", f"its unet and vae configs do not fit {family}.")
    return Found(
        native=size * FACTOR,
        parts=(*encoders, unet, "vae"),
        extra=EXTRAS[config["in_channels"]],
        shape=(*channels, width),
    )


def load(
    family: Family,
    name: str,
    path: Path,
    found: Found,
    device: torch.device,
    dtype: torch.dtype,
    progress: ReportProgress,
) -> Loaded:
    """Load the parts of a diffusers folder or a single file, as Family.load describes."""
    progress(0.0, "starting diffusers")
    import torch
    from diffusers import AutoencoderTiny
    from velatura.models.enlarger import ENLARGER, load_enlarger

    if path.is_dir():
        parts = _load_folder(family, path, found, device, dtype, progress)
        config = path
    else:
        config = single.CONFIGS / family.name
        progress(_BEGINS["text_encoder"], "loading the single file")
        channels = next(n for n, extra in EXTRAS.items() if extra == found.extra)
        parts = single.load(path, config, channels, device, dtype)
        for tokenizer, pad in zip(_TOKENIZERS, family.pads, strict=False):
            parts[tokenizer] = make_tokenizer(pad)
    if dtype == torch.float16 and read_json(config / "vae" / "config.json").get("force_upcast"):
        # Its activations overflow in half precision.
        parts["vae"].float()
    has_tiny = (path / _TINY_VAE).is_dir()
    loaded = UNetLoaded(
        name=name,
        family=family,
        find_digest=str,
        native=found.native,
        tiny_vae=load_part(AutoencoderTiny, path / _TINY_VAE, device, dtype) if has_tiny else None,
        estimate_depth=load_estimator(path, device) if found.extra == "depth" else None,
        scheduler_config={
            **read_json(config / "scheduler" / "scheduler_config.json"),
            **found.schedule,
        },
        device=device,
        dtype=dtype,
        extra=found.extra,
        few_steps=found.few is not None,
        enlarger=load_enlarger(path / ENLARGER, device) if (path / ENLARGER).is_file() else None,
        **parts,
    )
    progress(1.0, "loaded")
    return loaded


def make_denoiser(loaded: Loaded, run: Callable[..., torch.Tensor] | None) -> Denoiser:
    """Make the denoiser of a model with a UNet; ``run`` is an accelerated pass of it."""
    from velatura.models.families.unet.denoiser import UNetDenoiser

    assert isinstance(loaded, UNetLoaded)
    return UNetDenoiser(loaded, run)


def _load_folder(
    family: Family,
    folder: Path,
    found: Found,
    device: torch.device,
    dtype: torch.dtype,
    progress: ReportProgress,
) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    classes = {
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
    }
    parts: dict[str, Any] = {
        name: CLIPTokenizer.from_pretrained(
            folder / name, local_files_only=True, split_special_tokens=True
        )
        for name in _TOKENIZERS[: len(family.pads)]
    }
    for sub_folder in found.parts:
        # "unet-depth" is a UNet that lies beside another one.
        part = sub_folder.partition("-")[0]
        progress(_BEGINS[part], f"loading {_NAMES[part]}")
        parts[part] = load_part(classes[part], folder / sub_folder, device, dtype)
    return parts
