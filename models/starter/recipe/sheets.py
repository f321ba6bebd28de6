"""Contact sheets for people to look at: prompts, controls with their maps, strengths."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from velatura.models.starter.recipe import paint
from velatura.models.starter.recipe.config import STARTER, Config, load
from velatura.models.starter.recipe.data import Pictures
from velatura.models.starter.recipe.evaluate import rgb
from velatura.models.starter.recipe.networks import CONTROL_KINDS
from velatura.models.starter.recipe.prompts import full_prompt

PROMPTS = (
    "oil painting of a house with a red roof on a meadow by day, the sun, clouds",
    "flat illustration of a boat with a blue sail at sea at sunset, the sun, mountains",
    "a pine tree in the snow at night, the moon, stars, flat illustration",
    "watercolour of a red and white lighthouse at sea under a grey sky",
    "ink drawing of a bridge on a meadow by day, clouds",
    "coloured pencil drawing of a round tree on a meadow at sunset",
    "an apple and a pear on a wooden table by day, oil painting",
    "flat illustration of a figure in a yellow coat in the desert by day",
    "oil painting, a boat with a red sail at sea by day, clouds",
    "a house with a purple roof in the snow under a grey sky, flat drawing",
    "oil on canvas, red flowers on a green meadow at sunset, mountains in the distance",
    "flat illustration, a green and white lighthouse on a meadow at night, the moon",
    "oil painting of the desert at sunset, the sun, mountains",
    "a blue bowl on a table and an orange to the right, oil painting",
    "flat illustration of a house with a blue roof and a pine tree on the left, by day",
    "watercolour, a boat with yellow sails on the water at sunset",
    "oil painting of mountains and the moon at night, at sea",
    "two pine trees in the snow by day, the sun, oil painting",
    "flat drawing of a house with an orange roof in the desert at night, stars",
    "a figure in a red coat in front of a house, in the snow, oil painting",
    "ink and wash drawing of a lighthouse at sea at sunset",
    "oil painting of a round tree behind a house with a green roof under a blue sky",
    "flat illustration of white flowers on a meadow at night, the moon",
    "watercolour painting of a pear on a table in grey light",
)


def draw_sheets(config: Config, folder: Path, out: Path) -> list[Path]:
    """Paint every sheet that the parts in `folder` allow; the paths written."""
    base = paint.load_starter(folder)
    pictures = Pictures(config, "test")
    chosen = np.arange(8)
    prompts = [full_prompt(pictures.labels[i]) for i in chosen]
    sheets = {"prompts": _grid(paint.paint(base, PROMPTS), 6, PROMPTS)}
    for kind in CONTROL_KINDS:
        if (folder / f"controlnet-{kind}").exists():
            maps = rgb(pictures.read(kind, chosen))
            painted = paint.paint(paint.with_control(base, kind), prompts, images=maps)
            sheets[f"control-{kind}"] = _grid(np.concatenate([maps, painted]), 8)
    if (folder / "unet-depth").exists():
        depth = pictures.read("depth", chosen)
        guided = paint.with_depth(base)
        rows = [paint.paint_depth(guided, prompts, depth, weight) for weight in (1, 2)]
        sheets["depth-unet"] = _grid(np.concatenate([rgb(depth), *rows]), 8)
    if (folder / "lora-few-step.safetensors").exists():
        quick = paint.few_step(folder, tiny=(folder / "vae-tiny").exists())
        painted = paint.paint(quick, PROMPTS, guidance=1.0, steps=paint.FEW_STEPS)
        sheets["few-step"] = _grid(painted, 6, PROMPTS)
    if (folder / "lora-style-cyanotype.safetensors").exists():
        styled = paint.load_starter(folder)
        styled.load_lora_weights(folder, weight_name="lora-style-cyanotype.safetensors")
        rows = [paint.paint(pipeline, PROMPTS[:8]) for pipeline in (base, styled)]
        sheets["style-cyanotype"] = _grid(np.concatenate(rows), 8)
    sheets["strengths"] = _strengths(base, pictures)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"starter-{name}.jpg" for name in sheets]
    for path, sheet in zip(paths, sheets.values(), strict=True):
        sheet.save(path, quality=88)
    return paths


def _strengths(base, pictures: Pictures) -> Image.Image:
    """One source in each row, refined at strengths 0.2 to 1.0 towards another time of day."""
    sources = pictures.read("image", np.arange(4))
    times = ("at sunset", "at night", "by day", "at night")
    rows = []
    refine = paint.image_to_image(base)
    for i, (source, time) in enumerate(zip(sources, times, strict=True)):
        label = pictures.labels[i]
        prompt = full_prompt(label).split(", ")[0] + f", {label['ground']}, {time}"
        painted = [
            paint.paint(refine, [prompt], images=[source], strength=strength)[0]
            for strength in (0.2, 0.4, 0.6, 0.8, 1.0)
        ]
        rows += [source, *painted]
    return _grid(np.stack(rows), 6)


def _grid(pictures: np.ndarray, columns: int, texts: Sequence[str] = ()) -> Image.Image:
    side, line = pictures.shape[1], 12
    caption = 3 * line if texts else 0
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 4), rows * (side + caption + 4)), "white")
    brush = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        x, y = i % columns * (side + 4), i // columns * (side + caption + 4)
        sheet.paste(Image.fromarray(picture), (x, y))
        if texts:
            brush.multiline_text((x, y + side), _wrap(texts[i], side // 6), "black", font_size=9)
    return sheet


def _wrap(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word + " "
    return "\n".join(lines[:3])


def run() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--folder", type=Path, default=STARTER, help="the checkpoint to show")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    for path in draw_sheets(load(options.profile), options.folder, options.out):
        print(path)


if __name__ == "__main__":
    run()
