"""What was asked of the server and what is still owed, across lost connections. No I/O."""

from __future__ import annotations

from ..protocol import messages as m
from ..protocol.messages import Message

Request = m.Generate | m.Annotate


class Ledger:
    """Every job ends once, every variant is handed over once, and nothing is acknowledged before
    the painter has it."""

    def __init__(self) -> None:
        self._open: dict[str, Request] = {}
        self._cancelled: set[str] = set()
        self._abandoned: set[str] = set()
        self._seen: set[tuple[str, int]] = set()
        self._in_hand: dict[str, set[int]] = {}  # handed over, not yet placed
        self._answered: set[str] = set()
        self._done: set[str] = set()

    @property
    def open_jobs(self) -> tuple[str, ...]:
        return tuple(self._open)

    def ask(self, request: Request) -> None:
        self._open[request.job] = request

    def cancel(self, job: str) -> bool:
        """True when the server must be told."""
        if job not in self._open:
            return False
        self._cancelled.add(job)
        return True

    def abandon(self, job: str) -> bool:
        """Cancel without a connection: the job is over here, and the server hears of it later.

        True when the job was open.
        """
        if job not in self._open:
            return False
        self._end(job)
        self._abandoned.add(job)
        return True

    def resume(self, known: tuple[str, ...]) -> tuple[list[Message], list[str]]:
        """After a welcome that names ``known`` jobs: what to send, and the jobs that are over.

        A request that the server does not know goes out again under its own id, so that it never
        runs twice.
        """
        send: list[Message] = []
        over: list[str] = []
        for job, request in list(self._open.items()):
            if job in self._cancelled:
                if job in known:
                    send.append(m.Cancel(job=job))
                else:
                    self._end(job)
                    over.append(job)
            elif job not in known:
                send.append(request)
        send += [m.Cancel(job=job) for job in known if job in self._abandoned]
        send += [m.Acknowledge(job=job) for job in known if job in self._done]
        return send, over

    def take(self, event: Message) -> bool:
        """Note an answer; False when it was handed over before."""
        job = getattr(event, "job", None)
        if isinstance(event, m.Result):
            fresh = (event.job, event.variant) not in self._seen
            if fresh:
                self._seen.add((event.job, event.variant))
                self._in_hand.setdefault(event.job, set()).add(event.variant)
            if event.last:
                self._end(event.job)
            return fresh
        if isinstance(event, (m.Error, m.ControlMap)) and job is not None:
            fresh = job not in self._answered
            self._end(job)
            return fresh
        return True

    def placed(self, job: str, variant: int) -> None:
        """The painter has this variant (or has discarded it)."""
        self._in_hand.get(job, set()).discard(variant)

    def acknowledgement(self, job: str) -> m.Acknowledge | None:
        """What to send once the job is answered and all of it is placed; once only."""
        if job not in self._answered or self._in_hand.get(job) or job in self._done:
            return None
        self._in_hand.pop(job, None)
        self._done.add(job)
        return m.Acknowledge(job=job)

    def _end(self, job: str) -> None:
        self._open.pop(job, None)
        self._cancelled.discard(job)
        self._answered.add(job)
