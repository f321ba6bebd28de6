"""How fast the polished picture follows the brush: the whole stack beside a bare diffusers loop.

A brush session that was recorded in Krita (data/brush.zip, made by record.py) is painted dab by dab on a
canvas; each dab changes at least 1 % of it. It is sent as a live frame through plugin protocol, gateway
and worker over loopback, and counts only when its own revision has come back: ``latency`` is from send
to there. ``bare`` is diffusers' own image-to-image pipeline on the whole picture of the size that the
model sees: same model, weights and number of steps, the tiny autoencoder, in this process and nothing
around it; on CUDA in bf16, with the channels last and compiled. Turns are interleaved.

``brush`` is the session as painters see it: only the part around a dab is repainted. ``whole`` has every
pixel changed, so that our stack does the same work as the bare loop.

    python -m benchmarks.live [--dabs 73] [--wholes 10] [--warm 1800] [--json]

On CUDA it is measured when all passes are prepared, or after ``--warm`` seconds (``still_warming``).
On a CPU: the starter, on a canvas of 1024 x 1024 pixels. With CUDA: full-size models with random
weights (full_size.py), Stable Diffusion 1.5 at 512 with 1 and 4 steps and XL at 1024 with 4; ``--toy``
runs those at toy size on any device, to see that they run.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import AutoencoderTiny, AutoPipelineForImage2Image, LCMScheduler
from PIL import Image as Picture
from velatura.models.devices import choose_device
from velatura.models.families.unet.few_step import with_loras
from velatura.models.few_step import find_few_step
from velatura.protocol import messages as m
from velatura.protocol.client import Client
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from velatura.server.local import SERVE, local_server
from velatura.server.worker.live.plan import make_live_plan

from benchmarks import report
from benchmarks.full_size import FAMILIES, make_model

STARTER = Path(__file__).parent.parent / "models/starter"
SESSION = Path(__file__).parent / "data/brush.zip"
STRENGTH, PROMPT = 0.4, "flat illustration of a pine tree on a meadow, the sun"
LEAST_CHANGE = 0.01


@dataclass(frozen=True)
class Case:
    """One model, the side of the canvas, and the steps of each picture."""

    model: str
    folder: Path
    side: int
    steps: int


class Sheet:
    """The canvas that the session is painted on, opaque RGBA."""

    def __init__(self, side: int) -> None:
        self.pixels = np.full((side, side, 4), 255, np.uint8)
        self.side = side
        with zipfile.ZipFile(SESSION) as archive:
            session = json.loads(archive.read("session.json"))
            self.dabs = [
                (x, y, np.asarray(Picture.open(archive.open(f"{number:03}.png"))))
                for number, (_, x, y) in enumerate(session["dabs"])
            ]
        self._recorded = np.full((session["side"], session["side"], 3), 255, np.uint8)

    def dab(self, number: int) -> Rect:
        """Paint one dab; the rectangle that it changed."""
        x, y, pixels = self.dabs[number]
        height, width, _ = pixels.shape
        self._recorded[y : y + height, x : x + width] = pixels
        scale = self.side / len(self._recorded)
        left, top = int(x * scale), int(y * scale)
        right, bottom = math.ceil((x + width) * scale), math.ceil((y + height) * scale)
        now = cv2.resize(self._recorded, (self.side, self.side), interpolation=cv2.INTER_AREA)
        self.pixels[top:bottom, left:right, :3] = now[top:bottom, left:right]
        return Rect(left, top, right - left, bottom - top)

    def everything(self) -> Rect:
        """Change every pixel a little."""
        self.pixels[..., :3] ^= 1
        return Rect(0, 0, self.side, self.side)


class Stack:
    """A live canvas of a server."""

    def __init__(self, client: Client, sheet: Sheet, case: Case, prompt: str = PROMPT) -> None:
        self._client, self._sheet = client, sheet
        self.job, self._revision = str(uuid.uuid4()), 0
        # What the worker said of passes that it prepares, with the last picture.
        self.warming = ""
        client.send(
            m.LiveOpen(
                job=self.job,
                model=case.model,
                area=Size(sheet.side, sheet.side),
                prompt=prompt,
                steps=case.steps,
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
        frame = m.LiveFrame(
            job=self.job,
            revision=self._revision,
            base=base,
            x=rect.x,
            y=rect.y,
            picture=picture,
        )
        self.warming = ""
        start = time.perf_counter()
        self._client.send(frame)
        while True:
            event = self._client.receive(600)
            if isinstance(event, m.Error):
                raise RuntimeError(event.message)
            if isinstance(event, m.Progress):
                self.warming = event.note
            if isinstance(event, m.LiveResult) and event.revision == self._revision:
                return time.perf_counter() - start


class Bare:
    """diffusers alone, with the settings that its own guides recommend for the device."""

    def __init__(self, case: Case, device: str) -> None:
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        pipe = AutoPipelineForImage2Image.from_pretrained(
            case.folder, local_files_only=True, dtype=dtype, safety_checker=None
        )
        pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
        pipe.vae = AutoencoderTiny.from_pretrained(case.folder / "vae-tiny", dtype=dtype)
        if few_step := find_few_step(case.folder):
            pipe.unet = with_loras(pipe.unet, few_step, ())
        pipe.to(device)
        if device == "cuda":
            for part in (pipe.unet, pipe.vae):
                part.to(memory_format=torch.channels_last)
            pipe.unet = torch.compile(pipe.unet, mode="reduce-overhead", fullgraph=True)
            pipe.vae.decode = torch.compile(pipe.vae.decode, mode="reduce-overhead")
        pipe.set_progress_bar_config(disable=True)
        self._pipe, self._steps = pipe, case.steps

    def __call__(self, pixels: np.ndarray, side: int) -> float:
        small = cv2.resize(pixels[..., :3], (side, side), interpolation=cv2.INTER_AREA)
        picture = Picture.fromarray(small)
        start = time.perf_counter()
        self._pipe(
            PROMPT,
            image=picture,
            strength=STRENGTH,
            # diffusers runs int(steps * strength) of them.
            num_inference_steps=round(self._steps / STRENGTH + 0.5),
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(0),
        )
        return time.perf_counter() - start


def until_ready(client: Client, model: str) -> m.ModelInfo:
    """A canvas that is opened earlier waits, and is asked for a key frame."""
    found = ready = None
    while not (found and ready):
        event = client.receive(600)
        if isinstance(event, m.Catalogue):
            found = next((one for one in event.models if one.name == model), None)
        ready = ready or (isinstance(event, m.Status) and event.worker == "ready")
    return found


def measure_case(case: Case, device: str, dabs: int, wholes: int, warm: float) -> dict[str, Any]:
    sheet, bare = Sheet(case.side), Bare(case, device)
    command = (*SERVE, "--models", str(case.folder.parent))
    brush: list[float] = []
    whole: list[float] = []
    theirs: list[float] = []
    with local_server("benchmark", command) as client:
        model = until_ready(client, case.model)
        seen = make_live_plan(Size(case.side, case.side), model).size.width
        stack = Stack(client, sheet, case)
        for _ in range(3):
            bare(sheet.pixels, seen)
            stack.send(sheet.everything())
        until = time.monotonic() + warm
        while stack.warming and time.monotonic() < until:
            time.sleep(1)
            stack.send(sheet.everything())
        for number in range(min(dabs, len(sheet.dabs))):
            brush.append(stack.send(sheet.dab(number)))
            if number * wholes // dabs != (number + 1) * wholes // dabs:
                whole.append(stack.send(sheet.everything()))
                theirs.append(bare(sheet.pixels, seen))
    return {
        "canvas": case.side,
        "model_sees": seen,
        "steps": case.steps,
        "still_warming": stack.warming,
        "brush": _figures(brush),
        "whole": _figures(whole),
        "bare": _figures(theirs),
        "whole_to_bare": report.spread([a / b for a, b in zip(whole, theirs, strict=True)]),
        "brush_to_bare": statistics.median(brush) / statistics.median(theirs),
    }


def _figures(seconds: list[float]) -> dict[str, float]:
    return {
        "pictures_per_second": 1 / statistics.mean(seconds),
        "p50_ms": 1000 * report.percentile(seconds, 0.5),
        "p95_ms": 1000 * report.percentile(seconds, 0.95),
        "n": len(seconds),
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    device, dtype, name = choose_device()
    figures: dict[str, Any] = {"device": name}
    if device != "cuda" and not given.toy:
        case = Case("starter", STARTER, 1024, 4)
        return {
            **figures,
            "starter": measure_case(case, device, given.dabs, given.wholes, given.warm),
        }
    with tempfile.TemporaryDirectory(prefix="velatura-models-") as folder:
        for family, steps in (("sd15", 1), ("sd15", 4), ("sdxl", 4)):
            path = Path(folder) / family
            if not path.exists():
                make_model(path, family, torch.device(device), dtype, given.toy)
            side = FAMILIES[family] // (8 if given.toy else 1)
            case = Case(family, path, side, steps)
            label = f"{family} {side}, {steps} steps"
            figures[label] = measure_case(case, device, given.dabs, given.wholes, given.warm)
    return figures


if __name__ == "__main__":
    report.run(
        __doc__,
        measure,
        {
            "--dabs": {"type": int, "default": 73},
            "--wholes": {"type": int, "default": 10},
            "--warm": {"type": float, "default": 1800},
            "--toy": {"action": "store_true"},
        },
    )
