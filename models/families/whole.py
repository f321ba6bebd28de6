"""Tell from a header whether a checkpoint in one file holds all that its family's config files say.

Names of tensors: Rombach et al. 2022 (latent-diffusion) for the UNet and the autoencoder, those of
transformers or OpenCLIP for the text encoders. One tensor stands for each layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from velatura.models.errors import ModelError
from velatura.models.weights import Header, read_json

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_ENDS = ("encoder.conv_in.weight", "decoder.conv_out.weight")
_QUANT = ("quant_conv.weight", "post_quant_conv.weight")
# transformers' names begin so since its version 4; before, the word was left out.
_CLIP = "text_model."
# What checkpoints hold that were trained by Karras et al. 2022 (EDM), which has its own noise.
_EDM = ("edm_vpred.", "edm_mean", "edm_std", "edm_")


def check_whole(header: Header, config: Path, text: tuple[str, ...]) -> None:
    """Check that the file can be loaded as the family whose config files lie in ``config``.

    ``text``: names that the tensors of its text encoders begin with. Raises ModelError
    (``unsupported``) with what it lacks, or how it differs.
    """
    if any(header.has(start) for start in _EDM):
        raise ModelError(
            "unsupported",
            "it was trained with EDM's noise (as CosXL and Playground 2.5 are), which is not "
            "painted with here: get an ordinary version.",
        )
    for number, start in enumerate(text):
        _check_encoder(header, config, start, number)
    lacking = [name for name in _ENDS if f"{_VAE}{name}" not in header.tensors]
    lacking += [name for name in _QUANT if f"{_VAE}{name}" not in header.tensors]
    if lacking:
        raise ModelError(
            "unsupported",
            f"its autoencoder is not whole (it lacks {lacking[0]}): get the whole checkpoint.",
        )
    unet = read_json(config / "unet" / "config.json")
    for name, there in _layers(unet):
        if (f"{_UNET}{name}" in header.tensors) != there:
            raise ModelError(
                "unsupported",
                "its UNet has other layers than the family's (a reduced or changed one, as SSD-1B "
                "is), which is not painted with here.",
            )


def _check_encoder(header: Header, config: Path, start: str, number: int) -> None:
    part = f"text_encoder_{number + 1}" if number else "text_encoder"
    layers = read_json(config / part / "config.json")["num_hidden_layers"]
    if start.endswith(".transformer."):
        if not header.has(start + _CLIP) and header.has(f"{start}encoder."):
            raise ModelError(
                "unsupported",
                "its text encoder has the names of an old version of transformers (without "
                "text_model): get a newer version of the file.",
            )
        wanted = [
            f"{_CLIP}encoder.layers.{layers - 1}.mlp.fc2.weight",
            f"{_CLIP}embeddings.token_embedding.weight",
            f"{_CLIP}final_layer_norm.weight",
        ]
    else:
        wanted = [
            f"transformer.resblocks.{layers - 1}.mlp.c_proj.weight",
            "token_embedding.weight",
            "ln_final.weight",
        ]
        wanted += ["text_projection"] * (number > 0)
    for name in wanted:
        if start + name not in header.tensors:
            raise ModelError(
                "unsupported",
                f"its text encoder is not whole (it lacks {name}): get the whole checkpoint.",
            )


def _layers(unet: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """(name of a tensor, whether a UNet with this config has it), at least one for each layer."""
    downs, ups = unet["down_block_types"], unet["up_block_types"]
    per_block, deep = unet["layers_per_block"], unet.get("transformer_layers_per_block", 1)
    depths = deep if isinstance(deep, list) else [deep] * len(downs)
    at = 1
    for block, kind in enumerate(downs):
        for _ in range(per_block):
            yield from _layer(f"input_blocks.{at}", depths[block] if "Cross" in kind else 0)
            at += 1
        at += 1  # what halves the picture
    yield from _attention("middle_block.1", depths[-1])
    at = 0
    for kind, depth in zip(ups, reversed(depths), strict=True):
        for _ in range(per_block + 1):
            yield from _layer(f"output_blocks.{at}", depth if "Cross" in kind else 0)
            at += 1


def _layer(name: str, depth: int) -> Iterator[tuple[str, bool]]:
    yield f"{name}.0.in_layers.0.weight", True
    yield from _attention(f"{name}.1", depth)


def _attention(name: str, depth: int) -> Iterator[tuple[str, bool]]:
    if depth:
        yield f"{name}.transformer_blocks.{depth - 1}.attn2.to_k.weight", True
    yield f"{name}.transformer_blocks.{depth}.attn2.to_k.weight", False
