"""What runs next. Pure: no I/O and no clock; each call returns what must be done, in order.

The order is the fair queue's. An event costs O(log n) with n waiting jobs.
"""

from __future__ import annotations

from dataclasses import dataclass

from velatura.protocol import messages as m

from .fair_queue import Entry, FairQueue

# So many at the head of the queue are told each change of their place; the others hear it when they
# come, when they come back, and again from here on: telling all would cost as many messages an event
# as there are jobs.
PLACES_TOLD = 32


Request = m.Generate | m.Annotate


@dataclass(frozen=True)
class Held:
    """A request whose pixels are elsewhere: what the queue needs to know of it."""

    job: str
    interactive: bool


Waiting = Request | Held


@dataclass(frozen=True)
class Run:
    """Hand ``request`` to the worker."""

    request: Waiting


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


def is_final(message: m.Message) -> bool:
    """True when ``message`` is a job's last answer."""
    return isinstance(message, (m.ControlMap, m.Error)) or (
        isinstance(message, m.Result) and message.last
    )


@dataclass
class _Job:
    """``place``: what its session was told last."""

    session: str
    request: Waiting
    entry: Entry
    place: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.session, self.request.job


def is_interactive(request: Waiting) -> bool:
    """Whether somebody waits in front of the canvas for ``request``."""
    if isinstance(request, Held):
        return request.interactive
    return not isinstance(request, m.Generate) or request.variants == 1


class Scheduler:
    """The queue and the one running job.

    most_jobs     how many a session may have here
    most_waiting  how many may wait, of all sessions together
    """

    def __init__(self, *, most_jobs: int = 64, most_waiting: int = 4096) -> None:
        self._most_jobs = most_jobs
        self._most_waiting = most_waiting
        self._queue = FairQueue()
        self._sessions: dict[str, dict[str, _Job]] = {}
        self._ids: dict[str, int] = {}
        self._running: _Job | None = None
        self._cancelled = False
        self._progress: m.Progress | None = None
        self._ready = False

    def jobs(self, session: str) -> tuple[str, ...]:
        """The ids of a session's jobs that have no final answer yet, the running one first."""
        mine = self._sessions.get(session, {})
        running = self._running
        if running is None or running.session != session:
            return tuple(mine)
        return (running.request.job, *(job for job in mine if job != running.request.job))

    def has(self, session: str, job: str) -> bool:
        """Whether this job of ``session`` waits or runs."""
        return job in self._sessions.get(session, {})

    def holds(self, job: str) -> bool:
        """Whether a job of any session has this id."""
        return job in self._ids

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether a job that comes now waits."""
        return not self._ready or self._running is not None or len(self._queue) > 0

    def standing(self, session: str) -> list[m.Progress]:
        """One Progress for each of a session's jobs: for somebody who has just come back."""
        told = []
        for job in self._sessions.get(session, {}).values():
            if job is not self._running:
                job.place = self._queue.place(job.entry)
                told.append(_place(job))
        told.sort(key=lambda progress: progress.place)
        if self._running is not None and self._running.session == session:
            told.append(
                self._progress or m.Progress(job=self._running.request.job, stage="loading")
            )
        return told

    def submit(self, session: str, request: Waiting) -> list[Action]:
        mine = self._sessions.get(session, {})
        if request.job in mine:
            return []
        sentence = ""
        if len(mine) >= self._most_jobs:
            sentence = f"At most {self._most_jobs} jobs at once: wait for one to finish."
        elif len(self._queue) >= self._most_waiting:
            sentence = (
                f"{self._most_waiting} jobs wait here already: try again when some have finished."
            )
        if sentence:
            return [Tell(session, m.Error(code="rate_limited", message=sentence, job=request.job))]
        entry = Entry(session, request.job, is_interactive(request))
        job = _Job(session, request, entry)
        self._sessions.setdefault(session, {})[request.job] = job
        self._ids[request.job] = self._ids.get(request.job, 0) + 1
        self._queue.add(entry)
        started = self._next()
        if job is self._running or job.place:
            return started
        job.place = self._queue.place(entry)
        return [*started, Tell(session, _place(job))]

    def cancel(self, session: str, job: str) -> list[Action]:
        """Nothing for a job that is not here: its final answer is on its way."""
        found = self._sessions.get(session, {}).get(job)
        if found is None:
            return []
        if found is self._running:
            self._cancelled = True
            return [Stop(job)]
        self._queue.remove(found.entry)
        self._forget(found)
        return [Tell(session, _cancelled(job)), *self._tell_places()]

    def worker_ready(self) -> list[Action]:
        self._ready = True
        return self._next()

    def worker_lost(self) -> list[Action]:
        """The running job is answered, not tried again: it may be what killed the worker."""
        self._ready = False
        job = self._end_running()
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
            self._end_running()
            told += self._next()
        return told

    @property
    def running(self) -> tuple[str, str] | None:
        """(session, job) of what the worker has."""
        return self._running.key if self._running is not None else None

    def _end_running(self) -> _Job | None:
        job, self._running = self._running, None
        if job is not None:
            self._forget(job)
        return job

    def _forget(self, job: _Job) -> None:
        mine, name = self._sessions[job.session], job.request.job
        del mine[name]
        if not mine:
            del self._sessions[job.session]
        self._ids[name] -= 1
        if not self._ids[name]:
            del self._ids[name]

    def _next(self) -> list[Action]:
        started: list[Action] = []
        if self._ready and self._running is None and len(self._queue):
            entry = self._queue.pop()
            job = self._sessions[entry.session][entry.job]
            self._running, self._cancelled, self._progress = job, False, None
            started.append(Run(job.request))
            job.request = Held(entry.job, entry.interactive)  # its pixels are the worker's now
        return [*started, *self._tell_places()]

    def _tell_places(self) -> list[Action]:
        """A Progress for each job at the head of the queue whose place has changed."""
        changed: list[Action] = []
        for place, entry in enumerate(self._queue.first(PLACES_TOLD), 1):
            job = self._sessions[entry.session][entry.job]
            if job.place != place:
                job.place = place
                changed.append(Tell(job.session, _place(job)))
        return changed


def _place(job: _Job) -> m.Progress:
    return m.Progress(job=job.request.job, stage="queued", place=job.place)


def _cancelled(job: str) -> m.Error:
    return m.Error(code="cancelled", message="The job was cancelled.", job=job)
