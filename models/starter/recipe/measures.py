"""What pictures are measured by: the judge's answers beside the truth, edges, colours, depth."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from scipy.stats import spearmanr
from velatura.models.starter.recipe.data import to_pixels, to_tensor
from velatura.models.starter.recipe.judge import Judge, small_classes, small_depth
from velatura.models.starter.recipe.world import OBJECTS

CHUNK = 50
ROOF_OR_SAIL = [OBJECTS.index("house"), OBJECTS.index("boat")]
# One thing to the renderer, many to the eye.
MANY = ("stars", "clouds", "mountains", "flowers")

Figures = dict[str, float]


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
def ask(judge: Judge, pictures: np.ndarray) -> dict[str, torch.Tensor]:
    """What the judge sees in pictures (N, S, S, 3) uint8, head by head."""
    device = next(judge.parameters()).device
    answers = [
        judge(to_tensor(pictures[start : start + CHUNK]).to(device))
        for start in range(0, len(pictures), CHUNK)
    ]
    return {k: torch.cat([answer[k] for answer in answers]).float().cpu() for k in answers[0]}


def countable(asked: torch.Tensor) -> torch.Tensor:
    """Which of the numbers (N, objects) can be compared: those of single things that are there."""
    kinds = torch.tensor([kind not in MANY for kind in OBJECTS])
    return (asked > 0) & kinds


def adherence(judge: Judge, pictures: np.ndarray, truth: Mapping[str, torch.Tensor]) -> Figures:
    """How often the judge sees what the labels name.

    object: named objects that appear. phantom: objects that appear unnamed. colour: named colours
    of roofs and sails that are right, of those all kinds as any_colour. number: how often there are as
    many things of a kind as were asked for, of all that can be counted; number_of_several: of those
    of which two or more were.
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
    if "number" in truth:
        told_number, asked = told["density"].sum((2, 3)).round(), truth["number"]
        counted = countable(asked)
        figures["number"] = float((told_number == asked)[counted].float().mean())
        several = counted & (asked > 1)
        if several.any():
            figures["number_of_several"] = float((told_number == asked)[several].float().mean())
    chosen = torch.zeros_like(coloured)
    chosen[:, ROOF_OR_SAIL] = True
    figures["colour"] = float(right[coloured & chosen].float().mean())
    return figures


def spread(judge: Judge, pictures: np.ndarray) -> float:
    """Mean distance between pictures in the judge's features."""
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
