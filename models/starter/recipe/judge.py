"""Stage 3: a small network that says what a picture shows. It measures the model and never ships.

Trained on scenes whose seeds the model never sees; half of them as the autoencoder gives them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import nn
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import Pictures, draw, to_pixels, to_tensor
from velatura.models.starter.recipe.start import finished_vae
from velatura.models.starter.recipe.training import Trainer, wait
from velatura.models.starter.recipe.world import (
    COLOURS,
    GROUNDS,
    OBJECTS,
    PALETTE,
    STYLES,
    TIMES,
    box,
    random_scene,
)

SIDE = 128
STEM = 4  # a square of that many pixels is folded into channels at the start: cheap, and nothing is lost
CLASSES = np.array(list(PALETTE.values()), np.int64)
ROUND_TRIPS = 500
UNKNOWN = -100  # what cross_entropy leaves out
SPARSE = -7.0  # the logarithm from which `density` starts: 1024 cells of it are one thing
RARE = -4.0  # the logit from which `where` starts: nearly everywhere is none of a kind


class Judge(nn.Module):
    """Reads pictures (N, 3, S, S) in -1..1; other sizes are scaled to 128 x 128 first.

    Each kind of object looks for itself: a map that learns where it stands picks, by a softmax over
    positions, the features from which its presence and its colour are told.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        wide = 3 * width // 2
        self.fine = _block(3 * STEM**2, width, 1)
        self.coarse = nn.Sequential(_block(width, wide, 2), _block(wide, wide, 1))
        self.scene = nn.Linear(2 * wide, len(TIMES) + len(GROUNDS) + len(STYLES))
        self.merge = nn.Sequential(nn.Conv2d(wide + width, wide, 1), nn.SiLU())
        self.where = nn.Conv2d(wide, len(OBJECTS), 1)
        nn.init.constant_(self.where.bias, RARE)
        self.present = nn.Parameter(torch.zeros(len(OBJECTS), wide))
        self.bias = nn.Parameter(torch.zeros(len(OBJECTS)))
        self.colour = nn.Linear(wide + 3, len(COLOURS))
        self.dense = nn.Conv2d(wide, 1 + len(CLASSES), 1)
        self.density = nn.Conv2d(wide, len(OBJECTS), 1)
        nn.init.constant_(self.density.bias, SPARSE)

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits `time`, `ground`, `style`, `present` (N, objects), `colour` (N, objects, colours),
        `where` (N, objects, 32, 32), `segmentation` (N, classes, 32, 32); `depth` (N, 32, 32) in
        0..1; `density` (N, objects, 32, 32), things per cell, whose sum over the cells is how many
        there are; `features` (N, F)."""
        if pictures.shape[-1] != SIDE:
            pictures = F.interpolate(pictures, (SIDE, SIDE), mode="area")
        fine = self.fine(F.pixel_unshuffle(pictures, STEM))
        coarse = self.coarse(fine)
        pooled = torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3))], 1)
        scene = self.scene(pooled).float()
        time, ground, style = scene.split([len(TIMES), len(GROUNDS), len(STYLES)], 1)
        merged = self.merge(torch.cat([F.interpolate(coarse, scale_factor=2.0), fine], 1))
        maps = self.where(merged).float()
        where = maps.flatten(2)
        attention = where.softmax(-1)
        # The bare colours beside the features: a colour's name is nothing but its pixels.
        both = torch.cat([merged.float(), F.avg_pool2d(pictures, STEM).float()], 1).flatten(2)
        seen = torch.einsum("nkp,nfp->nkf", attention, both)
        present = (seen[..., : merged.shape[1]] * self.present).sum(-1) + self.bias
        dense = self.dense(merged).float()
        return {
            "time": time,
            "ground": ground,
            "style": style,
            "present": present + where.amax(-1),
            "where": maps,
            "colour": self.colour(seen),
            "depth": dense[:, 0].sigmoid(),
            "segmentation": dense[:, 1:],
            "density": self.density(merged).float().clamp(max=2).exp(),
            "features": pooled.float(),
        }


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
    )


def train_judge(config: Config) -> None:
    """Train on the judge's own split; the result is `work/judge.pt`."""
    torch.manual_seed(config.seed)
    pictures = Pictures(config, "judge")
    truth = targets(pictures.labels)
    judge = Judge()
    trainer = Trainer("judge", config, {"judge": judge})
    batch, count = trainer.batch, min(ROUND_TRIPS, len(pictures))
    if trainer.rank == 0:
        round_trips(config, pictures, count)
    wait()
    trips = round_trips(config, pictures, count)

    def loss(turn: int) -> torch.Tensor:
        whole = draw(config.seed, turn, len(pictures), batch // 2)
        tripped = draw(config.seed + 1, turn, len(trips), batch - batch // 2)
        indices = np.concatenate([whole, tripped])
        images = to_tensor(np.concatenate([pictures.read("image", whole), trips[tripped]]))
        images = disturb(images).to(config.device)
        wanted = {k: v[torch.from_numpy(indices)].to(config.device) for k, v in truth.items()}
        wanted["depth"] = small_depth(pictures.read("depth", indices)).to(config.device)
        classes = small_classes(pictures.read("segmentation", indices))
        wanted["segmentation"] = classes.to(config.device)
        where, density = places([pictures.seeds[i] for i in indices])
        wanted["where"], wanted["density"] = where.to(config.device), density.to(config.device)
        if torch.rand(()) < 0.5:
            images = images.flip(-1)
            wanted |= {k: wanted[k].flip(-1) for k in ("depth", "segmentation", "where", "density")}
        return judge_loss(judge(images), wanted)

    trainer.run(loss)


def judge_loss(
    told: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """The sum of all heads' losses."""
    single = [F.cross_entropy(told[k], wanted[k]) for k in ("time", "ground", "style")]
    present = F.binary_cross_entropy_with_logits(told["present"], wanted["present"])
    colour = F.cross_entropy(told["colour"].flatten(0, 1), wanted["colour"].flatten())
    depth = (told["depth"] - wanted["depth"]).abs().mean()
    segmentation = F.cross_entropy(told["segmentation"], wanted["segmentation"])
    where = F.binary_cross_entropy_with_logits(told["where"], wanted["where"])
    # How likely these things are under a Poisson process of this density (Lempitsky & Zisserman 2010
    # for counting by densities): its minimum has the right sum.
    density = told["density"] - wanted["density"] * told["density"].clamp(min=1e-6).log()
    counted = density.sum((2, 3)).mean()
    off = (told["density"].sum((2, 3)) - wanted["density"].sum((2, 3))).abs().mean()
    return (
        sum(single)
        + 5 * present
        + 20 * where
        + colour
        + 2 * depth
        + segmentation
        + counted
        + 3 * off
    )


def targets(labels: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """What the heads should say: class numbers, presence 0/1, colours (UNKNOWN where not named)."""
    colour = torch.full((len(labels), len(OBJECTS)), UNKNOWN)
    present = torch.zeros(len(labels), len(OBJECTS))
    for row, label in enumerate(labels):
        for kind, name in label["objects"].items():
            present[row, OBJECTS.index(kind)] = 1
            if name is not None:
                colour[row, OBJECTS.index(kind)] = COLOURS.index(name)
    return {
        "time": torch.tensor([TIMES.index(label["time"]) for label in labels]),
        "ground": torch.tensor([GROUNDS.index(label["ground"]) for label in labels]),
        "style": torch.tensor([STYLES.index(label["style"]) for label in labels]),
        "present": present,
        "colour": colour,
    }


def places(seeds: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the things of these scenes stand, two maps (N, objects, 32, 32).

    The first is 1 within the ellipse that fills a thing's box: a picture's answer everywhere teaches
    far faster than one word for all of it. The second spreads 1 for each thing over its ellipse.
    """
    side = SIDE // STEM
    grid = (torch.arange(side) + 0.5) / side
    maps = torch.zeros(len(seeds), len(OBJECTS), side, side)
    density = torch.zeros_like(maps)
    for row, seed in enumerate(seeds):
        for thing in random_scene(seed).things:
            x0, y0, x1, y1 = box(thing)
            across = (2 * grid - x0 - x1) / max(x1 - x0, 2 / side)
            down = (2 * grid - y0 - y1) / max(y1 - y0, 2 / side)
            inside = across[None, :].square() + down[:, None].square() < 1
            kind = OBJECTS.index(thing.kind)
            maps[row, kind][inside] = 1
            density[row, kind][inside] += 1 / max(int(inside.sum()), 1)
    return maps, density


def numbers(seeds: Sequence[int]) -> torch.Tensor:
    """How many things of each kind these scenes have: (N, objects)."""
    found = torch.zeros(len(seeds), len(OBJECTS))
    for row, seed in enumerate(seeds):
        for thing in random_scene(seed).things:
            found[row, OBJECTS.index(thing.kind)] += 1
    return found


def small_depth(depth: np.ndarray) -> torch.Tensor:
    """(N, S, S) uint8 to (N, 32, 32) float32 in 0..1."""
    maps = torch.from_numpy(depth)[:, None].float() / 255
    return F.interpolate(maps, (SIDE // 4, SIDE // 4), mode="area")[:, 0]


def small_classes(segmentation: np.ndarray) -> torch.Tensor:
    """(N, S, S, 3) uint8 in the palette's colours to (N, 32, 32) class numbers."""
    step = segmentation.shape[1] // (SIDE // 4)
    middle = segmentation[:, step // 2 :: step, step // 2 :: step].astype(np.int64)
    distance = (middle[..., None, :] - CLASSES).__abs__().sum(-1)
    return torch.from_numpy(distance.argmin(-1))


def disturb(images: torch.Tensor) -> torch.Tensor:
    """Softened and noisy, so that the judge does not depend on a renderer's crispness."""
    if torch.rand(()) < 0.5:
        images = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear")
    return images + 0.1 * torch.rand(()) * torch.randn_like(images)


@torch.no_grad()
def round_trips(config: Config, pictures: Pictures, count: int, batch: int = 32) -> np.ndarray:
    """The first `count` pictures as the autoencoder gives them back, kept in a file once made:
    (N, S, S, 3) uint8."""
    path = config.work / "pictures" / "judge" / "round-trips.npy"
    if path.exists() and len(done := np.load(path)) >= count:
        return done[:count]
    vae = finished_vae(config)
    rows = []
    for start in track(range(0, count, batch), "round trips"):
        indices = np.arange(start, min(start + batch, count))
        images = to_tensor(pictures.read("image", indices)).to(config.device)
        rows.append(to_pixels(vae(images).sample))
    np.save(path, np.concatenate(rows))
    return np.concatenate(rows)


if __name__ == "__main__":
    main(train_judge, __doc__)
