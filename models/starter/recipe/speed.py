"""How long the exported starter takes on this machine, as it is.

`python -m velatura.models.starter.recipe.speed` prints wall seconds, and the machine's load beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from velatura.models.starter.recipe import paint
from velatura.models.starter.recipe.config import STARTER

SIDE = 256
REPEATS = 5


def speeds(folder: Path = STARTER) -> dict[str, float]:
    """Wall seconds: loading, one guided picture of 20 steps, one few-step picture with the tiny
    decoder, both 256 x 256 and the best of REPEATS. `load_average`: of the minute before, with `cores`
    beside it: more work than cores makes everything slower."""
    figures = {"load_average": os.getloadavg()[0], "cores": float(os.cpu_count() or 1)}
    began = time.perf_counter()
    base = paint.load_starter(folder)
    figures["load"] = time.perf_counter() - began
    figures["guided_20_steps_256"] = _timed(base, guidance=paint.GUIDANCE, steps=paint.STEPS)
    if (folder / "vae-tiny").exists() and (folder / "lora-few-step.safetensors").exists():
        quick = paint.few_step(folder)
        figures["few_steps_256"] = _timed(quick, guidance=1.0, steps=paint.FEW_STEPS)
    return figures


def _timed(pipeline: StableDiffusionPipeline, **arguments) -> float:
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        paint.paint(pipeline, ["a house on a meadow"], height=SIDE, width=SIDE, **arguments)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def run() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=STARTER, help="the checkpoint to time")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    print(json.dumps(speeds(options.folder), indent=2))


if __name__ == "__main__":
    run()
