"""Enlarge painted pictures by a learnt upscaler instead of interpolation.

Any image upscaler that `spandrel` reads from safetensors will do; the starter brings one for its own
pictures, `upscaler-x4.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from velatura.models.devices import lacks_memory
from velatura.models.errors import ModelError
from velatura.models.weights import check_safetensors

CPU = torch.device("cpu")

# Beside a model's own sub-folders: enlarges what it paints.
ENLARGER = "upscaler-x4.safetensors"
# Input pixels of a tile that are kept, to each side, and those around it that the network sees
# besides. The compact network looks 18 pixels far, so its tiles join without any trace.
TILE = 192
HALO = 32
# Colours are held to the picture's from this size on (sigma, pixels of the picture).
COLOUR_SIGMA = 2.0


@dataclass(frozen=True)
class Enlarger:
    """A loaded upscaler: pictures of 3 channels in 0..1, ``factor`` times wider and higher."""

    network: torch.nn.Module
    factor: int
    device: torch.device

    def enlarge(self, picture: np.ndarray) -> np.ndarray:
        """``picture`` (h, w, 3) float32 in 0..1, ``factor`` times as wide and as high.

        Colours and shading are the picture's own, only what is finer is new. At most
        (TILE + 2 HALO)² pixels of the picture are in the network at once, whatever its size.
        """
        height, width = picture.shape[:2]
        large = np.empty((height * self.factor, width * self.factor, 3), np.float32)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                self._tile(picture, large, top, left)
        return keep_colours(large, picture)

    def resize(self, picture: np.ndarray, width: int, height: int) -> np.ndarray:
        """``picture`` (h, w, 3) float32 in 0..1 at ``width`` x ``height``, whichever larger size that is.

        Enlarged once, then brought to size: by area means, or bicubic beyond ``factor``.
        """
        large = self.enlarge(picture)
        smaller = width * height < large.shape[0] * large.shape[1]
        method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        return cv2.resize(large, (width, height), interpolation=method).clip(0, 1)

    @torch.inference_mode()
    def _tile(self, picture: np.ndarray, large: np.ndarray, top: int, left: int) -> None:
        bottom, right = min(top + TILE, picture.shape[0]), min(left + TILE, picture.shape[1])
        y, x = max(0, top - HALO), max(0, left - HALO)
        seen = np.ascontiguousarray(picture[y : bottom + HALO, x : right + HALO])
        tensor = torch.from_numpy(seen).permute(2, 0, 1)[None].to(self.device)
        found = self.network(tensor)[0].float().permute(1, 2, 0).cpu().numpy()
        f = self.factor
        kept = found[f * (top - y) : f * (bottom - y), f * (left - x) : f * (right - x)]
        large[f * top : f * bottom, f * left : f * right] = kept


def load_enlarger(path: Path, device: torch.device = CPU) -> Enlarger:
    """Read an upscaler from safetensors, as float32.

    Raises ModelError (``unsupported``) for a file that holds no upscaler of RGB pictures.
    """
    # A second of imports, for models that have one.
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    check_safetensors(path)
    try:
        found: Any = ModelLoader(device).load_from_file(path)
    except (UnsupportedModelError, ValueError, KeyError, RuntimeError) as error:
        if lacks_memory(error):
            raise
        raise ModelError(
            "unsupported", f"{path.name} is no upscaler that can be read: get it again."
        ) from error
    channels = (found.input_channels, found.output_channels)
    if not isinstance(found, ImageModelDescriptor) or found.scale < 2 or channels != (3, 3):
        raise ModelError("unsupported", f"{path.name} does not enlarge RGB pictures.")
    network = found.model.float().eval().requires_grad_(False)
    return Enlarger(network.to(memory_format=torch.channels_last), found.scale, device)


def keep_colours(large: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """``large`` (H, W, 3) with the large shapes of ``picture`` (h, w, 3), both float32 in 0..1.

    One step of back projection (Irani & Peleg 1991), blurred so that it leaves edges alone.
    """
    small = cv2.resize(large, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    lost = cv2.GaussianBlur(picture - small, (0, 0), COLOUR_SIGMA, borderType=cv2.BORDER_REPLICATE)
    spread = cv2.resize(lost, large.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(large + spread, 0, 1)
