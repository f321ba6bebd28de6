"""Where sessions, queue, results and worker meet. Knows no sockets and no pixels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from velatura.protocol import messages as m

from .delivery import Delivery
from .lives import Change, Forward, Lives
from .outbox import Outbox
from .results import Results, Stored
from .scheduler import Action, Held, Request, Run, Scheduler, Stop, Tell, Waiting
from .spool import SMALL, Spool, Spooled, size_of

_log = logging.getLogger("velatura.studio")


class Worker(Protocol):
    def send(self, message: m.Message | bytes) -> None:
        """``bytes``: an encoded message."""
        ...

    async def room(self) -> None:
        """Wait until the worker has read most of what it was sent."""
        ...


class Studio:
    """``attach`` a client's outbox to its session, hand in its messages; answers come out there.

    ``from_worker`` and ``worker_lost`` are to be called one after the other, in the worker's order.
    """

    def __init__(self, scheduler: Scheduler, results: Results, lives: Lives, spool: Spool) -> None:
        self._scheduler = scheduler
        self._spool = spool
        # What loads the pixels of the job that runs next, and whether that job was cancelled.
        self._loading: asyncio.Task[None] | None = None
        self._cancelled = False
        self._lives = lives
        self._results = results
        self._worker: Worker | None = None
        self._clients: dict[str, tuple[Outbox, Callable[[], None]]] = {}
        self._status = m.Status(worker="starting")
        self._catalogue: m.Catalogue | None = None

    # --- clients ---------------------------------------------------------------------------------

    def jobs(self, session: str) -> tuple[str, ...]:
        """For the welcome: what runs or waits, and what was not acknowledged."""
        known = dict.fromkeys((*self._results.jobs(session), *self._scheduler.jobs(session)))
        return tuple(known)

    def needs(self, session: str) -> bool:
        """Whether somebody is here for ``session``, or something waits for it."""
        return session in self._clients or bool(self.jobs(session))

    def delivery(self, session: str) -> Delivery:
        return Delivery(self._results, session)

    def attach(self, session: str, outbox: Outbox, replaced: Callable[[], None]) -> None:
        """From now on ``session`` is told through ``outbox``, first all that it missed.

        replaced: called when a newer connection takes the session.
        """
        older = self._clients.pop(session, None)
        if older is not None:
            older[1]()
            self._do_live(self._lives.gone(session))
        self._clients[session] = (outbox, replaced)
        outbox.put(self._status)
        if self._catalogue is not None:
            outbox.put(self._catalogue)
        for job in self._results.jobs(session):
            for answer in self._results.answers(session, job):
                outbox.put(answer)
        for progress in self._scheduler.standing(session):
            outbox.put(progress)

    def detach(self, session: str, outbox: Outbox) -> None:
        """Its jobs go on: their answers wait for the session's next connection. Live painting ends."""
        if session in self._clients and self._clients[session][0] is outbox:
            del self._clients[session]
            self._do_live(self._lives.gone(session))

    async def submit(self, session: str, request: Request) -> None:
        """A job id that was answered is answered again from the store, never painted again.

        Returns when the pixels of a job that waits are on disk.
        """
        if self._is_answered(session, request):
            return
        size = size_of(request)
        if not self._scheduler.busy or size < SMALL:
            self._do(self._scheduler.submit(session, request))
            return
        if self._scheduler.has(session, request.job):
            return
        if full := self._spool.full(session, size):
            self._put(session, m.Error(code="storage", message=full, job=request.job))
            return
        try:
            held = await asyncio.to_thread(self._spool.write, session, request)
        except OSError as error:
            _log.error("job %s cannot wait on disk: %s", request.job, error)
            sentence = (
                "The pictures of this job cannot be written to disk, where they would wait: "
                "free some space on the disk that holds Velatura's data folder."
            )
            self._put(session, m.Error(code="storage", message=sentence, job=request.job))
            return
        # Much may have happened meanwhile.
        self._spool.add(session, held)
        if not self._is_answered(session, request):
            self._do(self._scheduler.submit(session, held))
        if not self._scheduler.has(session, request.job):
            self._spool.drop(session, request.job)

    def _is_answered(self, session: str, request: Request) -> bool:
        """Answer a job that the queue is not to see."""
        job = request.job
        if self._results.is_finished(session, job):
            for answer in self._results.answers(session, job):
                self._put(session, answer)
        elif self._results.was_acknowledged(session, job):
            sentence = "This job was finished and acknowledged: paint again under a new job id."
            self._put(session, m.Error(code="unknown_job", message=sentence, job=job))
        elif job in self._lives:
            self._put(session, _taken(job, "a live canvas"))
        elif full := self._results.full():
            self._put(session, m.Error(code="storage", message=full, job=job))
        else:
            return False
        return True

    def cancel(self, session: str, job: str) -> None:
        self._do(self._scheduler.cancel(session, job))

    def acknowledge(self, session: str, job: str) -> None:
        self._results.acknowledge(session, job)

    def open_live(self, session: str, message: m.LiveOpen) -> None:
        """Jobs and canvases share their ids: by the id the worker's messages find their session."""
        job = message.job
        mine = self._results.is_known(session, job)
        if mine or self._scheduler.holds(job):
            self._put(session, _taken(job, "a job"))
        else:
            self._do_live(self._lives.open(session, message))

    def change_live(self, session: str, message: Change) -> None:
        self._do_live(self._lives.change(session, message))

    def close_live(self, session: str, job: str) -> None:
        self._do_live(self._lives.close(session, job))

    async def live_room(self) -> None:
        """Wait while the worker is behind with what it was sent: frames come faster than it reads."""
        if self._worker is not None:
            await self._worker.room()

    def sent_live(self, session: str, job: str) -> None:
        """A LiveResult has left for the client; until then few more are painted."""
        self._do_live(self._lives.sent(session, job))

    # --- worker ----------------------------------------------------------------------------------

    def use(self, worker: Worker) -> None:
        self._worker = worker

    def set_status(self, status: m.Status) -> None:
        """``status`` of the worker; the first "ready" of a new process starts the queue."""
        before, self._status = self._status, status
        if before != status:
            self._tell_all(status)
        if status.worker == "ready" and before.worker != "ready":
            self._do(self._scheduler.worker_ready())
            self._do_live(self._lives.worker_ready())

    async def from_worker(self, message: m.Message) -> None:
        """Returns when the message is on disk, where it must be; only then comes the next."""
        if isinstance(message, m.Status):
            self.set_status(message)
        elif isinstance(message, m.Catalogue):
            self._catalogue = message
            self._tell_all(message)
        elif isinstance(message, (m.Result, m.ControlMap)):
            await self._store(message)
        elif getattr(message, "job", None) in self._lives:
            self._do_live(self._lives.from_worker(message))
        else:
            self._do(self._scheduler.from_worker(message))

    def worker_lost(self) -> None:
        self._do(self._scheduler.worker_lost())
        self._do_live(self._lives.worker_lost())

    # --- within ----------------------------------------------------------------------------------

    async def _store(self, message: m.Result | m.ControlMap) -> None:
        running = self._scheduler.running
        if running is None or running[1] != message.job:
            return
        session = running[0]
        stored = await asyncio.to_thread(self._results.write, session, message)
        # Nothing waits between here and the scheduler: somebody who attaches sees the job as
        # running or as answered, never as neither.
        self._results.add(session, stored)
        self._put(session, stored)
        if stored.message is not None:
            sentence = (
                "The result could not be written to disk and is in memory only: "
                "free some space on the disk that holds Velatura's data folder."
            )
            self._put(session, m.Error(code="storage", message=sentence))
        if stored.final:
            _log.info("job %s is finished", message.job)
        self._do(a for a in self._scheduler.from_worker(message) if not _tells(a, message))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Tell):
                self._tell(action.session, action.message)
            elif isinstance(action, Run):
                self._start(action.request)
            elif isinstance(action, Stop):
                self._stop(action.job)

    def _start(self, request: Waiting) -> None:
        _log.info("job %s starts", request.job)
        self._cancelled = False
        if isinstance(request, Spooled):
            self._loading = asyncio.create_task(self._load(request))
        elif self._worker is not None and not isinstance(request, Held):
            self._worker.send(request)

    def _stop(self, job: str) -> None:
        if self._loading is not None:
            self._cancelled = True
        elif self._worker is not None:
            self._worker.send(m.Cancel(job=job))

    async def _load(self, spooled: Spooled) -> None:
        """Send the worker a job whose pixels waited on disk."""
        running = self._scheduler.running
        error = None
        blob = b""
        try:
            blob = await asyncio.to_thread(spooled.read)
        except OSError as failure:
            _log.error("%s cannot be read: %s", spooled.path, failure)
            sentence = (
                "The pictures of this job cannot be read from the disk any more: send it again."
            )
            error = m.Error(code="storage", message=sentence, job=spooled.job)
        self._loading = None
        if running is None or self._scheduler.running != running:
            return  # the worker was lost meanwhile, and the job is answered
        self._spool.drop(*running)
        if self._cancelled:
            sentence = "The job was cancelled."
            error = m.Error(code="cancelled", message=sentence, job=spooled.job)
        if error is not None:
            self._do(self._scheduler.from_worker(error))
        elif self._worker is not None:
            self._worker.send(blob)

    def _do_live(self, actions: Iterable[Forward | Tell]) -> None:
        """Nothing of a live canvas is kept: who is not here has none."""
        for action in actions:
            if isinstance(action, Tell):
                self._put(action.session, action.message)
            elif self._worker is not None:
                self._worker.send(action.message)

    def _tell(self, session: str, message: m.Message) -> None:
        """Errors that end a job that was taken are remembered as results are."""
        if isinstance(message, m.Error) and message.job is not None:
            _log.info("job %s ends: %s, %s", message.job, message.code, message.message)
            if not self._scheduler.has(session, message.job):
                self._spool.drop(session, message.job)
            if message.code != "rate_limited":
                stored = self._results.write(session, message)
                self._results.add(session, stored)
                self._put(session, stored)
                return
        self._put(session, message)

    def _put(self, session: str, message: m.Message | Stored) -> None:
        client = self._clients.get(session)
        if client is not None:
            client[0].put(message)

    def _tell_all(self, message: m.Message) -> None:
        for outbox, _ in self._clients.values():
            outbox.put(message)


def _taken(job: str, by: str) -> m.Error:
    sentence = f"job is the id of {by}: each job and each live canvas has a new id."
    return m.Error(code="invalid_field", message=sentence, job=job, field="job")


def _tells(action: Action, message: m.Message) -> bool:
    return isinstance(action, Tell) and action.message is message
