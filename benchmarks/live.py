"""How fast the polished picture follows the brush: the whole stack beside a bare diffusers loop.

A recorded brush session (data/brush.json) is painted dab by dab on a canvas of the model's native
size. Each dab is sent as a live frame through plugin protocol, gateway and worker over loopback, and
counts only when its own revision has come back: ``latency`` is from send to there. ``bare`` is
diffusers' own image-to-image pipeline on the whole frame: same model, weights, size and number of
steps, in this process, and nothing around it. Turns are interleaved.

    python -m benchmarks.live [--dabs 40] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderTiny, LCMScheduler, StableDiffusionImg2ImgPipeline
from PIL import Image as Picture
from velatura.models.few_step import has_few_step, load_few_step
from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from velatura.server.local import local_server

STARTER = Path(__file__).parent.parent / "models/starter"
SESSION = Path(__file__).parent / "data/brush.json"
STEPS, STRENGTH, PROMPT = 4, 0.4, "flat illustration of a pine tree on a meadow, the sun"


class Sheet:
    """The canvas that the session is painted on, opaque RGBA."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.pixels = np.full((side, side, 4), 255, np.uint8)
        self._recorded = json.loads(SESSION.read_text("utf-8"))
        self.dabs = self._recorded["dabs"]

    def dab(self, number: int) -> Rect:
        """Paint one dab; the rectangle that it changed."""
        _, x, y, radius, *colour = self.dabs[number]
        scale = self.side / self._recorded["sheet"]
        x, y, radius = round(x * scale), round(y * scale), max(1, round(radius * scale))
        cv2.circle(self.pixels, (x, y), radius, (*colour, 255), -1)
        left, top = max(0, x - radius), max(0, y - radius)
        right, bottom = min(self.side, x + radius + 1), min(self.side, y + radius + 1)
        return Rect(left, top, right - left, bottom - top)


class Stack:
    """A live canvas of a server."""

    def __init__(self, client: Client, sheet: Sheet) -> None:
        self._client, self._sheet = client, sheet
        self._job, self._revision = str(uuid.uuid4()), 0
        area = Size(sheet.side, sheet.side)
        client.send(
            m.LiveOpen(
                job=self._job,
                model="starter",
                area=area,
                prompt=PROMPT,
                steps=STEPS,
                strength=STRENGTH,
            )
        )
        self.send(Rect(0, 0, sheet.side, sheet.side), key=True)

    def send(self, rect: Rect, *, key: bool = False) -> float:
        """Seconds until the frame's own revision is back."""
        part = self._sheet.pixels[rect.y : rect.bottom, rect.x : rect.right]
        picture = Image(rect.width, rect.height, "rgba8", np.ascontiguousarray(part).tobytes())
        base = 0 if key else self._revision
        self._revision += 1
        start = time.perf_counter()
        self._client.send(
            m.LiveFrame(
                job=self._job,
                revision=self._revision,
                base=base,
                x=rect.x,
                y=rect.y,
                picture=picture,
            )
        )
        while True:
            event = self._client.receive(180)
            if isinstance(event, m.Error):
                raise RuntimeError(event.message)
            if isinstance(event, m.LiveResult) and event.revision == self._revision:
                return time.perf_counter() - start


class Bare:
    """diffusers alone."""

    def __init__(self) -> None:
        pipe = StableDiffusionImg2ImgPipeline.from_pretrained(
            STARTER, safety_checker=None, local_files_only=True
        )
        pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
        pipe.vae = AutoencoderTiny.from_pretrained(STARTER / "vae-tiny")
        if has_few_step(STARTER):
            pipe.unet = load_few_step(STARTER, pipe.unet)
        pipe.set_progress_bar_config(disable=True)
        self._pipe = pipe

    def __call__(self, pixels: np.ndarray) -> float:
        start = time.perf_counter()
        self._pipe(
            PROMPT,
            Picture.fromarray(pixels[..., :3]),
            strength=STRENGTH,
            # diffusers runs int(steps * strength) of them.
            num_inference_steps=round(STEPS / STRENGTH),
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(0),
        )
        return time.perf_counter() - start


def until_ready(client: Client) -> None:
    """A canvas that is opened earlier waits, and is asked for a key frame."""
    while not isinstance(event := client.receive(180), m.Status) or event.worker != "ready":
        pass


def measure(dabs: int) -> dict[str, object]:
    side = json.loads((STARTER / "unet/config.json").read_text("utf-8"))["sample_size"] * 8
    sheet, bare = Sheet(side), Bare()
    ours: list[float] = []
    theirs: list[float] = []
    with local_server("benchmark") as client:
        until_ready(client)
        stack = Stack(client, sheet)
        bare(sheet.pixels)
        for number in range(min(dabs, len(sheet.dabs))):
            ours.append(stack.send(sheet.dab(number)))
            theirs.append(bare(sheet.pixels))
    return {
        "side": side,
        "steps": STEPS,
        "dabs": len(ours),
        "pictures_per_second": 1 / statistics.mean(ours),
        "latency_ms": {"p50": _percentile(ours, 0.5), "p95": _percentile(ours, 0.95)},
        "bare_ms": {"p50": _percentile(theirs, 0.5), "p95": _percentile(theirs, 0.95)},
        "ratio": statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
    }


def _percentile(seconds: list[float], part: float) -> float:
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dabs", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = measure(given.dabs)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
