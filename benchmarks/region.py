"""What a live picture costs against the size of the edit and of the canvas, and whether the edit shows.

In process, without the wire (benchmarks/live.py measures that): the worker's engine paints a canvas of
the starter's world after each edit, interleaved with edits of every pixel, which repaint all of it.

1. ``edits``: median time by the edit's share of the frame, and how many times cheaper than all of it.
2. ``quality``: the part that was repainted beside the same canvas painted as a whole. ``seam``: how
   much larger the colour step across a rectangle around the edit is than in the whole picture there,
   for the worst of all rectangles from the edit to where the new pixels end; ``left``: the change of
   the picture away from the edit, by region and by whole frames; ``apart``: the difference of both
   within the edit, beside what the edit changed. Levels of 255, means of the pictures.
3. ``canvases``: median time of an edit of 2 % by the side of the canvas.

    python -m benchmarks.region [--model starter] [--models FOLDER] [--times 5] [--pictures 6] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
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
from velatura.server.worker.engine import Engine
from velatura.server.worker.live_canvas import LiveCanvas
from velatura.server.worker.pixels import to_array

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
        start = time.perf_counter()
        self._canvas.apply(frame)
        self._engine.paint_live(
            self._canvas, lambda e: results.append(e) if isinstance(e, LiveResult) else None
        )
        took = time.perf_counter() - start
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
    session = Session(engine, model, 0, model.native)
    rng = np.random.default_rng(0)
    taken: dict[float, list[float]] = {share: [] for share in (*EDITS, 1.0)}
    for turn in range(times + 1):
        for share, seconds in taken.items():
            rect = session.everything() if share == 1 else session.stroke(share, rng)
            _, took = session.paint(rect)
            if turn:  # the first warms up
                seconds.append(took)
    session.close()
    medians = {share: statistics.median(seconds) for share, seconds in taken.items()}
    return {
        f"{share:.0%}": {"ms": 1000 * median, "times_cheaper": medians[1.0] / median}
        for share, median in medians.items()
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
            }
        )
    return {name: statistics.mean(row[name] for row in rows) for name in rows[0]}


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


def cost_of_canvases(engine: Engine, model: ModelInfo, times: int) -> dict[str, float]:
    rng = np.random.default_rng(1)
    costs = {}
    for side in CANVASES:
        session = Session(engine, model, 1, side)
        taken = [session.paint(session.stroke(0.02, rng))[1] for _ in range(times + 1)]
        session.close()
        costs[str(side)] = 1000 * statistics.median(taken[1:])
    return costs


def measure(model: str, folders: list[Path], times: int, pictures: int) -> dict[str, object]:
    device, dtype, name = choose_device()
    engine = Engine(Library(folders), torch.device(device), dtype, name)
    info = next(one for one in engine.catalogue().models if one.name == model)
    return {
        "device": name,
        "model": model,
        "times": times,
        "edits": cost_of_edits(engine, info, times),
        "quality": quality(engine, info, pictures, 0.05),
        "canvases": cost_of_canvases(engine, info, times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--models", type=Path, action="append", default=[])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = measure(given.model, given.models, given.times, given.pictures)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"{figures['model']} on {figures['device']}")
    for part in ("edits", "quality", "canvases"):
        print(part)
        for name, value in figures[part].items():  # type: ignore[attr-defined]
            print(f"  {name:16} {value}")


if __name__ == "__main__":
    main()
