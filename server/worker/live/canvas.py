"""The live canvas: every changed rectangle is applied in order; what is not painted yet adds up.

Its truth is 8-bit pixels and a revision. The worker's reader applies frames while the painter works
on an older state, so every method may be called from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields, replace

import numpy as np
from velatura.protocol.messages import LiveFrame, LiveOpen, LiveSettings
from velatura.protocol.region import Rect
from velatura.server.worker.pixels import to_array

# Results that may be on their way to the client: one is sent while the next is painted.
MOST_UNSENT = 2
_SETTINGS = tuple(field.name for field in fields(LiveSettings))


@dataclass(frozen=True)
class Task:
    """What is to be painted: ``revision`` of the canvas under ``settings``.

    rect   what changed since the last picture, in canvas pixels; None: no pixel
    whole  the client is to get the whole area
    """

    settings: LiveOpen
    revision: int
    rect: Rect | None
    whole: bool


class LiveCanvas:
    """One client's canvas, from ``LiveOpen`` to ``close``.

    A painting is given up for something newer at a step before its middle, unless the one before it
    was given up too: a fast brush always leaves every second picture to be finished.
    """

    def __init__(self, opened: LiveOpen) -> None:
        self._lock = threading.Lock()
        self._settings = opened
        self._pixels = np.zeros((opened.area.height, opened.area.width, 4), np.uint8)
        self._revision = 0
        # What waits to be painted.
        self._frames = False
        self._rect: Rect | None = None
        self._whole = False
        self._key_frame = False
        self._lost = False
        self._gave_up = False
        self._unsent = 0
        self._closed = False

    @property
    def job(self) -> str:
        return self._settings.job

    # --- the reader's side -----------------------------------------------------------------------

    def apply(self, frame: LiveFrame) -> None:
        """A frame that does not fit the canvas's revision or area asks for a key frame instead."""
        with self._lock:
            rect = Rect(frame.x, frame.y, frame.picture.width, frame.picture.height)
            area = Rect(0, 0, self._settings.area.width, self._settings.area.height)
            if frame.base == 0:
                fits = rect == area
            else:
                fits = frame.base == self._revision and area.contains(rect)
            if not fits:
                # The frames on top of it, already on their way, must not ask again.
                self._key_frame = self._key_frame or not self._lost or frame.base == 0
                self._lost, self._revision, self._frames = True, 0, False
                return
            self._key_frame = self._lost = False
            changed = self._paste(rect, to_array(frame.picture))
            self._revision = frame.revision
            self._frames = True
            self._whole = self._whole or frame.base == 0
            self._rect = union(self._rect, changed)

    def _paste(self, rect: Rect, pixels: np.ndarray) -> Rect | None:
        """The rectangle of what really differs."""
        target = self._pixels[rect.y : rect.bottom, rect.x : rect.right]
        # Four bytes at once: a pixel is compared as one number.
        differs = (
            pixels.view(np.uint32)[..., 0] != np.ascontiguousarray(target).view(np.uint32)[..., 0]
        )
        rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
        if not rows.size:
            return None
        target[...] = pixels
        x, y = int(columns[0]), int(rows[0])
        width, height = int(columns[-1]) - x + 1, int(rows[-1]) - y + 1
        return Rect(rect.x + x, rect.y + y, width, height)

    def change(self, settings: LiveSettings) -> None:
        """The next picture is painted anew under ``settings``."""
        with self._lock:
            new = {name: getattr(settings, name) for name in _SETTINGS}
            self._settings = replace(self._settings, **new)
            self._frames = self._frames or self._revision > 0
            self._whole = True

    def sent(self) -> None:
        """One result has left for the client."""
        with self._lock:
            self._unsent = max(0, self._unsent - 1)

    def close(self) -> None:
        with self._lock:
            self._closed = True

    # --- the painter's side ----------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def has_work(self) -> bool:
        """Something to be done: closing counts, and so does a key frame to ask for."""
        with self._lock:
            paintable = self._frames and self._unsent < MOST_UNSENT
            return self._closed or self._key_frame or paintable

    def take_key_frame(self) -> bool:
        """Whether the client is to be asked for a key frame; True once."""
        with self._lock:
            wanted, self._key_frame = self._key_frame, False
            return wanted

    def take(self) -> Task | None:
        """What waits to be painted, as one task."""
        with self._lock:
            if not self._frames or self._unsent >= MOST_UNSENT or self._closed:
                return None
            task = Task(self._settings, self._revision, self._rect, self._whole)
            self._frames, self._rect, self._whole = False, None, False
            return task

    def give_up(self, task: Task) -> None:
        """``task`` was not finished: what it was to paint waits again, under what is newest."""
        with self._lock:
            self._gave_up = True
            self._rect = union(self._rect, task.rect)
            self._whole = self._whole or task.whole
            # When the canvas was lost meanwhile, a key frame brings the next revision.
            self._frames = self._revision > 0

    def finished(self) -> None:
        """A task's result was handed on."""
        with self._lock:
            self._gave_up = False
            self._unsent += 1

    def overtaken(self, done: int, steps: int) -> bool:
        """Whether the painting at hand, ``done`` of its ``steps`` behind it, is to be given up."""
        with self._lock:
            return self._closed or (self._frames and not self._gave_up and 2 * done < steps)

    def read(self, rect: Rect) -> np.ndarray:
        """A copy of the pixels there, (H, W, 4) uint8."""
        with self._lock:
            return self._pixels[rect.y : rect.bottom, rect.x : rect.right].copy()


def union(one: Rect | None, other: Rect | None) -> Rect | None:
    """The smallest rectangle that holds both."""
    if one is None or other is None:
        return one or other
    x, y = min(one.x, other.x), min(one.y, other.y)
    return Rect(x, y, max(one.right, other.right) - x, max(one.bottom, other.bottom) - y)
