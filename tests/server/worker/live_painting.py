"""A live canvas for tests: open it, change rectangles of it, and see what the engine shows for it."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
from painting import as_image
from velatura.protocol.messages import LiveFrame, LiveOpen, LiveResult
from velatura.protocol.region import Rect, Size
from velatura.server.worker.engine import Engine
from velatura.server.worker.live.canvas import LiveCanvas
from velatura.server.worker.pixels import to_array


def opened(width: int = 96, height: int = 80, **more: Any) -> LiveOpen:
    fields: dict[str, Any] = {
        "job": str(uuid.uuid4()),
        "model": "tiny",
        "area": Size(width, height),
        "prompt": "a red house",
        "seed": 7,
    }
    return LiveOpen(**{**fields, **more})


class Easel:
    """The client's side: sends frames, and lays the results over each other as it would show them."""

    def __init__(
        self, settings: LiveOpen, picture: np.ndarray, engine: Engine | None = None
    ) -> None:
        self.canvas = LiveCanvas(settings)
        self.picture = picture.copy()
        self.shown = np.zeros_like(picture)
        self.results: list[LiveResult] = []
        self.revision = 0
        self._job, self._engine = settings.job, engine

    def key(self) -> None:
        self.revision += 1
        self._apply(0, Rect(0, 0, self.picture.shape[1], self.picture.shape[0]))

    def brush(self, rect: Rect, colour: tuple[int, ...] = (200, 30, 60, 255)) -> None:
        self.picture[rect.y : rect.bottom, rect.x : rect.right] = colour
        self.revision += 1
        self._apply(self.revision - 1, rect)

    def _apply(self, base: int, rect: Rect) -> None:
        part = self.picture[rect.y : rect.bottom, rect.x : rect.right]
        self.canvas.apply(
            LiveFrame(
                job=self._job,
                revision=self.revision,
                base=base,
                x=rect.x,
                y=rect.y,
                picture=as_image(np.ascontiguousarray(part)),
            )
        )

    def paint(self) -> LiveResult | None:
        """Let the engine paint once, and show what it gives."""
        assert self._engine is not None
        before = len(self.results)
        self._engine.paint_live(self.canvas, self._take)
        return self.results[-1] if len(self.results) > before else None

    def _take(self, message: object) -> None:
        if isinstance(message, LiveResult):
            self.canvas.sent()
            self.results.append(message)
            pixels = to_array(message.picture)
            height, width = pixels.shape[:2]
            self.shown[message.y : message.y + height, message.x : message.x + width] = pixels
