"""What runs next. Pure: no I/O and no clock; each call returns what must be done, in order.

Interactive jobs (one variant, or a control map) go before batches, sessions take turns, and within
a session the first come is the first served. A batch is passed over a few times at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from velatura.protocol import messages as m

MOST_OVERTAKES = 8
Request = m.Generate | m.Annotate


@dataclass(frozen=True)
class Run:
    """Hand ``request`` to the worker."""

    request: Request


@dataclass(frozen=True)
class Stop:
    """Tell the worker to stop ``job``; its final answer comes from there."""

    job: str


@dataclass(frozen=True)
class Tell:
    """Send ``message`` to ``session``."""

    session: str
    message: m.Message


Action = Run | Stop | Tell


@dataclass(frozen=True)
class _Job:
    session: str
    request: Request

    @property
    def interactive(self) -> bool:
        return not isinstance(self.request, m.Generate) or self.request.variants == 1

    @property
    def key(self) -> tuple[str, str]:
        return self.session, self.request.job


def is_final(message: m.Message) -> bool:
    """True when ``message`` is a job's last answer."""
    return isinstance(message, (m.ControlMap, m.Error)) or (
        isinstance(message, m.Result) and message.last
    )


def _first(waiting: list[_Job], turns: dict[str, int], overtaken: int) -> _Job:
    """The job of ``waiting`` (in order of arrival, not empty) that runs next.

    turns: session -> when it was last served. overtaken: how often a batch was passed over.
    """
    batches = [job for job in waiting if not job.interactive]
    candidates = [job for job in waiting if job.interactive]
    if not candidates or (batches and overtaken >= MOST_OVERTAKES):
        candidates = batches
    return min(candidates, key=lambda job: turns.get(job.session, -1))


def _after(
    waiting: list[_Job], turns: dict[str, int], overtaken: int, job: _Job
) -> tuple[list[_Job], dict[str, int], int]:
    """The arguments of ``_first`` once ``job`` has been taken."""
    rest = [other for other in waiting if other is not job]
    passed_over = job.interactive and any(not other.interactive for other in rest)
    turn = max(turns.values(), default=0) + 1
    sessions = {other.session for other in rest} | {job.session}
    kept = {session: at for session, at in turns.items() if session in sessions}
    return rest, {**kept, job.session: turn}, overtaken + 1 if passed_over else 0


class Scheduler:
    """The queue and the one running job. most_jobs: how many a session may have in it."""

    def __init__(self, *, most_jobs: int = 64) -> None:
        self._most_jobs = most_jobs
        self._waiting: list[_Job] = []
        self._turns: dict[str, int] = {}
        self._overtaken = 0
        self._running: _Job | None = None
        self._cancelled = False
        self._progress: m.Progress | None = None
        self._places: dict[tuple[str, str], int] = {}
        self._ready = False

    def jobs(self, session: str) -> tuple[str, ...]:
        """The ids of a session's jobs that have no final answer yet."""
        return tuple(job.request.job for job in self._all() if job.session == session)

    def standing(self, session: str) -> list[m.Progress]:
        """One Progress for each of a session's jobs: for somebody who has just come back."""
        told = [
            m.Progress(job=job, stage="queued", place=place)
            for (owner, job), place in self._places.items()
            if owner == session
        ]
        if self._running is not None and self._running.session == session:
            told.append(
                self._progress or m.Progress(job=self._running.request.job, stage="loading")
            )
        return told

    def submit(self, session: str, request: Request) -> list[Action]:
        mine = self.jobs(session)
        if request.job in mine:
            return []
        if len(mine) >= self._most_jobs:
            sentence = f"At most {self._most_jobs} jobs at once: wait for one to finish."
            error = m.Error(code="rate_limited", message=sentence, job=request.job)
            return [Tell(session, error)]
        self._waiting.append(_Job(session, request))
        return self._next()

    def cancel(self, session: str, job: str) -> list[Action]:
        """Nothing for a job that is not here: its final answer is on its way."""
        key = (session, job)
        if self._running is not None and self._running.key == key:
            self._cancelled = True
            return [Stop(job)]
        if not any(waiting.key == key for waiting in self._waiting):
            return []
        self._waiting = [waiting for waiting in self._waiting if waiting.key != key]
        return [Tell(session, _cancelled(job)), *self._tell_places()]

    def worker_ready(self) -> list[Action]:
        self._ready = True
        return self._next()

    def worker_lost(self) -> list[Action]:
        """The running job is answered, not tried again: it may be what killed the worker."""
        self._ready = False
        job, self._running = self._running, None
        if job is None:
            return []
        if self._cancelled:
            return [Tell(job.session, _cancelled(job.request.job))]
        sentence = (
            "The worker process died while it ran this job; it is being restarted. "
            "Finished variants are kept: try again, smaller if the memory was short."
        )
        error = m.Error(code="worker_lost", message=sentence, job=job.request.job)
        return [Tell(job.session, error)]

    def from_worker(self, message: m.Message) -> list[Action]:
        """``message`` is about a job. What comes after the final answer is dropped."""
        job = self._running
        if job is None or getattr(message, "job", None) != job.request.job:
            return []
        told: list[Action] = [Tell(job.session, message)]
        if isinstance(message, m.Progress):
            self._progress = message
        if is_final(message):
            self._running = None
            told += self._next()
        return told

    @property
    def running(self) -> tuple[str, str] | None:
        """(session, job) of what the worker has."""
        return self._running.key if self._running is not None else None

    def _all(self) -> Iterable[_Job]:
        return (*([self._running] if self._running is not None else []), *self._waiting)

    def _next(self) -> list[Action]:
        started: list[Action] = []
        if self._ready and self._running is None and self._waiting:
            state = (self._waiting, self._turns, self._overtaken)
            job = _first(*state)
            self._waiting, self._turns, self._overtaken = _after(*state, job)
            self._running, self._cancelled, self._progress = job, False, None
            started.append(Run(job.request))
        return [*started, *self._tell_places()]

    def _tell_places(self) -> list[Action]:
        """A Progress for each waiting job whose place in the order of running has changed."""
        places: dict[tuple[str, str], int] = {}
        state = (self._waiting, self._turns, self._overtaken)
        while state[0]:
            job = _first(*state)
            state = _after(*state, job)
            places[job.key] = len(places) + 1
        changed: list[Action] = [
            Tell(session, m.Progress(job=job, stage="queued", place=place))
            for (session, job), place in places.items()
            if self._places.get((session, job)) != place
        ]
        self._places = places
        return changed


def _cancelled(job: str) -> m.Error:
    return m.Error(code="cancelled", message="The job was cancelled.", job=job)
