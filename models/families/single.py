"""Checkpoints in one file, in the layout of the original Stable Diffusion code.

Names of tensors: Rombach et al. 2022 (github.com/CompVis/latent-diffusion); of metadata:
the ModelSpec of Stability AI.
"""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velatura.models.devices import lacks_memory
from velatura.models.errors import ModelError
from velatura.models.families.base import Found
from velatura.models.families.whole import check_whole
from velatura.models.parts import settle
from velatura.models.weights import Header, read_json

if TYPE_CHECKING:
    import torch

CONFIGS = Path(__file__).parent / "configs"
_UNET = "model.diffusion_model."
_BLOCKS = 12
_IN = f"{_UNET}input_blocks.0.0.weight"
_VAE = "first_stage_model.decoder.conv_in.weight"
_LABELS = f"{_UNET}label_emb.0.0.weight"
# Of SD 2's two trainings from one architecture, the one that predicts v has the wider biases here.
_V_MARK = f"{_UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
_V_SPREAD = 0.09
_YAML_V = re.compile(
    rb"""^\s*["']?parameterization["']?\s*:\s*["']?v["']?\s*(#.*)?$""", re.MULTILINE
)
_LARGEST_YAML = 2**16
_REFINER_WIDTH = 1280


def text_width(header: Header) -> int | None:
    """Width of the text embeddings that the UNet attends to; None when there is no such UNet."""
    for block in range(1, _BLOCKS):
        shape = header.shape(
            f"{_UNET}input_blocks.{block}.1.transformer_blocks.0.attn2.to_k.weight"
        )
        if shape is not None:
            return shape[1]
    return None


def has_labels(header: Header) -> bool:
    """Whether the UNet is told the picture's size and a pooled text, as SDXL's is."""
    return _LABELS in header.tensors


def predicts_v(header: Header) -> bool:
    """Whether the model says that it predicts v, by its metadata, a mark or one bias of SD 2's."""
    said = header.metadata.get("modelspec.prediction_type")
    if said is not None:
        return said.startswith("v")
    if "v_pred" in header.tensors or _yaml_says_v(header.path):
        return True
    biases = header.values(_V_MARK)
    return bool(biases) and statistics.pstdev(biases) > _V_SPREAD


def _yaml_says_v(path: Path) -> bool:
    """Whether a config file of the original code lies beside the file and says so.

    Not parsed: one line of it is all that is wanted.
    """
    try:
        with path.with_suffix(".yaml").open("rb") as file:
            return bool(_YAML_V.search(file.read(_LARGEST_YAML)))
    except (OSError, ValueError):
        return False


def find(
    header: Header, config: str, native: int, text: tuple[str, ...], extras: dict[int, str]
) -> Found:
    """What a single file of the family whose config files are ``config`` holds.

    ``text``: names that the tensors of its text encoders begin with; ``extras``: channels of the
    UNet -> what it takes. Raises ModelError (``unsupported``) when the file is not a whole model.
    """
    lacking = [start for start in text if not header.has(start)]
    if lacking or _VAE not in header.tensors:
        part = "text encoder" if lacking else "autoencoder"
        raise ModelError(
            "unsupported", f"it holds a UNet without its {part}: get the whole checkpoint."
        )
    channels = (header.shape(_IN) or (0, 0))[1]
    if channels not in extras:
        raise ModelError("unsupported", f"its UNet takes {channels} channels, which none here do.")
    check_whole(header, CONFIGS / config, text)
    unet = read_json(CONFIGS / config / "unet" / "config.json")
    schedule: dict[str, Any] = {}
    if predicts_v(header):
        schedule["prediction_type"] = "v_prediction"
    if "ztsnr" in header.tensors:
        schedule["rescale_betas_zero_snr"] = True
    return Found(
        native=native,
        parts=(),
        extra=extras[channels],
        shape=(*unet["block_out_channels"], unet["cross_attention_dim"]),
        schedule=schedule,
    )


def load(
    path: Path, config: Path, channels: int, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """The text encoders, UNet and autoencoder in ``path``, by their names in a diffusers folder.

    Raises ModelError (``unsupported``) when one lacks weights or has those of another model.
    """
    import diffusers
    from diffusers import DiffusionPipeline, UNet2DConditionModel
    from safetensors import SafetensorError

    index = read_json(config / "model_index.json")
    pipeline: type[DiffusionPipeline] = getattr(diffusers, index["_class_name"])
    source = {"config": str(config), "local_files_only": True, "torch_dtype": dtype}
    tokenizers = {name: None for name in index if name.startswith("tokenizer")}
    try:
        unet = UNet2DConditionModel.from_single_file(
            str(path), subfolder="unet", in_channels=channels, **source
        )
        made = pipeline.from_single_file(str(path), unet=unet, **tokenizers, **source)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        if lacks_memory(error):
            raise
        raise ModelError(
            "unsupported", f"{path.name} does not load as {index['_class_name']}: get it again."
        ) from error
    parts = {
        name: part
        for name, part in made.components.items()
        if name.startswith("text_encoder") or name in ("unet", "vae")
    }
    for name, part in parts.items():
        missing = sorted(key for key, tensor in part.state_dict().items() if tensor.is_meta)
        if missing:
            raise ModelError(
                "unsupported",
                f"{path.name}: {name} lacks {len(missing)} weights such as {missing[0]:.100}: get "
                "it again.",
            )
    return {name: settle(part, device) for name, part in parts.items()}


# What single files of other kinds begin with, the more special first.
_LOOKS = (
    ("lora_unet_", "a LoRA"),
    ("lora_te", "a LoRA"),
    ("diffusion_model.", "a LoRA or a UNet without its model"),
    ("unet.", "a LoRA in diffusers' layout"),
    ("transformer.single_transformer_blocks.", "a LoRA for FLUX"),
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("double_blocks.", "FLUX"),
    (f"{_UNET}double_blocks.", "FLUX"),
    (f"{_UNET}joint_blocks.", "Stable Diffusion 3"),
    ("joint_blocks.", "Stable Diffusion 3"),
    (f"{_UNET}layers.", "Lumina or Z-Image"),
    ("emb_params", "a textual inversion"),
    ("string_to_param", "a textual inversion"),
    ("clip_l", "a textual inversion for SDXL"),
    ("text_model.", "a text encoder"),
    ("encoder.block.", "a T5 text encoder"),
    ("model_ema.", "the averaged weights (EMA) of a model without the model itself"),
    ("first_stage_model.", "a VAE"),
    ("decoder.", "a VAE"),
    ("ip_adapter.", "an IP-Adapter"),
    ("image_proj.", "an IP-Adapter"),
    ("down_blocks.", "a UNet without its model"),
)


def looks_like(header: Header) -> str:
    """What a file that no family knows most likely is, with its article: "a LoRA", "a VAE"."""
    named = header.metadata.get("modelspec.architecture", "")
    if has_labels(header) and text_width(header) == _REFINER_WIDTH:
        return "the refiner of Stable Diffusion XL"
    if header.has(_UNET) and text_width(header) is not None:
        return "a Stable Diffusion model of an unknown kind" + (f" ({named:.60})" if named else "")
    if any(".lora_" in name for name in header.tensors):
        return "a LoRA"
    for start, look in _LOOKS:
        if header.has(start):
            return look
    return f"{named:.60}" if named else "nothing that is known here"
