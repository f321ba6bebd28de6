"""What the whole stack costs on top of the diffusion itself.

Four figures, each a ratio or a time of the same run:

1. ``fill``: a fill of a 512 selection on a 1024 x 1024 canvas through plugin protocol, gateway and
   worker over loopback, beside the same diffusers call made directly in one process.
2. ``instant``: the same request to a worker whose engine returns at once: from send to receive.
3. ``live``: a frame of a live canvas of 1024 x 1024 pixels to the same worker, from send to receive:
   ``whole`` with all its pixels, ``dab`` with 1 % of them. The engine hands the canvas back as it
   is, so all of it is the share of transport, codec and scheduling.
4. ``start``: from the command to the first accepted hello, and to a loaded model.

Pairs are interleaved; the median and the spread (median absolute deviation) are printed.

    python -m benchmarks.overhead [--pairs 7] [--json]
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size, context_region
from velatura.server.local import local_server

from benchmarks import report
from benchmarks.live import Case, Sheet, Stack

SIDE, SELECTION = 1024, Rect(256, 256, 512, 512)
INSTANT = Path(__file__).parent.parent / "tests/server/instant_worker.py"


# The server of the command line with another worker.
_WITH_WORKER = """
import sys
from velatura.protocol.discovery import data_folder
from velatura.server.app import serve
from velatura.server.settings import Settings
serve(Settings(folder=data_folder(), port=0, worker=tuple(sys.argv[1:])), lambda running: None)
"""


def until_listed(client: Client) -> None:
    while not isinstance(event := client.receive(180), m.Catalogue) or not event.models:
        pass


def fill_request(model: str, native: int, steps: int) -> m.Generate:
    """A fill of the 512 selection on a 1024 x 1024 canvas of smooth noise."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (SIDE // 64, SIDE // 64, 3), dtype=np.uint8)
    canvas = np.kron(coarse, np.ones((64, 64, 1), np.uint8))
    canvas = np.dstack([canvas, np.full((SIDE, SIDE), 255, np.uint8)])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[SELECTION.y : SELECTION.bottom, SELECTION.x : SELECTION.right] = 255
    region = context_region(Size(SIDE, SIDE), SELECTION, 1.0, native)
    rows, columns = slice(region.y, region.bottom), slice(region.x, region.right)
    return m.Generate(
        job=str(uuid.uuid4()),
        action="fill",
        model=model,
        canvas=Size(SIDE, SIDE),
        region=region,
        surroundings=Image(
            region.width,
            region.height,
            "rgba8",
            np.ascontiguousarray(canvas[rows, columns]).tobytes(),
        ),
        selection=Image(
            region.width,
            region.height,
            "gray8",
            np.ascontiguousarray(mask[rows, columns]).tobytes(),
        ),
        prompt="a round tree on a meadow by day",
        steps=steps,
        guidance=5.0,
        sampler="DPM++ 2M Karras",
        # One pass, as the stock pipeline beside it.
        detail="fast",
        previews=False,
    )


def through_the_stack(client: Client, request: m.Generate) -> float:
    request = replace(request, job=str(uuid.uuid4()))
    start = time.perf_counter()
    client.send(request)
    client.until_final(request.job)
    took = time.perf_counter() - start
    client.send(m.Acknowledge(job=request.job))
    return took


class Direct:
    """diffusers' stock inpaint pipeline at the same model size, pixels in and pixels out."""

    def __init__(self, folder: Path, side: int) -> None:
        import torch
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionInpaintPipeline
        from PIL import Image as Picture

        self._torch, self._picture, self._side = torch, Picture, side
        # In the precision that the worker chooses for this device.
        from velatura.models.devices import choose_device

        device, dtype, _ = choose_device()
        self._pipeline = StableDiffusionInpaintPipeline.from_pretrained(
            folder, safety_checker=None, local_files_only=True, torch_dtype=dtype
        ).to(device)
        self._pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
            self._pipeline.scheduler.config, use_karras_sigmas=True
        )
        self._pipeline.set_progress_bar_config(disable=True)

    def __call__(self, request: m.Generate) -> float:
        start = time.perf_counter()
        size = (request.region.width, request.region.height)
        picture = self._picture.frombytes("RGBA", size, bytes(request.surroundings.data))
        mask = self._picture.frombytes("L", size, bytes(request.selection.data))
        sides = (self._side, self._side)
        self._pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative,
            image=picture.convert("RGB").resize(sides, self._picture.Resampling.LANCZOS),
            mask_image=mask.resize(sides),
            width=self._side,
            height=self._side,
            strength=1.0,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=self._torch.Generator("cpu").manual_seed(request.seed),
        ).images[0].resize(size, self._picture.Resampling.LANCZOS)
        return time.perf_counter() - start


def live_share(client: Client, turns: int) -> dict[str, dict[str, float]]:
    """Milliseconds; transport, codec and scheduling of live frames."""
    sheet = Sheet(SIDE)
    stack = Stack(client, sheet, Case("instant", INSTANT.parent, SIDE, 4), prompt="same")
    side = SIDE // 10
    taken: dict[str, list[float]] = {"whole": [], "dab": []}
    for turn in range(turns + 3):
        whole = sheet.everything()
        rows = {"whole": stack.send(whole)}
        sheet.pixels[turn : turn + side, turn : turn + side, :3] ^= 64
        rows["dab"] = stack.send(Rect(turn, turn, side, side))
        if turn >= 3:  # buffers and caches
            for name, seconds in rows.items():
                taken[name].append(1000 * seconds)
    client.send(m.LiveClose(job=stack.job))
    return {name: report.spread(values) for name, values in taken.items()}


def measure(given: argparse.Namespace) -> dict[str, object]:
    pairs, steps = given.pairs, given.steps
    figures: dict[str, object] = {"pairs": pairs, "steps": steps}
    worker = [sys.executable, "-c", _WITH_WORKER, sys.executable, str(INSTANT)]
    with local_server("benchmark", worker) as client:
        until_listed(client)
        request = fill_request("instant", 512, steps)
        through_the_stack(client, request)
        times = [through_the_stack(client, request) for _ in range(pairs * 5)]
        figures["instant_ms"] = report.spread([1000 * t for t in times])
        figures["live_ms"] = live_share(client, pairs * 5)
    start = time.perf_counter()
    with local_server("benchmark") as client:
        greeted = time.perf_counter() - start
        until_listed(client)
        listed = time.perf_counter() - start
        request = fill_request("starter", 128, steps)
        first = through_the_stack(client, request)
        figures["start_s"] = {"hello": greeted, "catalogue": listed, "first_picture": first}
        direct = Direct(Path(__file__).parent.parent / "models/starter", 128)
        direct(request)
        ours, theirs = [], []
        for _ in range(pairs):
            ours.append(through_the_stack(client, request))
            theirs.append(direct(request))
    figures["stack_s"], figures["direct_s"] = report.spread(ours), report.spread(theirs)
    figures["ratio"] = report.spread([a / b for a, b in zip(ours, theirs, strict=True)])
    return figures


if __name__ == "__main__":
    report.run(
        __doc__,
        measure,
        {"--pairs": {"type": int, "default": 7}, "--steps": {"type": int, "default": 20}},
    )
