"""The original (latent-diffusion) layout of checkpoints: names of tensors, files, sparse files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."


def _resnet(rest: str) -> str:
    for ours, theirs in (
        ("norm1", "in_layers.0"),
        ("conv1", "in_layers.2"),
        ("norm2", "out_layers.0"),
        ("conv2", "out_layers.3"),
        ("time_emb_proj", "emb_layers.1"),
        ("conv_shortcut", "skip_connection"),
    ):
        rest = re.sub(rf"^{ours}\.", f"{theirs}.", rest)
    return rest


def unet_name(name: str, config: Mapping[str, Any]) -> str:
    layers = config["layers_per_block"] + 1
    attends = ["Cross" in kind for kind in config["up_block_types"]]
    for ours, theirs in (
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
        ("mid_block.attentions.0", "middle_block.1"),
    ):
        if name.startswith(f"{ours}."):
            return _UNET + theirs + name.removeprefix(ours)
    if found := re.match(r"mid_block\.resnets\.(\d)\.(.*)", name):
        return f"{_UNET}middle_block.{2 * int(found[1])}.{_resnet(found[2])}"
    found = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert found, name
    level, number = int(found[2]), int(found[4])
    side = "input_blocks" if found[1] == "down" else "output_blocks"
    index = layers * level + number + (found[1] == "down")
    match found[3]:
        case "resnets":
            return f"{_UNET}{side}.{index}.0.{_resnet(found[5])}"
        case "attentions":
            return f"{_UNET}{side}.{index}.1.{found[5]}"
        case "downsamplers":
            return f"{_UNET}{side}.{layers * (level + 1)}.0.op.{found[5].removeprefix('conv.')}"
    last = layers * (level + 1) - 1
    return f"{_UNET}{side}.{last}.{2 if attends[level] else 1}.{found[5]}"


def control_name(name: str, config: Mapping[str, Any]) -> str:
    """The original name of a ControlNet's tensor."""
    for ours, theirs in (
        (r"controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0."),
        (r"controlnet_mid_block\.", "middle_block_out.0."),
        (r"controlnet_cond_embedding\.conv_in\.", "input_hint_block.0."),
        (r"controlnet_cond_embedding\.conv_out\.", "input_hint_block.14."),
    ):
        if re.match(ours, name):
            return "control_model." + re.sub(ours, theirs, name)
    if found := re.match(r"controlnet_cond_embedding\.blocks\.(\d)\.(.*)", name):
        return f"control_model.input_hint_block.{2 * int(found[1]) + 2}.{found[2]}"
    return unet_name(name, config).replace(_UNET, "control_model.")


def vae_name(name: str, levels: int) -> str:
    def up(found: re.Match[str]) -> str:
        kind = {"resnets": "block", "upsamplers": "upsample", "downsamplers": "downsample"}
        level = int(found[2]) if found[1] == "down" else levels - 1 - int(found[2])
        number = f".{found[4]}" if found[3] == "resnets" else ""
        return f".{found[1]}.{level}.{kind[found[3]]}{number}."

    name = re.sub(r"\.(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.", up, name)
    name = re.sub(
        r"\.mid_block\.resnets\.(\d)\.", lambda found: f".mid.block_{int(found[1]) + 1}.", name
    )
    for ours, theirs in (
        (".mid_block.attentions.0.", ".mid.attn_1."),
        ("group_norm.", "norm."),
        ("to_q.", "q."),
        ("to_k.", "k."),
        ("to_v.", "v."),
        ("to_out.0.", "proj_out."),
        ("conv_shortcut.", "nin_shortcut."),
        ("conv_norm_out.", "norm_out."),
    ):
        name = name.replace(ours, theirs)
    return _VAE + name


def open_clip(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """OpenCLIP's names: query, key and value of a layer lie in one tensor."""
    made: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix("text_model.")
        if plain == "embeddings.token_embedding.weight":
            made["token_embedding.weight"] = tensor
        elif plain == "embeddings.position_embedding.weight":
            made["positional_embedding"] = tensor
        elif plain.startswith("final_layer_norm."):
            made[plain.replace("final_layer_norm", "ln_final")] = tensor
        elif plain == "text_projection.weight":
            made["text_projection"] = tensor.T.contiguous()
        elif found := re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", plain):
            layer = f"transformer.resblocks.{found[1]}."
            if found[2] == "self_attn.q_proj":
                stacked = [
                    tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")
                ]
                made[f"{layer}attn.in_proj_{found[3]}"] = torch.cat(stacked)
            elif found[2] not in ("self_attn.k_proj", "self_attn.v_proj"):
                part = {
                    "self_attn.out_proj": "attn.out_proj",
                    "layer_norm1": "ln_1",
                    "layer_norm2": "ln_2",
                    "mlp.fc1": "mlp.c_fc",
                    "mlp.fc2": "mlp.c_proj",
                }[found[2]]
                made[f"{layer}{part}.{found[3]}"] = tensor
    return {prefix + name: tensor for name, tensor in made.items()}


def clip(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        f"{prefix}text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in tensors.items()
    }


def to_ldm(parts: Mapping[str, Any], family: str) -> dict[str, torch.Tensor]:
    """The tensors of a family's diffusers ``parts`` under their original names."""
    made = {
        unet_name(name, parts["unet"].config): tensor
        for name, tensor in parts["unet"].state_dict().items()
    }
    levels = len(parts["vae"].config.block_out_channels)
    for name, tensor in parts["vae"].state_dict().items():
        theirs = vae_name(name, levels)
        # Attention was a convolution of one pixel there.
        attends = ".attn_1." in theirs and tensor.ndim == 2
        made[theirs] = tensor[..., None, None] if attends else tensor
    first = parts["text_encoder"].state_dict()
    if family == "sd15":
        return made | clip(first, "cond_stage_model.transformer.")
    if family == "sd2":
        return made | open_clip(first, "cond_stage_model.model.")
    second = parts["text_encoder_2"].state_dict()
    return (
        made
        | clip(first, "conditioner.embedders.0.transformer.")
        | open_clip(second, "conditioner.embedders.1.model.")
    )


def save_sparse(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A file of F16 tensors with a real header and no data on disk: all of them are zero."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


def full_size(config: Path, channels: int = 4) -> dict[str, tuple[int, ...]]:
    """Name -> shape of a full-size checkpoint of the family whose config files are ``config``."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        unet = UNet2DConditionModel.load_config(config / "unet") | {"in_channels": channels}
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(unet),
            "vae": AutoencoderKL.from_config(AutoencoderKL.load_config(config / "vae")),
        }
        for name, cls in (
            ("text_encoder", CLIPTextModel),
            ("text_encoder_2", CLIPTextModelWithProjection),
        ):
            if (config / name).is_dir():
                parts[name] = cls(CLIPTextConfig.from_pretrained(config / name))
        made = to_ldm(parts, config.name)
    return {name: tuple(tensor.shape) for name, tensor in made.items()}
