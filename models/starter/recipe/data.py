"""Rendered pictures on disk, in shards that appear whole, and batches drawn from them by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from velatura.models.starter.recipe.config import Config


class Pictures:
    """The shards of one split of `render.SPLITS`, read in place.

    Raises FileNotFoundError when nothing was rendered yet.
    """

    def __init__(
        self,
        config: Config,
        split: str,
        shards: Sequence[Path] | None = None,
        named: str = "image",
    ) -> None:
        """Read `shards` only, if given, and only those that have the map `named`."""
        folder = config.work / "pictures" / split
        there = shards or sorted(folder.glob("[0-9]*[0-9]"))
        self.shards = [shard for shard in there if (shard / f"{named}.npy").exists()]
        if not self.shards:
            raise FileNotFoundError(f"No pictures of split {split!r}: run the render stage first.")
        texts = [json.loads((shard / "scenes.json").read_text()) for shard in self.shards]
        self.captions: list[list[str]] = [scene["captions"] for text in texts for scene in text]
        self.labels: list[dict[str, Any]] = [scene["labels"] for text in texts for scene in text]
        self.seeds: list[int] = [scene["seed"] for text in texts for scene in text]
        starts = np.cumsum([0, *(len(text) for text in texts)])
        self._place = [(shard, i) for shard, text in enumerate(texts) for i in range(len(text))]
        self._maps = {
            path.stem: [np.load(shard / path.name, mmap_mode="r") for shard in self.shards]
            for path in self.shards[0].glob("*.npy")
        }
        assert starts[-1] == len(self.captions)

    def __len__(self) -> int:
        return len(self.captions)

    def read(self, name: str, indices: np.ndarray) -> np.ndarray:
        """One map of several pictures of one size: (N, S, S) or (N, S, S, 3), uint8."""
        maps = self._maps[name]
        return np.stack([maps[shard][i] for shard, i in (self._place[int(k)] for k in indices)])

    def one(self, name: str, index: int) -> np.ndarray:
        """One map of one picture, on disk until it is read."""
        shard, i = self._place[index]
        return self._maps[name][shard][i]


def save_shard(folder: Path, maps: dict[str, np.ndarray], scenes: list[dict[str, Any]]) -> None:
    """Write a shard so that it is either there whole or not at all."""
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    for name, array in maps.items():
        np.save(part / f"{name}.npy", array)
    (part / "scenes.json").write_text(json.dumps(scenes))
    part.rename(folder)


def draw(seed: int, step: int, total: int, batch: int) -> np.ndarray:
    """Indices of one batch. The same seed and step always draw the same."""
    return np.random.default_rng((seed, step)).integers(0, total, batch)


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """(N, S, S[, 3]) uint8 to (N, C, S, S) float32 in -1..1, channels last in memory."""
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_pixels(pictures: torch.Tensor) -> np.ndarray:
    """(N, 3, S, S) in -1..1 to (N, S, S, 3) uint8."""
    scaled = pictures.float().clamp(-1, 1).add(1).mul(127.5).round()
    return scaled.permute(0, 2, 3, 1).byte().cpu().numpy()
