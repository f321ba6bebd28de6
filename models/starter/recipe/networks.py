"""The starter's networks, all ordinary diffusers and transformers classes at small sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from velatura.models.starter.recipe.config import Config

Network = TypeVar("Network", UNet2DConditionModel, ControlNetModel)

CONTROL_KINDS = ("line", "depth", "segmentation")

# Stable Diffusion 1.5's noise schedule: anything made for that family fits.
NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


def build_text_encoder(config: Config, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text transformer (Radford et al. 2021), trained together with the UNet."""
    shape = config.networks["text_encoder"]
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape["width"],
            intermediate_size=4 * shape["width"],
            projection_dim=shape["width"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            max_position_embeddings=config.tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_vae(config: Config) -> AutoencoderKL:
    """A KL autoencoder of factor 8 and 4 channels (Rombach et al. 2022), thin at full resolution."""
    channels = config.networks["vae"]["channels"]
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=config.size,
    )


def build_unet(config: Config, in_channels: int = 4) -> UNet2DConditionModel:
    """The denoiser; attention only at the lower resolutions. 5 channels: the SD 2 depth layout."""
    shape = config.networks["unet"]
    attention: Sequence[bool] = shape["attention"]
    return UNet2DConditionModel(
        sample_size=config.latent,
        in_channels=in_channels,
        out_channels=4,
        down_block_types=[("CrossAttn" if a else "") + "DownBlock2D" for a in attention],
        up_block_types=[("CrossAttn" if a else "") + "UpBlock2D" for a in reversed(attention)],
        block_out_channels=shape["channels"],
        layers_per_block=1,
        cross_attention_dim=config.networks["text_encoder"]["width"],
        attention_head_dim=shape["heads"],
        norm_num_groups=16,
    )


def fast_attention(network: Network) -> Network:
    """Plain matrix products for training: on a CPU and at 64 positions 40 % faster than the fused
    attention, whose backward pass is slow there. Weights are the same either way."""
    if not torch.cuda.is_available():
        network.set_attn_processor(AttnProcessor())
    return network


def build_controlnet(config: Config, unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet (Zhang et al. 2023) that starts as a copy of the UNet's way down."""
    embedding = tuple(config.networks["controlnet"]["embedding"])
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=embedding)


def build_vae_tiny(config: Config) -> AutoencoderTiny:
    """A tiny autoencoder in the layout of TAESD, whose latents are those the UNet sees."""
    shape = config.networks["vae_tiny"]
    widths = (shape["channels"],) * 4
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=shape["encoder_blocks"],
        num_decoder_blocks=shape["decoder_blocks"],
    )


def add_lora(unet: UNet2DConditionModel, rank: int, *, convolutions: bool) -> UNet2DConditionModel:
    """Freeze `unet` and add low-rank weights to train (Hu et al. 2021): to attention and feed-forward
    layers, and to the convolutions as well if asked for."""
    layers = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
    if convolutions:
        layers += ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out"]
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers))
    return unet


def build_pipeline(
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
) -> StableDiffusionPipeline:
    """The parts as Stable Diffusion 1.5 has them, without a safety checker."""
    return StableDiffusionPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        vae=vae,
        scheduler=DPMSolverMultistepScheduler(**NOISE_SCHEDULE, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
