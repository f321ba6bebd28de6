"""A checkpoint in the starter's layout at toy size, with random weights: for tests of everything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from velatura.models.starter.recipe import config as recipe_config
from velatura.models.starter.recipe.networks import (
    build_controlnet,
    build_pipeline,
    build_text_encoder,
    build_unet,
    build_vae,
)
from velatura.models.starter.recipe.tokenizer import build_tokenizer

_WORDS = [
    "a",
    "the",
    "of",
    "in",
    "and",
    "house",
    "boat",
    "tree",
    "sky",
    "red",
    "blue",
    "night",
    "day",
    "oil",
    "painting",
]
_NETWORKS = {
    "text_encoder": {"width": 32, "layers": 1, "heads": 2},
    "vae": {"channels": [8, 8, 8, 8]},
    "unet": {"channels": [16, 16, 32], "attention": [False, False, True], "heads": 2},
    "controlnet": {"embedding": [8, 8, 8, 8]},
    "vae_tiny": {"channels": 8, "encoder_blocks": [1] * 4, "decoder_blocks": [1] * 4},
    "enlarger": {"width": 8, "layers": 2},
    "lora": {"few_step_rank": 4, "style_rank": 4},
}


def tiny_config(work: Path) -> recipe_config.Config:
    """The CPU profile with toy networks and pictures of 64 x 64 (the large ones of 192 x 192), working in `work`."""
    config = recipe_config.load("cpu", work)
    return replace(config, size=64, large_sizes=(192,), networks=_NETWORKS)


def make_tiny(folder: Path, seed: int = 0) -> Path:
    """Write a random-weight checkpoint with `controlnet-line/` beside it into `folder`.

    The same seed gives the same weights. It paints 64 x 64 noise; returns `folder`.
    """
    config = tiny_config(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = build_tokenizer(_WORDS, config.tokens)
        unet = build_unet(config)
        pipeline = build_pipeline(
            tokenizer, build_text_encoder(config, tokenizer), unet, build_vae(config)
        )
        controlnet = build_controlnet(config, unet)
        # A fresh ControlNet adds exactly nothing; these weights make its control visible.
        for head in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            torch.nn.init.normal_(head.weight, std=0.1)
        torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=0.1)
    pipeline.save_pretrained(folder)
    controlnet.save_pretrained(folder / "controlnet-line")
    return folder
