"""Two small networks that read crops of large pictures at their full resolution, never blurred ones.

One measures (the crop judge, trained on the judge's scenes; its features are what Fréchet distances
are taken of) and is no part of any loss. The other (perceptual, narrower, trained on the model's scenes)
is the perceptual loss of the enlarger, and measures nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures, to_tensor
from velatura.models.starter.recipe.judge import CLASSES
from velatura.models.starter.recipe.render import LARGE_CELL
from velatura.models.starter.recipe.training import Trainer, trained
from velatura.models.starter.recipe.world import GROUNDS, STYLES, TIMES

CROP = 128
STEM = 2
FEATURES = 64
# Stage -> the split that it learns from, and the network's width.
STAGES = {"crop_judge": ("large-judge", 16), "perceptual": ("large-train", 12)}


class CropNet(nn.Module):
    """Reads crops (N, 3, 128, 128) in -1..1 at the resolution that they were painted at."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Four pixels are folded into channels at the start: cheap, and nothing is lost.
        widths = [3 * STEM**2, 2 * width, 3 * width, 4 * width]
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, 1 if i == 0 else 2, 1),
                nn.SiLU(),
                *([nn.Conv2d(outputs, outputs, 3, 1, 1), nn.SiLU()] if i else []),
            )
            for i, (inputs, outputs) in enumerate(itertools.pairwise(widths))
        )
        self.embed = nn.Linear(sum(widths[1:]), FEATURES)
        self.scene = nn.Linear(FEATURES, len(TIMES) + len(GROUNDS) + len(STYLES))
        self.dense = nn.Conv2d(widths[-1], len(CLASSES), 1)

    def maps(self, crops: torch.Tensor) -> list[torch.Tensor]:
        """The activations of every level, finest first."""
        found = []
        crops = F.pixel_unshuffle(crops, STEM)
        for level in self.levels:
            crops = level(crops)
            found.append(crops)
        return found

    def features(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """(N, 64) float32 of the maps' means: which textures are there, wherever they are."""
        return self.embed(torch.cat([one.float().mean((2, 3)) for one in maps], 1))

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits `time`, `ground`, `style` and `segmentation` (N, classes, 16, 16); `features`."""
        maps = self.maps(crops)
        features = self.features(maps)
        scene = self.scene(F.silu(features))
        time, ground, style = scene.split([len(TIMES), len(GROUNDS), len(STYLES)], 1)
        segmentation = self.dense(maps[-1]).float()
        told = {"time": time, "ground": ground, "style": style, "segmentation": segmentation}
        return told | {"features": features}


def train_crops(config: Config, stage: str) -> None:
    """Train one of STAGES; the result is `work/<stage>.pt`."""
    torch.manual_seed(config.seed)
    split, width = STAGES[stage]
    pictures = Pictures(config, split)
    trainer = Trainer(stage, config, {"net": CropNet(width)})
    net = trainer.networks["net"]

    def loss(turn: int) -> torch.Tensor:
        rng = np.random.default_rng((config.seed, turn))
        indices = rng.integers(0, len(pictures), trainer.batch)
        crops, classes = zip(*(_crop(pictures, int(i), rng) for i in indices), strict=True)
        wanted = {
            "segmentation": torch.stack(classes),
            "time": _numbers(pictures, indices, "time", TIMES),
            "ground": _numbers(pictures, indices, "ground", GROUNDS),
            "style": _numbers(pictures, indices, "style", STYLES),
        }
        told = net(to_tensor(np.stack(crops)).to(config.device))
        return sum(F.cross_entropy(told[k], v.to(config.device)) for k, v in wanted.items())

    trainer.run(loss)


def _crop(
    pictures: Pictures, index: int, rng: np.random.Generator
) -> tuple[np.ndarray, torch.Tensor]:
    """A random crop on the grid of LARGE_CELL, and its class numbers."""
    image = pictures.one("image", index)
    cells = CROP // LARGE_CELL
    top, left = rng.integers(0, image.shape[0] // LARGE_CELL - cells + 1, 2)
    part = pictures.one("segmentation", index)[top : top + cells, left : left + cells]
    distance = np.abs(part[..., None, :].astype(np.int64) - CLASSES).sum(-1)
    y, x = LARGE_CELL * top, LARGE_CELL * left
    return image[y : y + CROP, x : x + CROP], torch.from_numpy(distance.argmin(-1))


def _numbers(
    pictures: Pictures, indices: np.ndarray, key: str, names: Sequence[str]
) -> torch.Tensor:
    return torch.tensor([names.index(pictures.labels[i][key]) for i in indices])


def trained_crops(config: Config, stage: str) -> CropNet:
    """One of STAGES as its checkpoint has it, frozen."""
    net = CropNet(STAGES[stage][1])
    trained(stage, config, net, "net")
    return net


if __name__ == "__main__":
    main(train_crops, __doc__, tuple(STAGES))
