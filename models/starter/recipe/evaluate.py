"""Every measured figure of the starter, on scenes and prompts that training never saw.

`python -m velatura.models.starter.recipe.evaluate --json` prints them all as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from velatura.models.starter.recipe import paint
from velatura.models.starter.recipe.config import STARTER, Config, load
from velatura.models.starter.recipe.data import Pictures, to_pixels, to_tensor
from velatura.models.starter.recipe.judge import (
    Judge,
    small_classes,
    small_depth,
    targets,
    trained_judge,
)
from velatura.models.starter.recipe.prompts import full_prompt
from velatura.models.starter.recipe.speed import speeds
from velatura.models.starter.recipe.world import OBJECTS, labels, random_scene, render

CHUNK = 50
VARIETY_SCENES = 20_000
ROOF_OR_SAIL = [OBJECTS.index("house"), OBJECTS.index("boat")]

Figures = dict[str, float]


def evaluate(config: Config, folder: Path = STARTER, count: int = 200) -> dict[str, Figures]:
    """All figures of the checkpoint in `folder`, over `count` held-out scenes. Shares are 0..1."""
    pictures = Pictures(config, "test")
    count = min(count, len(pictures))
    truth = targets(pictures.labels[:count])
    prompts = [full_prompt(label) for label in pictures.labels[:count]]
    judge = trained_judge(config)
    base = paint.load_starter(folder)
    renders = pictures.read("image", np.arange(count))
    trips = round_trips(base.vae, renders)
    figures = {
        "autoencoder": fidelity(renders, trips),
        "judge": adherence(judge, trips, truth) | judge_maps(judge, trips, pictures, count),
    }
    painted = paint.paint(base, prompts)
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


def fidelity(truth: np.ndarray, given: np.ndarray) -> Figures:
    """Mean PSNR in dB, PSNR of the mean error, and the error of each picture's mean colour (of 255)."""
    error = given.astype(np.float64) - truth
    squared = np.square(error).mean((1, 2, 3))
    return {
        "psnr_db": float(np.mean(10 * np.log10(255**2 / squared))),
        "psnr_of_mean_error_db": float(10 * np.log10(255**2 / squared.mean())),
        "mean_colour_error": float(np.abs(error.mean((1, 2))).mean()),
    }


@torch.no_grad()
def round_trips(vae: AutoencoderKL, renders: np.ndarray) -> np.ndarray:
    """Renders (N, S, S, 3) uint8 as the autoencoder gives them back, from the latents' mean."""
    rows = []
    for start in range(0, len(renders), 20):
        latents = vae.encode(to_tensor(renders[start : start + 20]).to(vae.device)).latent_dist.mean
        rows.append(to_pixels(vae.decode(latents).sample))
    return np.concatenate(rows)


@torch.no_grad()
def tiny_fidelity(vae: AutoencoderKL, tiny: torch.nn.Module, renders: np.ndarray) -> Figures:
    """The tiny decoder on the big encoder's latents."""
    rows = []
    for start in range(0, len(renders), 20):
        latents = vae.encode(to_tensor(renders[start : start + 20]).to(vae.device)).latent_dist.mean
        rows.append(to_pixels(tiny.decode(latents * vae.config.scaling_factor).sample))
    return fidelity(renders, np.concatenate(rows))


@torch.no_grad()
def ask(judge: Judge, pictures: np.ndarray) -> dict[str, torch.Tensor]:
    """What the judge sees in pictures (N, S, S, 3) uint8, head by head."""
    device = next(judge.parameters()).device
    answers = [
        judge(to_tensor(pictures[start : start + CHUNK]).to(device))
        for start in range(0, len(pictures), CHUNK)
    ]
    return {k: torch.cat([answer[k] for answer in answers]).float().cpu() for k in answers[0]}


def adherence(judge: Judge, pictures: np.ndarray, truth: Mapping[str, torch.Tensor]) -> Figures:
    """How often the judge sees what the labels name.

    object: named objects that appear. phantom: objects that appear unnamed. colour: named colours
    of roofs and sails that are right, of those all kinds as any_colour.
    """
    told = ask(judge, pictures)
    figures = {
        k: float((told[k].argmax(1) == truth[k]).float().mean())
        for k in ("time", "ground", "style")
    }
    appears, named = told["present"] > 0, truth["present"] > 0
    figures["object"] = float(appears[named].float().mean())
    figures["phantom"] = float(appears[~named].float().mean())
    right, coloured = told["colour"].argmax(2) == truth["colour"], truth["colour"] >= 0
    figures["any_colour"] = float(right[coloured].float().mean())
    chosen = torch.zeros_like(coloured)
    chosen[:, ROOF_OR_SAIL] = True
    figures["colour"] = float(right[coloured & chosen].float().mean())
    return figures


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
        painted.append(_spread(judge, paint.paint(base, [prompt] * len(chosen))))
        renders = [render(random_scene(s), size=config.size, maps=False).image for s in chosen]
        rendered.append(_spread(judge, np.stack(renders)))
    return {
        "painted": float(np.mean(painted)),
        "rendered": float(np.mean(rendered)),
        "ratio": float(np.mean(painted) / np.mean(rendered)),
    }


def _spread(judge: Judge, pictures: np.ndarray) -> float:
    features = ask(judge, pictures)["features"]
    return float(torch.pdist(features).mean())


def depth_agreement(judge: Judge, pictures: np.ndarray, depth: np.ndarray) -> float:
    """Mean Spearman rank correlation of the depth seen with the depth given."""
    seen = ask(judge, pictures)["depth"].flatten(1).numpy()
    given = small_depth(depth).flatten(1).numpy()
    return float(np.mean([spearmanr(a, b).statistic for a, b in zip(seen, given, strict=True)]))


def class_agreement(judge: Judge, pictures: np.ndarray, segmentation: np.ndarray) -> float:
    """Mean over pictures of the mean intersection over union of the classes in the map given."""
    seen = ask(judge, pictures)["segmentation"].argmax(1).numpy()
    given = small_classes(segmentation).numpy()
    scores = []
    for a, b in zip(seen, given, strict=True):
        # A class of a few pixels says nothing at this resolution.
        classes = [c for c in np.unique(b) if (b == c).sum() >= 8]
        overlaps = [((a == c) & (b == c)).sum() / ((a == c) | (b == c)).sum() for c in classes]
        scores.append(np.mean(overlaps))
    return float(np.mean(scores))


def edge_agreement(pictures: np.ndarray, lines: np.ndarray) -> float:
    """Mean F1 of the edges painted and the given lines, at 2 pixels' tolerance."""
    scores = []
    for picture, line in zip(pictures, lines, strict=True):
        painted = cv2.Canny(cv2.GaussianBlur(picture, (0, 0), 1.5), 30, 80) > 0
        wanted = line > 100
        near_wanted = cv2.dilate(wanted.astype(np.uint8), _disc(2)) > 0
        near_painted = cv2.dilate(painted.astype(np.uint8), _disc(2)) > 0
        precision = (painted & near_wanted).sum() / max(painted.sum(), 1)
        recall = (wanted & near_painted).sum() / max(wanted.sum(), 1)
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return float(np.mean(scores))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


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


def show(figures: Mapping[str, Figures]) -> None:
    """A table for people."""
    table = Table("measure", "figure", "value")
    for name, group in figures.items():
        for key, value in group.items():
            table.add_row(name, key, f"{value:.3f}")
    Console().print(table)


def run() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--folder", type=Path, default=STARTER, help="the checkpoint to measure")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--count", type=int, default=200, help="held-out scenes to use")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    figures = evaluate(load(options.profile), options.folder, options.count)
    print(json.dumps(figures, indent=2)) if options.json else show(figures)


if __name__ == "__main__":
    run()
