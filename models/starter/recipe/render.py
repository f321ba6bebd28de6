"""Stage 1: render the pictures, their maps and their captions to disk."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import Config
from velatura.models.starter.recipe.data import save_shard
from velatura.models.starter.recipe.world import (
    caption,
    disturb_line,
    labels,
    random_scene,
    render,
)

SHARD = 500
LARGE_SHARD = 100
LARGE_TEST = 400
# One class for so many pixels of a large picture is enough to say what is there.
LARGE_CELL = 8
SPLITS = ("train", "judge", "test", "large-train", "large-judge", "large-test")


@dataclass(frozen=True)
class Shard:
    """Pictures of neighbouring seeds, to be written into `target`; large ones keep the picture and
    its segmentation, one class for LARGE_CELL x LARGE_CELL pixels."""

    target: Path
    seeds: range
    size: int
    captions: int
    large: bool


def render_pictures(config: Config, split: str = "", workers: int | None = None) -> None:
    """Render one split, or every split, in as many processes as torch has threads unless `workers`
    says otherwise; shards that are there are kept."""
    tasks = [
        shard
        for name in ([split] if split else SPLITS)
        for shard in shards(config, name)
        if not shard.target.exists()
    ]
    workers = workers or torch.get_num_threads()
    if workers == 1:
        for task in track(tasks, f"render {split}"):
            render_shard(task)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in track(pool.imap(render_shard, tasks), f"render {split}", total=len(tasks)):
            pass


def shards(config: Config, split: str) -> list[Shard]:
    """What a split consists of. Large test pictures are of the scenes of the small ones."""
    first, count = {
        "train": (0, config.pictures),
        "judge": (config.judge_seed, max(config.pictures // 3, 2)),
        "test": (config.test_seed, max(config.pictures // 25, 2)),
        "large-train": (0, config.large_pictures),
        "large-judge": (config.judge_seed, max(config.large_pictures // 4, 2)),
        "large-test": (config.test_seed, min(config.large_pictures, LARGE_TEST)),
    }[split]
    large = split.startswith("large")
    sizes = [config.size]
    if large:
        # What is measured has one size.
        sizes = list(config.large_sizes)[: 1 if split == "large-test" else None]
    per_shard = LARGE_SHARD if large else SHARD
    return [
        Shard(
            config.work / "pictures" / split / f"{i:05d}",
            range(first + start, first + min(start + per_shard, count)),
            sizes[i % len(sizes)],
            config.captions,
            large,
        )
        for i, start in enumerate(range(0, count, per_shard))
    ]


def render_shard(shard: Shard) -> None:
    """Render one shard and write it."""
    rows: list[dict[str, np.ndarray]] = []
    scenes = []
    for seed in shard.seeds:
        scene = random_scene(seed)
        picture = render(scene, size=shard.size)
        if shard.large:
            half = LARGE_CELL // 2
            classes = picture.segmentation[half::LARGE_CELL, half::LARGE_CELL]
            rows.append({"image": picture.image, "segmentation": classes})
        else:
            rng = np.random.default_rng(seed)
            # One line map in three stays exact, the others look hand-drawn or detected.
            line = picture.line if rng.random() < 1 / 3 else disturb_line(picture.line, rng)
            rows.append(
                {
                    "image": picture.image,
                    "depth": picture.depth,
                    "segmentation": picture.segmentation,
                    "line": line,
                }
            )
        captions = [caption(scene, seed * shard.captions + i) for i in range(shard.captions)]
        scenes.append({"seed": seed, "captions": captions, "labels": labels(scene)})
    shard.target.parent.mkdir(parents=True, exist_ok=True)
    save_shard(shard.target, {k: np.stack([row[k] for row in rows]) for k in rows[0]}, scenes)


if __name__ == "__main__":
    main(render_pictures, __doc__, SPLITS)
