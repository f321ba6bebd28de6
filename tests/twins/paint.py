"""One side: paint cases with the Velatura that this Python imports, one .npz for each.

Run as a script: ``paint.py MODELS OUT NAMES``, NAMES a file with a JSON list of cases' names. What
depends on how a commit is built inside is in ``make_plain_engine`` and ``make_live_canvas`` alone.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils import logging
from transformers.utils.logging import disable_progress_bar

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
from velatura.protocol.messages import (
    Control,
    Generate,
    LiveFrame,
    LiveOpen,
    LiveResult,
    LiveSettings,
    Preview,
    Result,
)
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size

from twins.cases import Case, Job, Live, all_cases, key_of

# Cases that take longer are named while they are painted.
SLOW_S = 2.0


def make_plain_engine(models: Path) -> Any:
    """An engine of this commit over the models in a folder: CPU, fp32, nothing accelerated.

    Returns what has ``run(request, emit, cancelled)``, ``paint_live(canvas, emit)`` and
    ``close_live(job)``.
    """
    from velatura.models.library import Library
    from velatura.server.worker import engine

    if hasattr(engine, "quick_job"):
        # The first commit: three choices that the engine imports.
        from velatura.server.worker.incremental import Incremental
        from velatura.server.worker.passes import plain

        engine.quick = lambda unet: plain(Incremental(unet))
        engine.quick_job = lambda unet: None
        engine.quick_ends = lambda tiny: (
            [] if tiny is None else [Incremental(tiny.encoder), Incremental(tiny.decoder)]
        )
    library = Library([models], starter=models / "no-starter")
    here = (library, torch.device("cpu"), torch.float32, "the twins' CPU")
    if hasattr(engine, "quick_job"):
        return engine.Engine(*here)
    from velatura.server.worker.runtime.registry import Accelerations
    from velatura.server.worker.runtime.switches import ALL, INCREMENTAL, Switches

    # Parts of a live picture are painted as the first commit painted them: by layers that keep.
    off = frozenset(one.name for one in ALL if one.name != INCREMENTAL)
    return engine.Engine(*here, accelerations=Accelerations(Switches(without=off)))


def make_live_canvas(settings: LiveOpen) -> Any:
    """What ``paint_live`` takes: it has ``apply(frame)``, ``change(settings)`` and ``sent()``."""
    try:
        from velatura.server.worker.live.canvas import LiveCanvas
    except ImportError:
        # The first commit.
        from velatura.server.worker.live_canvas import LiveCanvas

    return LiveCanvas(settings)


def scenery(width: int, height: int, seed: int) -> np.ndarray:
    """An opaque picture with large shapes and a little noise: (H, W, 4) uint8."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 2 % 256, y * 3 % 256, (x + y) % 256], -1)
    rgb[height // 3 : height // 2, width // 3 : width // 2] = (220, 40, 30)
    rgb += np.random.default_rng(seed).integers(0, 8, rgb.shape)
    alpha = np.full((height, width, 1), 255)
    return np.concatenate([rgb.clip(0, 255), alpha], -1).astype(np.uint8)


def as_image(pixels: np.ndarray) -> Image:
    name = "rgba8" if pixels.ndim == 3 else "gray8"
    return Image(pixels.shape[1], pixels.shape[0], name, np.ascontiguousarray(pixels).tobytes())


def as_pixels(image: Image) -> np.ndarray:
    pixels = np.frombuffer(bytes(image.data), np.uint8)
    return pixels.reshape(image.height, image.width, -1)


def mask_of(job: Job) -> np.ndarray | None:
    if job.mask == "none":
        return None
    mask = np.zeros((job.height, job.width), np.uint8)
    h, w = job.height, job.width
    mask[h // 4 : h * 3 // 4, w // 5 : w * 3 // 4] = 255
    return (mask * np.linspace(0, 1, w)).astype(np.uint8) if job.mask == "soft" else mask


def controls_of(case: Case) -> tuple[Control, ...]:
    def picture(seed: int) -> Image:
        cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        size = (case.height + 7) // 8, (case.width + 7) // 8, 1
        large = np.kron(cells, np.ones(size, np.uint8))[: case.height, : case.width]
        return as_image(np.dstack([large, np.full(large.shape[:2], 255, np.uint8)]))

    return tuple(
        Control(
            kind=kind,
            picture=None if seed is None else picture(seed),
            weight=weight,
            start=start,
            end=end,
        )
        for kind, seed, weight, start, end in case.controls
    )


def request_of(job: Job) -> Generate:
    below = scenery(job.width, job.height, job.seed)
    source = None
    if job.action == "expand":
        source = below = below.copy()
        below[:, job.width * 2 // 3 :] = 0
        below[: job.height // 5] = 0
    elif job.layer:
        source = scenery(job.width, job.height, job.seed + 1)[::-1, ::-1].copy()
        source[..., 3] = np.linspace(0, 255, job.width)
        source[: job.height // 4] = 0
    mask = mask_of(job)
    return Generate(
        job=str(uuid.UUID(int=job.seed)),
        action=job.action,
        model="tiny",
        canvas=Size(job.width + 10, job.height + 6),
        region=Rect(7, 2, job.width, job.height),
        surroundings=as_image(below),
        source=None if source is None else as_image(source),
        selection=None if mask is None else as_image(mask),
        prompt=job.prompt,
        negative=job.negative,
        strength=job.strength,
        steps=job.steps,
        guidance=job.guidance,
        sampler=job.sampler,
        seed=job.seed,
        clip_skip=job.clip_skip,
        variants=job.variants,
        controls=controls_of(job),
        detail=job.detail,
        soft_edge=job.soft_edge,
        keep_outline=job.keep_outline,
        around=job.around,
        previews=True,
    )


Painted = dict[str, np.ndarray]


def paint_job(engine: Any, job: Job) -> Painted:
    """The layers and where they lie, and the first preview: later ones depend on the clock."""
    painted: Painted = {}

    def emit(message: object) -> None:
        if isinstance(message, Preview) and "preview" not in painted:
            painted["preview"] = as_pixels(message.picture)
            area = message.area
            painted["preview at"] = np.array([area.x, area.y, area.width, area.height])
        if isinstance(message, Result):
            name = f"variant {message.variant}"
            painted[name] = as_pixels(message.picture)
            painted[f"{name} at"] = np.array([message.x, message.y, message.seed, message.last])

    engine.run(request_of(job), emit, lambda: False)
    return painted


def paint_live(engine: Any, live: Live) -> Painted:
    """Every result of the sequence, and where it lies."""
    settings: dict[str, Any] = {
        "job": str(uuid.UUID(int=live.seed)),
        "prompt": live.prompt,
        "negative": live.negative,
        "strength": live.strength,
        "steps": live.steps,
        "guidance": live.guidance,
        "sampler": live.sampler,
        "seed": live.seed,
        "clip_skip": live.clip_skip,
        "controls": controls_of(live),
    }
    canvas = make_live_canvas(
        LiveOpen(model="tiny", area=Size(live.width, live.height), **settings)
    )
    picture = scenery(live.width, live.height, live.seed)
    painted: Painted = {}
    revision = 0
    for number, (event, *rest) in enumerate(live.events):
        if event == "settings":
            settings |= rest[0]
            canvas.change(LiveSettings(**settings))
        else:
            x, y, width, height = 0, 0, live.width, live.height
            if event == "brush":
                x, y, width, height, seed = rest
                width, height = min(width, live.width - x), min(height, live.height - y)
                colour = np.random.default_rng(seed).integers(0, 256, 3, np.uint8)
                picture[y : y + height, x : x + width, :3] = colour
            revision += 1
            canvas.apply(
                LiveFrame(
                    job=settings["job"],
                    revision=revision,
                    base=revision - 1 if event == "brush" else 0,
                    x=x,
                    y=y,
                    picture=as_image(picture[y : y + height, x : x + width]),
                )
            )

        def emit(message: object, name: str = f"{number} {event}") -> None:
            if isinstance(message, LiveResult):
                canvas.sent()
                painted[name] = as_pixels(message.picture)
                painted[f"{name} at"] = np.array([message.x, message.y, message.revision])

        engine.paint_live(canvas, emit)
    engine.close_live(settings["job"])
    return painted


def paint(engine: Any, case: Case) -> Painted:
    """What ``case`` gives; a refusal as its code and field."""
    try:
        return (paint_job if isinstance(case, Job) else paint_live)(engine, case)
    # Whatever it is, it is compared too.
    except Exception as error:  # noqa: BLE001
        told = f"{type(error).__name__} {getattr(error, 'code', '')} {error}"
        return {"refused": np.array(told)}


def main(models: Path, out: Path, names: list[str], tell: Callable[[str], None]) -> None:
    torch.set_num_threads(1)
    disable_progress_bar()
    logging.set_verbosity_error()
    cases, engines = all_cases(), {}
    # A model's cases one after the other: then few models are in memory at a time.
    for name in sorted(names, key=lambda name: cases[name].model):
        case, began = cases[name], time.monotonic()
        if case.model not in engines:
            engines.clear()
            engines[case.model] = make_plain_engine(models / case.model)
        painted = paint(engines[case.model], case)
        part = out / f"{key_of(case)}.part"
        with part.open("wb") as file:
            np.savez_compressed(file, **painted)
        part.rename(part.with_suffix(".npz"))
        seconds = time.monotonic() - began
        if seconds > SLOW_S:
            tell(f"{seconds:6.1f} s  {name}")


if __name__ == "__main__":
    listed = json.loads(Path(sys.argv[3]).read_text())
    main(Path(sys.argv[1]), Path(sys.argv[2]), listed, lambda line: print(line, flush=True))
