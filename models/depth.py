"""What a depth model is shown: its estimator's depth or the painter's, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from velatura.models.parts import load_part

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_ESTIMATOR, _PROCESSOR = "depth_estimator", "feature_extractor"

# A picture (h, w, 3) uint8 -> its depth (h', w') float32 in any range, nearer is larger.
EstimateDepth = Callable[["NDArray[np.uint8]"], "torch.Tensor"]


def load_estimator(folder: Path, device: torch.device) -> EstimateDepth | None:
    """The DPT (Ranftl et al. 2021) in a model's ``folder``; None where it has none.

    Raises ModelError when it is broken.
    """
    if not (folder / _ESTIMATOR).is_dir():
        return None
    import torch
    from transformers import DPTForDepthEstimation, DPTImageProcessor

    # Its batch norms fail in half precision.
    estimator = load_part(DPTForDepthEstimation, folder / _ESTIMATOR, device, torch.float32)
    processor = DPTImageProcessor.from_pretrained(folder / _PROCESSOR, local_files_only=True)

    @torch.no_grad()
    def estimate(picture: NDArray[np.uint8]) -> torch.Tensor:
        pixels = processor(images=picture, return_tensors="pt").pixel_values.to(device)
        return estimator(pixels).predicted_depth[0]

    return estimate


def weighed(depth: torch.Tensor, weight: float) -> torch.Tensor:
    """(1, 1, h, w) -> (2, 1, h, w), beside the negative prompt and beside the prompt; ``weight`` 0..2.

    At 1 both are ``depth``, as in diffusers' pipeline. Below, the relief is lower: at 0 it is flat.
    Above, guidance acts on the depth too (Brooks et al. 2023, section 3.2, in one pass): the negative
    side is shown a lower relief, at 1.5 none and at 2 the opposite of it.
    """
    import torch

    return torch.cat([depth * min(weight, 3 - 2 * weight), depth * min(weight, 1.0)])
