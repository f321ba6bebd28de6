"""Writers of LoRA and textual inversion files in the forms that painters have, with random weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from ldm import unet_name
from safetensors.torch import save_file
from torch import nn

_ATTENTION = re.compile(r"to_(q|k|v)$|to_out\.0$|(q|k|v|out)_proj$|fc[12]$|proj_(in|out)$")


def parts_of(folder: Path) -> dict[str, nn.Module]:
    """The UNet and the text encoders of a diffusers folder."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    parts: dict[str, nn.Module] = {
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet"),
        "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder"),
    }
    if (folder / "text_encoder_2").is_dir():
        parts["text_encoder_2"] = CLIPTextModelWithProjection.from_pretrained(
            folder / "text_encoder_2"
        )
    return parts


def layers(part: nn.Module, convolutions: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """What a LoRA changes: attention and what lies between, and convolutions where asked for."""
    for name, layer in part.named_modules():
        linear = isinstance(layer, nn.Linear) and _ATTENTION.search(name)
        if linear or (convolutions and isinstance(layer, nn.Conv2d) and "conv" in name):
            yield name.removeprefix("text_model."), layer


def pair(layer: Any, rank: int, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    """down (rank, in, ...) and up (out, rank, ...)."""
    shape, ones = layer.weight.shape, (1,) * (layer.weight.ndim - 2)
    return size * torch.randn(rank, *shape[1:]), torch.randn(shape[0], rank, *ones)


def kohya_name(part: str, name: str, parts: Mapping[str, nn.Module], original: bool) -> str:
    if part == "unet":
        if original:
            full = unet_name(f"{name}.weight", parts["unet"].config)
            name = full.removeprefix("model.diffusion_model.").removesuffix(".weight")
        return f"lora_unet_{name.replace('.', '_')}"
    number = {"text_encoder": "1" if "text_encoder_2" in parts else "", "text_encoder_2": "2"}[part]
    return f"lora_te{number}_text_model_{name.replace('.', '_')}"


def make_lora(
    path: Path,
    parts: Mapping[str, nn.Module],
    form: str = "kohya",
    *,
    rank: int = 2,
    alpha: float | None = 1.0,
    size: float = 0.3,
    seed: int = 0,
    convolutions: bool = False,
    only: str | None = None,
    rank_stabilised: bool = False,
) -> Path:
    """``form``: kohya, original (kohya's with the original names of the UNet), peft or diffusers (its
    older names); ``alpha``: None leaves it out. ``only`` parts of the model
    whose names begin with it. ``rank_stabilised``: as rsLoRA, which peft's form alone can say.
    """
    generator = torch.random.fork_rng(devices=[])
    tensors: dict[str, torch.Tensor] = {}
    said: dict[str, Any] = {}
    with generator:
        torch.manual_seed(seed)
        for part, module in parts.items():
            if only and not part.startswith(only):
                continue
            for name, layer in layers(module, convolutions):
                down, up = pair(layer, rank, size)
                if form in ("kohya", "original"):
                    key = kohya_name(part, name, parts, form == "original")
                    tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
                    if alpha is not None:
                        tensors[f"{key}.alpha"] = torch.tensor(alpha)
                    continue
                key = f"{part}.{name}" if part == "unet" else f"{part}.text_model.{name}"
                old = "lora" if part == "unet" else "lora_linear_layer"
                old_ends = (f"{old}.down", f"{old}.up")
                ends = ("lora_A", "lora_B") if form == "peft" else old_ends
                tensors |= {f"{key}.{ends[0]}.weight": down, f"{key}.{ends[1]}.weight": up}
            if form == "peft" and alpha is not None:
                targets = {_ATTENTION.search(name)[0] for name, _ in layers(module)}
                said |= {
                    f"{part}.r": rank,
                    f"{part}.lora_alpha": alpha,
                    f"{part}.target_modules": sorted(targets),
                    f"{part}.use_rslora": rank_stabilised,
                }
    metadata = {"lora_adapter_metadata": json.dumps(said)} if said else None
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)
    return path


def make_word(path: Path, widths: tuple[int, ...], tokens: int = 3, form: str = "") -> Path:
    """A textual inversion: A1111's for one encoder, for two ``clip_l`` and ``clip_g``; ``form``: the
    name of the only tensor, as diffusers writes it."""
    generator = torch.Generator().manual_seed(tokens)
    rows = [torch.randn(tokens, width, generator=generator) for width in widths]
    names = ("clip_l", "clip_g") if len(widths) == 2 else (form or "emb_params",)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(zip(names, rows, strict=True)), path)
    return path
