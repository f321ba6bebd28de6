"""How fast an ordinary picture is painted, beside diffusers' stock pipeline and beside the floor.

One picture from noise with guidance, through the worker's engine in this process: Stable Diffusion 1.5
with 25 steps and XL with 30. ``stock`` is diffusers' own pipeline with the same steps and sampler in the
settings that its guides recommend: on CUDA in bf16, with the channels last and UNet and decoder compiled.
``floor`` is the time in which the same operations (counted by torch on one pass) would be done at the
rate of a large matrix product, measured in the same run and the same precision. Turns are interleaved.

    python -m benchmarks.engine [--times 5] [--json]

With CUDA: full-size models with random weights (full_size.py). Without: the starter, and toy models of
the two families' shapes (``reduced``), which say how much is lost around the arithmetic and no more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image, DPMSolverMultistepScheduler
from torch.utils.flop_counter import FlopCounterMode
from velatura.models.devices import choose_device
from velatura.models.library import Library
from velatura.protocol.messages import Generate, Result
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from velatura.server.worker.engine import Engine

from benchmarks import report
from benchmarks.full_size import make_model

STARTER = Path(__file__).parent.parent / "models/starter"
STEPS = {"starter": 25, "sd15": 25, "sdxl": 30}
GUIDANCE, PROMPT = 5.0, "oil painting of a house with a red roof on a meadow at sunset"
SAMPLER = "DPM++ 2M Karras"
# Pictures after which a painter who goes on has passes prepared for this size, on CUDA.
_BEFORE = 4


class Stock:
    """diffusers' own pipeline; ``compiled`` only where that is to be had."""

    def __init__(self, folder: Path, device: str, compiled: bool) -> None:
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        pipe = AutoPipelineForText2Image.from_pretrained(
            folder, local_files_only=True, dtype=dtype
        ).to(device)
        pipe.safety_checker = None
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, use_karras_sigmas=True
        )
        for part in (pipe.unet, pipe.vae):
            part.to(memory_format=torch.channels_last)
        if compiled:
            pipe.fuse_qkv_projections()
            mode = "max-autotune"
            pipe.unet = torch.compile(pipe.unet, mode=mode, fullgraph=True)
            pipe.vae.decode = torch.compile(pipe.vae.decode, mode=mode, fullgraph=True)
        pipe.set_progress_bar_config(disable=True)
        self._pipe = pipe

    def __call__(self, side: int, steps: int, seed: int) -> float:
        start = time.perf_counter()
        self._pipe(
            PROMPT,
            width=side,
            height=side,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=torch.Generator("cpu").manual_seed(seed),
        )
        return time.perf_counter() - start


def ours(engine: Engine, model: str, side: int, steps: int, seed: int) -> float:
    request = Generate(
        job=str(uuid.uuid4()),
        action="generate",
        model=model,
        canvas=Size(side, side),
        region=Rect(0, 0, side, side),
        surroundings=Image(side, side, "rgba8", bytes(4 * side * side)),
        prompt=PROMPT,
        steps=steps,
        guidance=GUIDANCE,
        sampler=SAMPLER,
        seed=seed,
        previews=False,
    )
    got: list[Result] = []
    start = time.perf_counter()
    engine.run(request, lambda e: got.append(e) if isinstance(e, Result) else None, lambda: False)
    took = time.perf_counter() - start
    assert len(got) == 1
    return took


def operations(stock: Stock, side: int, steps: int) -> float:
    """Floating point operations of one picture: all passes of the UNet, and the decoder."""
    counter = FlopCounterMode(display=False)
    with counter:
        stock(side, 2, 0)
    two = counter.get_total_flops()
    counter = FlopCounterMode(display=False)
    with counter:
        stock(side, 3, 0)
    three = counter.get_total_flops()
    return two + (steps - 2) * (three - two)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, the best of several."""
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        _wait(device)
        start = time.perf_counter()
        a @ b
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure_model(folder: Path, side: int, steps: int, times: int) -> dict[str, Any]:
    device, dtype, name = choose_device()
    engine = Engine(Library([folder.parent]), torch.device(device), dtype, name)
    # A compiled pipeline hides its operations.
    count = operations(Stock(folder, device, compiled=False), side, steps)
    stock = Stock(folder, device, compiled=device == "cuda")
    mine: list[float] = []
    theirs: list[float] = []
    for turn in range(_BEFORE):
        ours(engine, folder.name, side, steps, turn)
    engine.wait_until_prepared()
    for turn in range(times + 2):
        pair = ours(engine, folder.name, side, steps, turn), stock(side, steps, turn)
        if turn >= 2:  # caches, kernels, compilers
            mine.append(pair[0])
            theirs.append(pair[1])
    rate = matrix_rate(device, torch.float32 if device == "cpu" else torch.bfloat16)
    floor = count / rate
    return {
        "side": side,
        "steps": steps,
        "ours_s": report.spread(mine),
        "stock_s": report.spread(theirs),
        "ours_to_stock": report.spread([a / b for a, b in zip(mine, theirs, strict=True)]),
        "tera_operations": count / 1e12,
        "matrix_tera_per_s": rate / 1e12,
        "floor_s": floor,
        "ours_to_floor": report.spread([one / floor for one in mine]),
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    device, dtype, name = choose_device()
    figures: dict[str, Any] = {"device": name, "reduced": device != "cuda"}
    if device != "cuda":
        figures["starter"] = measure_model(STARTER, 128, STEPS["starter"], given.times)
    with tempfile.TemporaryDirectory(prefix="velatura-models-") as folder:
        for family in ("sd15", "sdxl"):
            path = Path(folder) / family
            side = make_model(path, family, torch.device(device), dtype, device != "cuda")
            figures[family] = measure_model(path, side, STEPS[family], given.times)
    return figures


if __name__ == "__main__":
    report.run(__doc__, measure, {"--times": {"type": int, "default": 5}})
