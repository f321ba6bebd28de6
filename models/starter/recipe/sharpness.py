"""How sharp pictures are, and whether their textures are those of the renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from scipy import linalg
from velatura.models.starter.recipe.crops import CROP, CropNet
from velatura.models.starter.recipe.data import to_tensor

CROPS = 10  # of every picture
FINE = 1.5  # sigma in pixels: what a blur of it takes away counts as fine


def gradient(pictures: np.ndarray) -> np.ndarray:
    """Mean step between neighbouring pixels' luminance of each picture (N, S, S, 3) uint8, of 255."""
    grey = _grey(pictures)
    return (
        np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
    ) / 2


def fine_energy(pictures: np.ndarray) -> np.ndarray:
    """Mean square of what a blur of sigma 1.5 takes from the luminance of each picture."""
    return np.array(
        [np.square(g - cv2.GaussianBlur(g, (0, 0), FINE)).mean() for g in _grey(pictures)]
    )


def _grey(pictures: np.ndarray) -> np.ndarray:
    return np.stack([cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in pictures]).astype(np.float32)


def sharpness(pictures: np.ndarray, renders: np.ndarray, styles: Sequence[str]) -> dict[str, float]:
    """Gradient and fine energy over those of the same scenes' renders; the gradient by style too."""
    found, wanted = gradient(pictures), gradient(renders)
    figures = {
        "gradient": float(found.mean() / wanted.mean()),
        "fine_energy": float(fine_energy(pictures).mean() / fine_energy(renders).mean()),
    }
    for style in sorted(set(styles)):
        rows = np.array([s == style for s in styles])
        figures[f"gradient_{style}"] = float(found[rows].mean() / wanted[rows].mean())
    return figures


@torch.no_grad()
def crop_features(net: CropNet, pictures: np.ndarray, seed: int = 0) -> np.ndarray:
    """CROPS crops of each picture (N, S, S, 3) uint8, at places drawn by `seed`: (N * CROPS, 64)."""
    rng = np.random.default_rng(seed)
    rows = []
    for picture in pictures:
        places = rng.integers(0, picture.shape[0] - CROP + 1, (CROPS, 2))
        crops = np.stack([picture[y : y + CROP, x : x + CROP] for y, x in places])
        rows.append(net.features(net.maps(to_tensor(crops))).numpy())
    return np.concatenate(rows).astype(np.float64)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of features (N, F), taken as normal (Heusel et al. 2017)."""
    mean = a.mean(0) - b.mean(0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of a product: its eigenvalues are real, as both are symmetric.
    root = np.sqrt(np.clip(linalg.eigvals(first @ second).real, 0, None)).sum()
    return float(mean @ mean + np.trace(first) + np.trace(second) - 2 * root)


def frechet_figures(
    net: CropNet, sets: Mapping[str, np.ndarray], reference: np.ndarray
) -> dict[str, float]:
    """The distance of each set of pictures from `reference`, renders of other scenes."""
    wanted = crop_features(net, reference, seed=1)
    return {name: frechet(crop_features(net, pictures), wanted) for name, pictures in sets.items()}
