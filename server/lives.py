"""Which live canvases are open, and whose. Pure: no I/O; each call returns what must be done, in order.

Painting them is the worker's: it holds the canvases, lets jobs go first and lets them take turns.
"""

from __future__ import annotations

from dataclasses import dataclass

from velatura.protocol import messages as m

from .scheduler import Tell

MOST_CANVASES = 8
Change = m.LiveFrame | m.LiveSettings


@dataclass(frozen=True)
class Forward:
    """Hand ``message`` to the worker as it is."""

    message: m.Message


@dataclass
class _Live:
    """``session`` is None when nobody listens any more; ``opened`` until the worker is told.

    revision: the greatest of its frames.
    """

    session: str | None
    opened: m.LiveOpen | None
    closing: bool = False
    revision: int = 0


class Lives:
    """At most one open canvas for each session.

    most_pixels: of one canvas. A canvas that is opened before the worker is ready waits for it, and
    its frames are dropped: the client is asked for a key frame instead. most_waiting: bytes of the
    pictures in what waits so, of all canvases.
    """

    def __init__(self, *, most_pixels: int, most_waiting: int = 64 << 20) -> None:
        self._most_pixels = most_pixels
        self._most_waiting = most_waiting
        self._lives: dict[str, _Live] = {}
        self._ready = False

    def __contains__(self, job: object) -> bool:
        return job in self._lives

    def open(self, session: str, message: m.LiveOpen) -> list[Forward | Tell]:
        job, area = message.job, message.area
        code = sentence = field = None
        if job in self._lives:
            code, field = "invalid_field", "job"
            sentence = "job is the id of another live canvas: each one has a new id."
        elif area.width * area.height > self._most_pixels:
            code, field = "too_large", "area"
            sentence = f"area has too many pixels: at most {self._most_pixels}."
        elif any(live.session == session and not live.closing for live in self._lives.values()):
            code, sentence = "rate_limited", "One live canvas at a time: close the other one first."
        elif len(self._lives) >= MOST_CANVASES:
            code, sentence = "rate_limited", "Too many live canvases are open here: close one."
        elif not self._ready and self._waiting(message) > self._most_waiting:
            code, sentence = (
                "rate_limited",
                "The worker is starting: open the canvas once it is ready.",
            )
        if code is not None and sentence is not None:
            error = m.Error(code=code, message=sentence, job=job, field=field)
            return [Tell(session, error)]
        self._lives[job] = _Live(session, None if self._ready else message)
        return [Forward(message)] if self._ready else []

    def change(self, session: str, message: Change) -> list[Forward | Tell]:
        """A frame whose revision goes back is left out, and the canvas stays as it is."""
        live = self._lives.get(message.job)
        if live is None or live.session != session or live.closing:
            return []
        if isinstance(message, m.LiveFrame):
            if message.revision <= live.revision:
                sentence = f"revision must grow: {live.revision} was there already."
                error = m.Error(code="invalid_field", message=sentence, field="revision")
                return [Tell(session, error)]
            live.revision = message.revision
        if live.opened is None:
            return [Forward(message)]
        if isinstance(message, m.LiveSettings):
            model, area = live.opened.model, live.opened.area
            del self._lives[message.job]
            if self._waiting(message) > self._most_waiting:
                sentence = "The worker is starting: open the canvas once it is ready."
                error = m.Error(code="rate_limited", message=sentence, job=message.job)
                return [Tell(session, error)]
            live.opened = m.LiveOpen(**vars(message), model=model, area=area)
            self._lives[message.job] = live
        return []

    def _waiting(self, more: m.LiveSettings) -> int:
        """Bytes of the pictures in what waits for the worker, with ``more``."""
        opened = [live.opened for live in self._lives.values() if live.opened is not None]
        return sum(
            len(control.picture.data)
            for settings in (*opened, more)
            for control in settings.controls
            if control.picture is not None
        )

    def close(self, session: str, job: str) -> list[Forward | Tell]:
        """The worker answers; until then the id is taken."""
        live = self._lives.get(job)
        if live is None or live.session != session or live.closing:
            return []
        if live.opened is not None:
            del self._lives[job]
            return [Tell(session, m.LiveClosed(job=job))]
        live.closing = True
        return [Forward(m.LiveClose(job=job))]

    def gone(self, session: str) -> list[Forward | Tell]:
        """The session's connection has ended, and its canvases with it."""
        done: list[Forward | Tell] = []
        for job in [job for job, live in self._lives.items() if live.session == session]:
            done += [one for one in self.close(session, job) if isinstance(one, Forward)]
            if job in self._lives:
                self._lives[job].session = None
        return done

    def sent(self, session: str, job: str) -> list[Forward | Tell]:
        """A result has left for the client: the worker may paint another."""
        live = self._lives.get(job)
        known = live is not None and live.session == session and live.opened is None
        return [Forward(m.Acknowledge(job=job))] if known else []

    def worker_ready(self) -> list[Forward | Tell]:
        self._ready = True
        done: list[Forward | Tell] = []
        for job, live in self._lives.items():
            if live.opened is not None and live.session is not None:
                done += [Forward(live.opened), Tell(live.session, m.LiveKeyFrame(job=job))]
                live.opened = None
        return done

    def worker_lost(self) -> list[Forward | Tell]:
        """What the worker had is gone; it may be what killed it, so it is not opened again."""
        self._ready = False
        lost = {job: live for job, live in self._lives.items() if live.opened is None}
        for job in lost:
            del self._lives[job]
        sentence = "The worker process died while it painted live; it is being restarted."
        return [
            Tell(live.session, m.Error(code="worker_lost", message=sentence, job=job))
            for job, live in lost.items()
            if live.session is not None
        ]

    def from_worker(self, message: m.Message) -> list[Forward | Tell]:
        """``message`` is about a canvas that is here."""
        job: str = getattr(message, "job", "")
        live = self._lives.get(job)
        if live is None:
            return []
        if isinstance(message, (m.LiveClosed, m.Error)):
            del self._lives[job]
        return [] if live.session is None else [Tell(live.session, message)]
