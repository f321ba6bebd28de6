"""Encode pictures as latents and decode latents, with a KL autoencoder (Rombach et al. 2022).

Pictures are (h, w, 3) float32 in 0..1; latents (1, channels, h / factor, w / factor), scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from velatura.models.families.unet.loaded import UNetLoaded
from velatura.models.families.unet.parts import FACTOR

# Previews are thumbnails: more would cost time that the painting needs.
_PREVIEW_SIDE = 256
_PROBE_SIDE = 16
# Above this area (pixels) the autoencoder works in overlapping tiles: its memory grows with the area.
_MOST_AT_ONCE = 1536**2


def to_tensor(picture: np.ndarray, loaded: UNetLoaded) -> torch.Tensor:
    """Turn a picture into (1, 3, h, w) in -1..1 on the model's device, in its autoencoder's dtype."""
    tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
    return (tensor * 2 - 1).to(loaded.device, loaded.vae.dtype)


@torch.inference_mode()
def encode(picture: np.ndarray, loaded: UNetLoaded) -> torch.Tensor:
    """Encode a picture as scaled latents in the model's dtype: the mode, so that it is one value."""
    with _tiled_above(picture.shape[0] * picture.shape[1], loaded):
        latents = loaded.vae.encode(to_tensor(picture, loaded)).latent_dist.mode()
    return (latents * loaded.vae.config.scaling_factor).to(loaded.dtype)


@torch.inference_mode()
def decode(latents: torch.Tensor, loaded: UNetLoaded) -> np.ndarray:
    """Decode latents, not clipped: NaN stays NaN, and colours may lie a little outside 0..1."""
    scaled = latents.to(loaded.vae.dtype) / loaded.vae.config.scaling_factor
    with _tiled_above(latents.shape[-2] * latents.shape[-1] * FACTOR**2, loaded):
        return _picture(loaded.vae.decode(scaled).sample)


@torch.inference_mode()
def encode_masked(
    picture: torch.Tensor, hole: torch.Tensor, loaded: UNetLoaded, generator: torch.Generator | None
) -> torch.Tensor:
    """Encode what an inpainting model is shown of ``picture``: grey where ``hole`` is 1.

    picture (1, 3, h, w) in -1..1, hole (1, 1, h, w) of 0 and 1. A sample drawn by ``generator``, as
    diffusers' pipelines draw it; in the model's dtype.
    """
    masked = picture * (hole < 0.5).to(picture)
    with _tiled_above(picture.shape[-2] * picture.shape[-1], loaded):
        latents = loaded.vae.encode(masked.to(loaded.vae.dtype)).latent_dist.sample(generator)
    return (latents * loaded.vae.config.scaling_factor).to(loaded.dtype)


@contextmanager
def _tiled_above(pixels: int, loaded: UNetLoaded) -> Iterator[None]:
    if pixels <= _MOST_AT_ONCE:
        yield
        return
    loaded.vae.enable_tiling()
    try:
        yield
    finally:
        loaded.vae.disable_tiling()


def make_preview(loaded: UNetLoaded) -> Callable[[torch.Tensor], np.ndarray]:
    """Make a fast small decoder: latents -> (h, w, 3) uint8 of at most 256 pixels a side.

    The tiny autoencoder where the model has one; else the best linear map from latents to mean
    colours, found by showing the model's own decoder some noise.
    """
    if loaded.tiny_vae is None:
        return _linear_preview(loaded)
    tiny = loaded.tiny_vae

    @torch.no_grad()
    def preview(latents: torch.Tensor) -> np.ndarray:
        longest = FACTOR * max(latents.shape[-2:])
        if longest > _PREVIEW_SIDE:
            factor = _PREVIEW_SIDE / longest
            latents = torch.nn.functional.interpolate(latents, scale_factor=factor, mode="area")
        return _bytes(_picture(tiny.decode(latents.to(tiny.dtype)).sample))

    return preview


def _linear_preview(loaded: UNetLoaded) -> Callable[[torch.Tensor], np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(1, 4, _PROBE_SIDE, _PROBE_SIDE, generator=generator)
    colours = decode(probe.to(loaded.device, loaded.dtype), loaded)
    means = cv2.resize(colours, (_PROBE_SIDE, _PROBE_SIDE), interpolation=cv2.INTER_AREA)
    matrix = np.linalg.lstsq(_with_one(probe), means.reshape(-1, 3), rcond=None)[0]

    def preview(latents: torch.Tensor) -> np.ndarray:
        height, width = latents.shape[-2:]
        return _bytes((_with_one(latents) @ matrix).reshape(height, width, 3))

    return preview


def _with_one(latents: torch.Tensor) -> np.ndarray:
    flat = latents[0].float().cpu().flatten(1).T.numpy()
    return np.concatenate([flat, np.ones((len(flat), 1), np.float32)], 1)


def _picture(sample: torch.Tensor) -> np.ndarray:
    return (sample[0].float().cpu().permute(1, 2, 0).numpy() + 1) / 2


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.rint(np.nan_to_num(picture).clip(0, 1) * 255).astype(np.uint8)
