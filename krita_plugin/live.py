"""When to look at the canvas and what to send while live painting runs: no Qt, no clock of its own.

Krita does not tell of every change: its History does of finished ones, and while the pen is down we
look ourselves. Nothing changed: no timer, nothing sent. Times are seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..protocol import messages as m
from ..protocol.pixels import Image
from ..protocol.region import Rect
from ..protocol.sentences import Sentence

# A larger canvas is never sent: what is larger than a model paints in one piece is only slower.
MOST_PIXELS = 1024 * 1024
# A look reads and compares the region: about 2 ms of the GUI thread at 1024 x 1024.
LOOK_EVERY = 0.05
# Krita tells of a change before it has drawn it, on threads of its own: each look that finds nothing
# new is repeated after the next of these, until none is left.
SETTLING = (0.05, 0.1, 0.2, 0.4, 0.8)
# One that is painted and the newest, which the server begins without waiting for us.
MOST_UNANSWERED = 2

NOTHING_SELECTED = "Live waits: select the part to paint, or pin a frame."
SELECTION_LOST = "Live waits: the selection is gone. Select again, or resume without one."
PAUSED = "Live is paused."
TOO_LARGE = "Live waits: the part, {width} x {height} pixels, is too large. Select a smaller one."
OWN_LAYER = "Live waits: the active layer was painted live. Choose the one that you paint on."
OWN_VISIBLE = "Live waits: hide what was painted live, or paint from a layer."


@dataclass(frozen=True)
class Close:
    """Close the live canvas, if one is open."""

    job: str


@dataclass(frozen=True)
class Open:
    """Open a live canvas for ``area`` (canvas pixels of the document) under the id ``job``."""

    job: str
    area: Rect


class LivePolicy:
    """What to do next for one document. ``sentence`` says why nothing is painted, else is empty.

    Call ``place`` when the selection, the frame or the view may have changed, ``touched`` when the
    History changed, ``pen`` when it goes down or up. Ask ``next_look`` after any call; when it is
    due, read the area and hand it to ``look``, and send what comes back.
    """

    def __init__(self, *, most_pixels: int = MOST_PIXELS) -> None:
        self._most_pixels = most_pixels
        self._paused = False
        self._area: Rect | None = None
        self._job: str | None = None
        self._sent: bytes | None = None
        self._revision = 0
        self._answered = 0
        self._settling = len(SETTLING)
        self._pen = False
        self._last_look = float("-inf")
        self._settings: object = None
        self.sentence = NOTHING_SELECTED

    @property
    def job(self) -> str | None:
        return self._job

    @property
    def area(self) -> Rect | None:
        return self._area

    @property
    def most_pixels(self) -> int:
        return self._most_pixels

    @property
    def is_paused(self) -> bool:
        return self._paused

    @property
    def is_waiting(self) -> bool:
        """True while a frame is not answered."""
        return self._revision > self._answered

    # --- what is painted -------------------------------------------------------------------------

    def place(
        self, area: Rect | None, new_job: str, why: str = NOTHING_SELECTED
    ) -> tuple[Close | Open, ...]:
        """``area``: the part to paint with its surroundings; None when there is none: ``why`` not.

        ``new_job`` is a fresh id, used when a canvas has to be opened.
        """
        self.sentence = ""
        if self._paused:
            area, self.sentence = None, PAUSED
        elif area is None:
            self.sentence = why
        elif area.width * area.height > self._most_pixels:
            self.sentence = Sentence(TOO_LARGE, width=area.width, height=area.height)
            area = None
        if area == self._area:
            return ()
        actions: list[Close | Open] = list(self.ended())
        if area is not None:
            self._area, self._job = area, new_job
            actions.append(Open(new_job, area))
        return tuple(actions)

    def pause(self) -> tuple[Close, ...]:
        """Truly stop: nothing is read, sent or painted until ``resume`` and the next ``place``."""
        self._paused = True
        self.sentence = PAUSED
        return self.ended()

    def resume(self) -> None:
        self._paused = False

    def ended(self) -> tuple[Close, ...]:
        """The canvas is not wanted any more, or the server ended it; the next ``place`` opens one."""
        job, self._job, self._area = self._job, None, None
        self._sent, self._revision, self._answered = None, 0, 0
        self._settling, self._settings = len(SETTLING), None
        return () if job is None else (Close(job),)

    def takes(self, settings: object) -> bool:
        """Whether ``settings`` (any value that compares) have to be sent: they differ from the last."""
        if self._job is None or settings == self._settings:
            return False
        self._settings = settings
        return True

    # --- when to look ----------------------------------------------------------------------------

    def touched(self) -> None:
        """The History or a layer changed."""
        self._settling = 0

    def pen(self, down: bool) -> None:
        self._pen = down
        self._settling = 0

    def next_look(self, now: float) -> float | None:
        """Seconds until ``look`` is due; None: not before something else happens, set no timer."""
        if self._job is None or self._revision - self._answered >= MOST_UNANSWERED:
            return None
        if self._pen or self._sent is None:
            wait = LOOK_EVERY
        elif self._settling < len(SETTLING):
            wait = SETTLING[self._settling]
        else:
            return None
        return max(0.0, self._last_look + wait - now)

    # --- what to send ----------------------------------------------------------------------------

    def look(self, now: float, pixels: bytes) -> m.LiveFrame | None:
        """The frame to send for the area's ``pixels`` (RGBA8); None when nothing changed."""
        if self._job is None or self._area is None:
            return None
        self._last_look = now
        width, height = self._area.width, self._area.height
        rect: Rect | None = Rect(0, 0, width, height)
        base = 0
        if self._sent is not None:
            rect, base = changed_rect(self._sent, pixels, width, height), self._revision
        if rect is None:
            self._settling += 1
            return None
        self._settling = 0
        self._sent = pixels
        self._revision += 1
        return m.LiveFrame(
            job=self._job,
            revision=self._revision,
            base=base,
            x=rect.x,
            y=rect.y,
            picture=Image(rect.width, rect.height, "rgba8", cut(pixels, width, rect)),
        )

    def answered(self, result: m.LiveResult) -> bool:
        """Whether ``result`` is to be shown: it belongs to this canvas and nothing newer was."""
        if result.job != self._job or result.revision < self._answered:
            return False
        self._answered = result.revision
        return True

    def key_frame(self, job: str) -> None:
        """The server lost the canvas: the next look sends all of it."""
        if job == self._job:
            self._sent, self._answered = None, self._revision


def source(layer: str | None, visible: Iterable[str], own: Collection[str]) -> str:
    """Why live cannot read ``layer`` (None: everything visible), or nothing when it can.

    ``visible`` and ``own``: ids of the visible layers, and of those that live painted. It never
    reads its own pictures, which would feed on themselves.
    """
    if layer is None:
        return OWN_VISIBLE if any(one in own for one in visible) else ""
    return OWN_LAYER if layer in own else ""


def changed_rect(before: bytes, after: bytes, width: int, height: int) -> Rect | None:
    """The smallest rectangle around what differs of two RGBA8 pictures; None when nothing does."""
    if before == after:
        return None
    line = 4 * width

    def differs(y: int) -> bool:
        return before[y * line : (y + 1) * line] != after[y * line : (y + 1) * line]

    top = next(y for y in range(height) if differs(y))
    bottom = next(y for y in range(height - 1, -1, -1) if differs(y))
    left, right = width, -1
    for y in range(top, bottom + 1):
        a, b = before[y * line : (y + 1) * line], after[y * line : (y + 1) * line]
        # Only what is beyond the rectangle so far is compared.
        if a[: 4 * left] != b[: 4 * left]:
            left = _first(a, b, 4 * left) // 4
        if a[4 * (right + 1) :] != b[4 * (right + 1) :]:
            right = _last(a, b, 4 * (right + 1)) // 4
    return Rect(left, top, right - left + 1, bottom - top + 1)


def _first(a: bytes, b: bytes, end: int) -> int:
    """Where two lines first differ, before ``end``; they do."""
    start = 0
    while end - start > 1:
        middle = (start + end) // 2
        if a[start:middle] != b[start:middle]:
            end = middle
        else:
            start = middle
    return start


def _last(a: bytes, b: bytes, start: int) -> int:
    """Where two lines last differ, at or after ``start``; they do."""
    end = len(a)
    while end - start > 1:
        middle = (start + end) // 2
        if a[middle:end] != b[middle:end]:
            start = middle
        else:
            end = middle
    return start


def cut(pixels: bytes, width: int, rect: Rect) -> bytes:
    """The part ``rect`` of an RGBA8 picture of that width."""
    if rect.width == width:
        return pixels[4 * width * rect.y : 4 * width * rect.bottom]
    starts = range(4 * (width * rect.y + rect.x), 4 * width * rect.bottom, 4 * width)
    return b"".join(pixels[start : start + 4 * rect.width] for start in starts)
