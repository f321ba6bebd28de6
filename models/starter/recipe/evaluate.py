"""Every measured figure of the starter, on scenes and prompts that training never saw.

`python -m velatura.models.starter.recipe.evaluate --json [FOLDER ...]` prints them all as one JSON
object, by folder: old and new weights side by side, measured by the same rulers in one run.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from rich.console import Console
from rich.table import Table
from velatura.models.enlarger import ENLARGER, load_enlarger
from velatura.models.starter.recipe import paint
from velatura.models.starter.recipe.config import STARTER, Config, load
from velatura.models.starter.recipe.crops import CropNet
from velatura.models.starter.recipe.data import Pictures, to_pixels, to_tensor
from velatura.models.starter.recipe.judge import Judge, numbers, targets
from velatura.models.starter.recipe.measures import (
    Figures,
    adherence,
    class_agreement,
    depth_agreement,
    edge_agreement,
    fidelity,
    round_trips,
    spread,
)
from velatura.models.starter.recipe.prompts import full_prompt
from velatura.models.starter.recipe.rulers import RULERS, load_rulers
from velatura.models.starter.recipe.sharpness import frechet_figures, sharpness
from velatura.models.starter.recipe.soften import shrink
from velatura.models.starter.recipe.speed import speeds
from velatura.models.starter.recipe.world import labels, random_scene, render

VARIETY_SCENES = 20_000
REFINE_STRENGTH = 0.5


def evaluate(
    config: Config, folder: Path = STARTER, scenes: int = 400, rulers: Path = RULERS
) -> dict[str, Figures]:
    """All figures of the checkpoint in `folder`, over held-out scenes. Shares are 0..1."""
    pictures = Pictures(config, "test")
    count = min(scenes, len(pictures))
    truth = targets(pictures.labels[:count])
    truth["number"] = numbers(pictures.seeds[:count])
    prompts = scene_prompts(pictures, count)
    judge, crop_judge, _ = load_rulers(rulers, config.device)
    base = paint.load_starter(folder)
    renders = pictures.read("image", np.arange(count))
    trips = round_trips(base.vae, renders)
    painted = paint.paint(base, prompts)
    figures = {"autoencoder": fidelity(renders, trips)}
    figures |= enlarged_figures(crop_judge, base, prompts, painted, config, folder)
    figures["judge on renders"] = adherence(judge, renders, truth)
    maps = judge_maps(judge, trips, pictures, count)
    figures["judge on round trips"] = adherence(judge, trips, truth) | maps
    figures["base"] = adherence(judge, painted, truth)
    shuffled = np.random.default_rng(0).permutation(count)
    figures["shuffled prompts"] = adherence(
        judge, painted, {k: v[torch.from_numpy(shuffled)] for k, v in truth.items()}
    )
    figures["without guidance"] = adherence(judge, paint.paint(base, prompts, guidance=1.0), truth)
    figures["variety"] = variety(judge, base, config)
    if (folder / "lora-few-step.safetensors").exists():
        few = paint.few_step(folder, tiny=False)
        quick = paint.paint(few, prompts, guidance=1.0, steps=paint.FEW_STEPS)
        figures["few steps"] = adherence(judge, quick, truth)
    if (folder / "vae-tiny").exists():
        tiny = paint.few_step(folder).vae
        figures["tiny decoder"] = tiny_fidelity(base.vae, tiny, renders)
    figures |= control_figures(judge, base, prompts, pictures, painted, trips, folder)
    figures["seconds on this machine"] = speeds(folder)
    return figures


def scene_prompts(pictures: Pictures, count: int) -> list[str]:
    """Full prompts of the first `count` scenes, with how many there are of each thing."""
    counts = (Counter(t.kind for t in random_scene(s).things) for s in pictures.seeds[:count])
    return [
        full_prompt(label, number)
        for label, number in zip(pictures.labels[:count], counts, strict=True)
    ]


def enlarged_figures(
    crop_judge: CropNet,
    base: StableDiffusionPipeline,
    prompts: list[str],
    painted: np.ndarray,
    config: Config,
    folder: Path,
) -> dict[str, Figures]:
    """Sharpness and textures at four times the size, by interpolation and by the enlarger.

    On half of the large test scenes; the renders of the other half are what textures should be
    like, and their distance from the first half's renders is the best that can be had.
    """
    large = Pictures(config, "large-test")
    half = min(len(large) // 2, len(prompts))
    renders = large.read("image", np.arange(half))
    reference = large.read("image", np.arange(half, 2 * half))
    styles = [label["style"] for label in large.labels[:half]]
    small = np.stack([shrink(render) for render in renders])
    refined = paint.paint(
        paint.image_to_image(base), prompts[:half], images=small, strength=REFINE_STRENGTH
    )
    sources = {"generate": painted[:half], "refine": refined}
    made = {f"{k}, interpolated": np.stack([grow(p) for p in v]) for k, v in sources.items()}
    if (folder / ENLARGER).exists():
        network = load_enlarger(folder / ENLARGER)
        for name, soft in sources.items():
            floats = soft.astype(np.float32) / 255
            enlarged = [np.rint(255 * network.enlarge(p)).astype(np.uint8) for p in floats]
            made[f"{name}, enlarged"] = np.stack(enlarged)
    figures = {f"{k} (large)": sharpness(v, renders, styles) for k, v in made.items()}
    figures["Fréchet distance"] = frechet_figures(
        crop_judge, made | {"renders of the same scenes": renders}, reference
    )
    return figures


def grow(picture: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 four times as wide and high by bicubic interpolation."""
    return cv2.resize(picture, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)


@torch.no_grad()
def tiny_fidelity(vae: AutoencoderKL, tiny: torch.nn.Module, renders: np.ndarray) -> Figures:
    """The tiny decoder on the big encoder's latents."""
    rows = []
    for start in range(0, len(renders), 20):
        latents = vae.encode(to_tensor(renders[start : start + 20]).to(vae.device)).latent_dist.mean
        rows.append(to_pixels(tiny.decode(latents * vae.config.scaling_factor).sample))
    return fidelity(renders, np.concatenate(rows))


def judge_maps(judge: Judge, trips: np.ndarray, pictures: Pictures, count: int) -> Figures:
    """How well the judge itself reads depth and segmentation."""
    indices = np.arange(count)
    return {
        "depth_rank_correlation": depth_agreement(judge, trips, pictures.read("depth", indices)),
        "segmentation_iou": class_agreement(judge, trips, pictures.read("segmentation", indices)),
    }


def variety(judge: Judge, base: StableDiffusionPipeline, config: Config) -> Figures:
    """Mean distance between pictures of one prompt, in the judge's features, beside that between
    renders of scenes whose labels, and so whose full prompts, are the same."""
    groups: dict[str, list[int]] = {}
    for seed in range(config.test_seed, config.test_seed + VARIETY_SCENES):
        groups.setdefault(full_prompt(labels(random_scene(seed))), []).append(seed)
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))[:8]
    painted, rendered = [], []
    for prompt, seeds in largest:
        chosen = seeds[:6]
        painted.append(spread(judge, paint.paint(base, [prompt] * len(chosen))))
        renders = [render(random_scene(s), size=config.size, maps=False).image for s in chosen]
        rendered.append(spread(judge, np.stack(renders)))
    return {
        "painted": float(np.mean(painted)),
        "rendered": float(np.mean(rendered)),
        "ratio": float(np.mean(painted) / np.mean(rendered)),
    }


def control_figures(
    judge: Judge,
    base: StableDiffusionPipeline,
    prompts: list[str],
    pictures: Pictures,
    free: np.ndarray,
    trips: np.ndarray,
    folder: Path,
) -> dict[str, Figures]:
    """Agreement with the map given, with the control and (`free`) without, for each that is there.

    Ceilings: `render` is what the scene's own picture scores, `round_trip` what is left of it behind
    the autoencoder (`trips`). Lines are compared on flat pictures only: the strokes of the other styles
    are edges that no line map holds.
    """
    indices = np.arange(len(prompts))
    flat = np.array([label["style"] == "flat" for label in pictures.labels[: len(prompts)]])
    measures = {"line": lambda painted, maps: edge_agreement(painted[flat], maps[flat])}
    measures["depth"] = lambda painted, maps: depth_agreement(judge, painted, maps)
    measures["segmentation"] = lambda painted, maps: class_agreement(judge, painted, maps)
    figures = {}
    for kind, agreement in measures.items():
        maps = pictures.read(kind, indices)
        without = agreement(free, maps)
        if (folder / f"controlnet-{kind}").exists():
            painted = paint.paint(paint.with_control(base, kind), prompts, images=rgb(maps))
            figures[f"{kind} control"] = {
                "with": agreement(painted, maps),
                "without": without,
                "render": agreement(pictures.read("image", indices), maps),
                "round_trip": agreement(trips, maps),
            }
    if (folder / "unet-depth").exists():
        depth, classes = (pictures.read(kind, indices) for kind in ("depth", "segmentation"))
        guided = paint.with_depth(base)
        painted = {
            f"influence {weight:g}": paint.paint_depth(guided, prompts, depth, weight)
            for weight in (1, 2)
        }
        for name, made in {**painted, "without": free}.items():
            figures[f"depth UNet, {name}"] = {
                "depth": depth_agreement(judge, made, depth),
                "segmentation": class_agreement(judge, made, classes),
            }
    return figures


def rgb(maps: np.ndarray) -> np.ndarray:
    """Grey maps (N, S, S) as (N, S, S, 3); colour maps as they are."""
    return maps if maps.ndim == 4 else np.repeat(maps[..., None], 3, axis=-1)


def show(measured: Mapping[str, Mapping[str, Figures]]) -> None:
    """A table for people, one column for each folder."""
    table = Table("measure", "figure", *measured)
    rows = {(name, key): None for one in measured.values() for name in one for key in one[name]}
    for name, key in rows:
        values = (one.get(name, {}).get(key) for one in measured.values())
        table.add_row(name, key, *("" if v is None else f"{v:.3f}" for v in values))
    Console().print(table)


def run() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument(
        "folders", type=Path, nargs="*", default=[STARTER], help="the checkpoints to measure"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--scenes", type=int, default=400, help="held-out scenes to use")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    config = load(options.profile)
    measured = {str(f): evaluate(config, f, options.scenes) for f in options.folders}
    if not options.json:
        show(measured)
        return
    told: dict[str, Any] = {"rulers": load_rulers()[2], "scenes": options.scenes, **measured}
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    run()
