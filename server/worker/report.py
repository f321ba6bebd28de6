"""What the client hears while a job runs, and where a cancel takes effect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from velatura.protocol.messages import Message, Preview, Progress
from velatura.protocol.region import Rect
from velatura.server.worker.errors import Cancelled
from velatura.server.worker.pixels import to_image

# A preview at most this often, and at most this part of the time spent on them.
_PREVIEW_EVERY_S = 0.25
_PREVIEW_PART = 0.1

Emit = Callable[[Message], None]


class Reporter:
    """Progress and previews of one job; every call is also where a cancel takes effect."""

    def __init__(
        self, job: str, emit: Emit, cancelled: Callable[[], bool], *, previews: bool = False
    ) -> None:
        self._job, self._emit, self._cancelled = job, emit, cancelled
        self._previews = previews
        self._preview_due = 0.0
        self._notes: list[str] = []

    def stage(self, stage: str, done: float = 0.0, **more: Any) -> None:
        """``done`` is the finished part of all variants, 0..1. Raises Cancelled."""
        if self._cancelled():
            raise Cancelled
        note = more.pop("note", "") or " ".join(self._notes)
        self._emit(Progress(job=self._job, stage=stage, done=done, note=note[:2000], **more))

    def note(self, sentence: str) -> None:
        """Show ``sentence`` with the job's progress from now on."""
        if sentence and sentence not in self._notes:
            self._notes.append(sentence)

    def preview(self, variant: int, step: int, area: Rect, make: Callable[[], np.ndarray]) -> None:
        """Send what ``make`` gives, unless the last one was a moment ago."""
        began = time.monotonic()
        if not self._previews or began < self._preview_due:
            return
        picture = to_image(make())
        self._emit(Preview(job=self._job, variant=variant, step=step, area=area, picture=picture))
        now = time.monotonic()
        self._preview_due = now + max(_PREVIEW_EVERY_S, (now - began) / _PREVIEW_PART)
