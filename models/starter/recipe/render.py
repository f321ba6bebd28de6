"""Stage 1: render the pictures, their maps and their captions to disk."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
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


def render_pictures(config: Config, workers: int | None = None) -> None:
    """Render every split, on all cores unless `workers` says less; shards that are there are kept."""
    splits = {
        "train": (0, config.pictures),
        "judge": (config.judge_seed, max(config.pictures // 3, 2)),
        "test": (config.test_seed, max(config.pictures // 25, 2)),
    }
    tasks: list[tuple[Config, Path, range]] = []
    for split, (first, count) in splits.items():
        folder = config.work / "pictures" / split
        folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, count, SHARD):
            target = folder / f"{start // SHARD:05d}"
            if not target.exists():
                stop = min(start + SHARD, count)
                tasks.append((config, target, range(first + start, first + stop)))
    if workers == 1:
        for task in track(tasks, "render"):
            _render_shard(task)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in track(pool.imap(_render_shard, tasks), "render", total=len(tasks)):
            pass


def _render_shard(task: tuple[Config, Path, range]) -> None:
    config, target, seeds = task
    maps: dict[str, list[np.ndarray]] = {"image": [], "depth": [], "segmentation": [], "line": []}
    scenes = []
    for seed in seeds:
        scene = random_scene(seed)
        picture = render(scene, size=config.size)
        rng = np.random.default_rng(seed)
        # One line map in three stays exact, the others look hand-drawn or detected.
        line = picture.line if rng.random() < 1 / 3 else disturb_line(picture.line, rng)
        for name, array in (
            ("image", picture.image),
            ("depth", picture.depth),
            ("segmentation", picture.segmentation),
            ("line", line),
        ):
            maps[name].append(array)
        captions = [caption(scene, seed * config.captions + i) for i in range(config.captions)]
        scenes.append({"seed": seed, "captions": captions, "labels": labels(scene)})
    save_shard(target, {name: np.stack(arrays) for name, arrays in maps.items()}, scenes)


if __name__ == "__main__":
    main(render_pictures, __doc__)
