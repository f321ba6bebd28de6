"""What a live picture costs against the size of the edit and of the canvas, and whether the edit shows.

In process, without the wire (benchmarks/live.py measures that): the worker's engine paints a canvas of
1024 x 1024 pixels of the starter's world after each edit, in turns with edits of every pixel, which
repaint all of it. On a CPU it uses one core and counts that core's time: the work that a picture costs,
whatever else runs, and not how well it spreads over cores that Krita wants too.

1. ``edits``: median time by the edit's share of the frame, and how many times cheaper than all of it
   (the median of the turns' own ratios).
2. ``quality``: the part that was repainted beside the same canvas painted as a whole. ``seam``: how
   much larger the colour step across a rectangle around the edit is than in the whole picture there,
   for the worst of all rectangles from the edit to where the new pixels end; ``left``: the change of
   the picture away from the edit, by region and by whole frames; ``apart``: the difference of both
   within the edit, beside what the edit changed; ``answered``: how much of the whole frames' answer to
   the edit there is in the part, 1 where it is the same. Levels of 255, means of the pictures, which have the
   model's native size: on a larger canvas every step is a slope.
3. ``canvases``: median time by the side of the canvas, of an edit as large as 2 % of the smallest one
   (``brush``), and of one of 2 % of each (``share``): 64 times the pixels on the largest.

With ``--family`` a model of that family's full size with random weights (full_size.py; 2 GB of temporary
disk for sd15) takes the starter's place. What it paints means nothing, so that only ``edits`` is measured.

    python -m benchmarks.region [--model starter] [--models FOLDER] [--times 9] [--pictures 8] [--json]
    python -m benchmarks.region --family sd15 --times 3 [--json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from velatura.models.devices import choose_device
from velatura.models.library import Library
from velatura.models.starter.recipe.world import caption, random_scene, render
from velatura.protocol.messages import LiveFrame, LiveOpen, LiveResult, ModelInfo
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from velatura.server.allocation import keep_freed_memory
from velatura.server.worker.engine import Engine
from velatura.server.worker.live.canvas import LiveCanvas
from velatura.server.worker.pixels import to_array

from benchmarks import report
from benchmarks.full_size import FAMILIES, make_model

SIDE = 1024
EDITS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
CANVASES = (1024, 2048, 4096, 8192)
# Scenes beyond those that the starter was trained or tested on.
_FIRST_SEED = 960_000_000


class Session:
    """One live canvas in this process, and what its client would show."""

    def __init__(self, engine: Engine, model: ModelInfo, scene_seed: int, side: int) -> None:
        scene = random_scene(_FIRST_SEED + scene_seed)
        rgb = render(scene, min(side, 512), maps=False).image
        rgb = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_CUBIC)
        self.picture = np.dstack([rgb, np.full((side, side), 255, np.uint8)])
        self.shown = np.zeros_like(self.picture)
        self.job = str(uuid.uuid4())
        self._engine, self._revision = engine, 0
        settings = LiveOpen(
            job=self.job, model=model.name, area=Size(side, side), prompt=caption(scene, 0), seed=1
        )
        self._canvas = LiveCanvas(settings)
        self.paint(Rect(0, 0, side, side), key=True)
        engine.wait_until_prepared()

    def paint(self, rect: Rect, *, key: bool = False) -> tuple[Rect, float]:
        """Send ``rect`` of the picture; what came back, and the seconds that it took."""
        part = np.ascontiguousarray(self.picture[rect.y : rect.bottom, rect.x : rect.right])
        frame = LiveFrame(
            job=self.job,
            revision=self._revision + 1,
            base=0 if key else self._revision,
            x=rect.x,
            y=rect.y,
            picture=Image(rect.width, rect.height, "rgba8", part.tobytes()),
        )
        self._revision += 1
        results: list[LiveResult] = []
        start = _clock()
        self._canvas.apply(frame)
        self._engine.paint_live(
            self._canvas, lambda e: results.append(e) if isinstance(e, LiveResult) else None
        )
        took = _clock() - start
        self._canvas.sent()
        (result,) = results
        pixels = to_array(result.picture)
        place = Rect(result.x, result.y, pixels.shape[1], pixels.shape[0])
        self.shown[place.y : place.bottom, place.x : place.right] = pixels
        return place, took

    def stroke(self, share: float, rng: np.random.Generator) -> Rect:
        """An ellipse of one colour in a square of ``share`` of the frame, somewhere in it."""
        height, width = self.picture.shape[:2]
        side = max(2, int(width * share**0.5))
        x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
        colour = (*(int(c) for c in rng.integers(0, 256, 3)), 255)
        middle, radius = (x + side // 2, y + side // 2), (max(1, side // 2 - 1),) * 2
        cv2.ellipse(self.picture, middle, radius, 0, 0, 360, colour, -1)
        return Rect(x, y, side, side)

    def everything(self) -> Rect:
        """Change every pixel a little."""
        self.picture[..., :3] ^= 1
        return Rect(0, 0, self.picture.shape[1], self.picture.shape[0])

    def close(self) -> None:
        self._engine.close_live(self.job)


def cost_of_edits(engine: Engine, model: ModelInfo, times: int) -> dict[str, object]:
    session = Session(engine, model, 0, SIDE)
    rng = np.random.default_rng(0)
    taken: dict[float, list[float]] = {share: [] for share in (*EDITS, 1.0)}
    for turn in range(times + 1):
        for share, seconds in taken.items():
            rect = session.everything() if share == 1 else session.stroke(share, rng)
            _, took = session.paint(rect)
            if turn:  # the first warms up
                seconds.append(took)
    session.close()
    return {
        f"{share:.0%}": {
            "ms": 1000 * statistics.median(seconds),
            "times_cheaper": statistics.median(
                whole / part for whole, part in zip(taken[1.0], seconds, strict=True)
            ),
        }
        for share, seconds in taken.items()
    }


def quality(engine: Engine, model: ModelInfo, pictures: int, share: float) -> dict[str, float]:
    rows: list[dict[str, float]] = []
    for seed in range(pictures):
        session = Session(engine, model, seed, model.native)
        before = session.shown[..., :3].astype(float)
        edit = session.stroke(share, np.random.default_rng(seed))
        place, _ = session.paint(edit)
        region = session.shown[..., :3].astype(float)
        session.close()  # the engine forgets it: the next picture is painted as a whole
        session.paint(session.everything())
        session.picture[..., :3] ^= 1
        session.close()
        session.paint(Rect(0, 0, *session.picture.shape[1::-1]), key=True)
        whole = session.shown[..., :3].astype(float)
        session.close()
        away = np.ones(before.shape[:2], bool)
        away[place.y : place.bottom, place.x : place.right] = False
        inside = (slice(edit.y, edit.bottom), slice(edit.x, edit.right))
        rows.append(
            {
                "seam": max(
                    _step(region, ring) - _step(whole, ring) for ring in _rings(edit, place)
                ),
                "left_by_region": float(np.abs(region - before)[away].mean()),
                "left_by_whole": float(np.abs(whole - before)[away].mean()),
                "apart": float(np.abs(region - whole)[inside].mean()),
                "changed": float(np.abs(region - before)[inside].mean()),
                "answered": float(((region - before) * (whole - before))[inside].mean()),
                "to_answer": float(np.square(whole - before)[inside].mean()),
            }
        )
    means = {name: statistics.mean(row[name] for row in rows) for name in rows[0]}
    means["answered"] /= means.pop("to_answer")
    return means


def _rings(edit: Rect, place: Rect) -> Iterator[Rect]:
    """The rectangles between both, pixel by pixel outward."""
    for by in range(max(edit.x - place.x, place.right - edit.right) + 1):
        x, y = max(place.x, edit.x - by), max(place.y, edit.y - by)
        right, bottom = min(place.right, edit.right + by), min(place.bottom, edit.bottom + by)
        yield Rect(x, y, right - x, bottom - y)


def _step(picture: np.ndarray, place: Rect) -> float:
    """Mean colour step across the border of ``place``, where it is inside the picture."""
    height, width = picture.shape[:2]
    rows, columns = slice(place.y, place.bottom), slice(place.x, place.right)
    steps = []
    for x in (place.x, place.right):
        if 0 < x < width:
            steps.append(np.abs(picture[rows, x] - picture[rows, x - 1]).mean())
    for y in (place.y, place.bottom):
        if 0 < y < height:
            steps.append(np.abs(picture[y, columns] - picture[y - 1, columns]).mean())
    return float(np.mean(steps)) if steps else 0.0


def cost_of_canvases(engine: Engine, model: ModelInfo, times: int) -> dict[str, object]:
    rng = np.random.default_rng(1)
    costs = {}
    for side in CANVASES:
        session = Session(engine, model, 1, side)
        taken: dict[str, list[float]] = {"brush_ms": [], "share_ms": []}
        for _ in range(times + 1):
            for kind, whole in (("brush_ms", CANVASES[0]), ("share_ms", side)):
                rect = session.stroke(0.02 * (whole / side) ** 2, rng)
                taken[kind].append(1000 * session.paint(rect)[1])
        session.close()
        costs[str(side)] = {kind: statistics.median(ms[1:]) for kind, ms in taken.items()}
    return costs


def _clock() -> float:
    """Seconds: of this core on a CPU, of the wall where a device computes."""
    return time.perf_counter() if choose_device()[0] != "cpu" else time.thread_time()


def measure(given: argparse.Namespace) -> dict[str, object]:
    torch.set_num_threads(1)
    # As the worker's process does.
    keep_freed_memory()
    device, dtype, name = choose_device()

    def engine_of(folders: list[Path], model: str) -> tuple[Engine, ModelInfo]:
        engine = Engine(Library(folders), torch.device(device), dtype, name)
        return engine, next(one for one in engine.catalogue().models if one.name == model)

    if given.family:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / given.family
            make_model(path, given.family, torch.device(device), torch.bfloat16, toy=False)
            edits = cost_of_edits(*engine_of([path.parent], given.family), given.times)
        return {"device": name, "model": given.family, "edits": edits}
    engine, info = engine_of(given.models, given.model)
    return {
        "device": name,
        "model": given.model,
        "edits": cost_of_edits(engine, info, given.times),
        "quality": quality(engine, info, given.pictures, 0.05),
        "canvases": cost_of_canvases(engine, info, given.times),
    }


if __name__ == "__main__":
    report.run(
        __doc__,
        measure,
        {
            "--model": {"default": "starter"},
            "--family": {"choices": tuple(FAMILIES)},
            "--models": {"type": Path, "action": "append", "default": []},
            "--times": {"type": int, "default": 9},
            "--pictures": {"type": int, "default": 8},
        },
    )
