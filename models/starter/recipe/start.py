"""Weights of an exported checkpoint, as the start of a stage: fine-tuning of what is shipped."""

from __future__ import annotations

from typing import TypeVar

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from transformers import CLIPTokenizer
from velatura.models.enlarger import ENLARGER
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.tokenizer import build_tokenizer
from velatura.models.starter.recipe.training import trained
from velatura.models.starter.recipe.world import VOCABULARY

Network = TypeVar("Network", bound=torch.nn.Module)


def started(config: Config, network: Network, part: str) -> Network:
    """`network` with the weights of folder `part` of the checkpoint that `config.start` names, as
    float32; as it is when there is none. Raises RuntimeError when the shapes differ."""
    if config.start and (config.start / part).exists():
        shipped = type(network).from_pretrained(config.start / part, torch_dtype=torch.float32)
        network.load_state_dict(shipped.state_dict())
    return network


def started_enlarger(config: Config, network: torch.nn.Module) -> torch.nn.Module:
    """`network` with the enlarger's weights that `config.start` has, if any."""
    path = config.start and config.start / ENLARGER
    if path and path.exists():
        network.load_state_dict(load_file(path))
    return network


def trained_or_started(
    stage: str, config: Config, network: Network, key: str, part: str
) -> Network:
    """`network` as its own stage left it, else as `config.start` has it; frozen, for use.

    Raises FileNotFoundError when there is neither.
    """
    if config.start and not (config.work / f"{stage}.pt").exists():
        network = started(config, network, part)
        network.to(config.device, memory_format=torch.channels_last)
        return network.eval().requires_grad_(False)
    return trained(stage, config, network, key)


def starting_tokenizer(config: Config) -> CLIPTokenizer:
    """The tokenizer that the weights to go on from were trained with, else a new one."""
    for folder in (config.work, config.start):
        if folder and (folder / "tokenizer").exists():
            return CLIPTokenizer.from_pretrained(folder / "tokenizer")
    return build_tokenizer(VOCABULARY, config.tokens)


def finished_vae(config: Config) -> AutoencoderKL:
    """The autoencoder as its stage finished it, else as `config.start` has it; frozen, for use."""
    folder = config.work / "vae"
    if not folder.exists() and config.start:
        folder = config.start / "vae"
    vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
    vae.to(config.device, memory_format=torch.channels_last)
    return vae.eval().requires_grad_(False)
