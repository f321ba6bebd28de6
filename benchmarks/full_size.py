"""Models of a family's full size with normal-random weights: as fast as trained ones, and no download.

Never zeros, which some kernels and all power limits like too much. What they paint means nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from velatura.models.families.clip import make_tokenizer
from velatura.models.families.single import CONFIGS

FAMILIES = {"sd15": 512, "sdxl": 1024}
_PADS = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}
# The shape of every family at toy size, to see on any machine that a benchmark runs.
_TOY: dict[str, dict[str, Any]] = {
    "sd15": {"block_out_channels": (32, 64, 64, 64), "sample_size": 8},
    "sdxl": {
        "block_out_channels": (32, 64, 64),
        "sample_size": 8,
        "attention_head_dim": 2,
        "transformer_layers_per_block": 1,
    },
}
_TOY_VAE = {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
_TOY_ENCODER = {"num_hidden_layers": 2, "intermediate_size": 64}
_TINY_WIDTHS = {False: 64, True: 8}


def make_model(
    folder: Path, family: str, device: torch.device, dtype: torch.dtype, toy: bool
) -> int:
    """Write a model of ``family`` with a tiny autoencoder into ``folder``; the side that it paints."""
    import diffusers
    import transformers

    configs = CONFIGS / family
    index = json.loads((configs / "model_index.json").read_text("utf-8"))
    torch.manual_seed(0)
    with torch.device(device):
        for name, kind in index.items():
            if not isinstance(kind, list) or not all(kind):
                continue
            library, cls = kind
            config = configs / name / "config.json"
            if name in _PADS:
                make_tokenizer(_PADS[name]).save_pretrained(folder / name)
            elif name == "scheduler":
                settings = json.loads((configs / name / "scheduler_config.json").read_text("utf-8"))
                getattr(diffusers, cls).from_config(settings).save_pretrained(folder / name)
            elif library == "transformers":
                settings = json.loads(config.read_text("utf-8")) | (_TOY_ENCODER if toy else {})
                made = getattr(transformers, cls)(transformers.CLIPTextConfig(**settings))
                _save(made, folder / name, dtype)
            elif config.exists():
                settings = json.loads(config.read_text("utf-8"))
                if toy:
                    settings |= _TOY[family] if name == "unet" else _TOY_VAE
                _save(getattr(diffusers, cls).from_config(settings), folder / name, dtype)
        widths = (_TINY_WIDTHS[toy],) * 4
        tiny = diffusers.AutoencoderTiny(
            encoder_block_out_channels=widths, decoder_block_out_channels=widths
        )
        _save(tiny, folder / "vae-tiny", dtype)
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    unet = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    return 8 * int(unet["sample_size"])


def _save(model: Any, folder: Path, dtype: torch.dtype) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                # Of a size that keeps what passes through at its own: nothing overflows.
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.02)
    model.to(dtype).save_pretrained(folder)
