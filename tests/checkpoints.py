"""Tiny random-weight checkpoints of the real classes, one maker per family."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from velatura.models.starter.recipe.tiny import make_tiny

SD2_WIDTH = 1024


def edit(path: Path, **changes: object) -> None:
    """Change values of the JSON object in ``path``."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def seeded(build: Callable[[], Any], seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def put_unet(folder: Path, part: str = "unet", **changes: object) -> None:
    """Replace the UNet in ``folder`` by a random one with ``changes`` to its config, as ``part``."""
    from diffusers import UNet2DConditionModel

    config = {**UNet2DConditionModel.load_config(folder / "unet"), **changes}
    shutil.rmtree(folder / part, ignore_errors=True)
    seeded(lambda: UNet2DConditionModel.from_config(config)).save_pretrained(folder / part)


def make_sd15(folder: Path, **encoder: object) -> Path:
    """Stable Diffusion 1.5 with text embeddings of the family's own width."""
    make_tiny(folder)
    put_encoder(folder, hidden_size=768, num_attention_heads=12, intermediate_size=64, **encoder)
    put_unet(folder, cross_attention_dim=768)
    return folder


def make_sd2(folder: Path, prediction: str = "epsilon", channels: int = 4) -> Path:
    """Stable Diffusion 2: text embeddings of its own width; ``channels`` into the UNet."""
    make_tiny(folder)
    put_encoder(
        folder,
        hidden_size=SD2_WIDTH,
        projection_dim=SD2_WIDTH,
        num_attention_heads=16,
        intermediate_size=64,
    )
    put_unet(folder, cross_attention_dim=SD2_WIDTH, in_channels=channels)
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type=prediction)
    return folder


def put_estimator(folder: Path) -> None:
    """A depth estimator as Stable Diffusion 2 depth brings it, looking at 32 x 32 pixels."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    seeded(lambda: DPTForDepthEstimation(config)).save_pretrained(folder / "depth_estimator")
    processor = DPTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "feature_extractor")


def make_single(path: Path, folder: Path, configs: Path, family: str) -> dict[str, Any]:
    """Write the diffusers ``folder`` as one file in the original layout, and its config files.

    Returns the parts, by their names in the folder.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from ldm import to_ldm
    from safetensors.torch import save_file
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    classes = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    }
    parts = {
        name: cls.from_pretrained(folder / name)
        for name, cls in classes.items()
        if (folder / name).is_dir()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = to_ldm(parts, family)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    for config in (*folder.glob("*.json"), *folder.glob("*/*config.json")):
        copy = configs / family / config.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(config, copy)
    return parts


def put_encoder(folder: Path, part: str = "text_encoder", cls: str = "", **changes: object) -> None:
    """Replace a text encoder in ``folder`` by a random one with ``changes`` to its config."""
    import transformers

    config = json.loads((folder / "text_encoder" / "config.json").read_text()) | changes
    shutil.rmtree(folder / part, ignore_errors=True)
    made = getattr(transformers, cls or "CLIPTextModel")
    encoder = seeded(lambda: made(transformers.CLIPTextConfig(**config)))
    encoder.save_pretrained(folder / part)


def make_sdxl(folder: Path, widths: tuple[int, int] = (32, 32), **unet: object) -> Path:
    """Stable Diffusion XL with a line ControlNet; ``widths`` of the two text encoders."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    make_tiny(folder)
    heads = {"num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2}
    put_encoder(
        folder,
        "text_encoder_2",
        "CLIPTextModelWithProjection",
        hidden_size=widths[1],
        projection_dim=widths[1],
        **heads,
    )
    put_encoder(folder, hidden_size=widths[0], **heads)
    shutil.copytree(folder / "tokenizer", folder / "tokenizer_2")
    edit(folder / "tokenizer_2" / "tokenizer_config.json", pad_token="!")
    put_unet(
        folder,
        cross_attention_dim=sum(widths),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=widths[1] + 6 * 8,
        use_linear_projection=True,
        **unet,
    )
    edit(
        folder / "model_index.json",
        _class_name="StableDiffusionXLPipeline",
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
        tokenizer_2=["transformers", "CLIPTokenizer"],
        force_zeros_for_empty_prompt=True,
    )
    index = json.loads((folder / "model_index.json").read_text())
    for name in ("safety_checker", "requires_safety_checker"):
        index.pop(name, None)
    (folder / "model_index.json").write_text(json.dumps(index))

    def net() -> Any:
        made = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(folder / "unet"))
        # A fresh ControlNet adds exactly nothing; these weights make its control visible.
        for head in (*made.controlnet_down_blocks, made.controlnet_mid_block):
            torch.nn.init.normal_(head.weight, std=0.1)
        torch.nn.init.normal_(made.controlnet_cond_embedding.conv_out.weight, std=0.1)
        return made

    shutil.rmtree(folder / "controlnet-line")
    if unet.get("in_channels", 4) == 4:
        seeded(net).save_pretrained(folder / "controlnet-line")
    return folder


def make_net(unet: Path, folder: Path | None = None, seed: int = 0, **union: int) -> Any:
    """A random ControlNet for the UNet in ``unet``, saved to ``folder``.

    ``union``: of a ControlNet-Union, ``num_control_type``.
    """
    from diffusers import ControlNetModel, ControlNetUnionModel, UNet2DConditionModel

    def net() -> Any:
        # Nets have four channels and are not told the guidance, whatever their UNet takes.
        plain = {"in_channels": 4, "time_cond_proj_dim": None}
        config = {**UNet2DConditionModel.load_config(unet), **plain}
        like = UNet2DConditionModel.from_config(config)
        if union:
            made = ControlNetUnionModel.from_unet(like)
            width = like.config.block_out_channels[0]
            sizes = {"num_trans_channel": width, "num_proj_channel": width}
            config = {k: v for k, v in made.config.items() if not k.startswith("_")}
            made = ControlNetUnionModel.from_config({**config, **sizes, **union})
            # What a fresh one leaves as it comes from memory, or at nothing.
            torch.nn.init.normal_(made.task_embedding)
            torch.nn.init.normal_(made.spatial_ch_projs.weight, std=0.1)
        else:
            made = ControlNetModel.from_unet(like)
        # A fresh ControlNet adds exactly nothing; these weights make its control visible.
        for head in (*made.controlnet_down_blocks, made.controlnet_mid_block):
            torch.nn.init.normal_(head.weight, std=0.1)
        torch.nn.init.normal_(made.controlnet_cond_embedding.conv_out.weight, std=0.1)
        return made

    made = seeded(net, seed)
    if folder is not None:
        made.save_pretrained(folder)
    return made
