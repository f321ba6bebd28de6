"""The conversation: who may say what when. Bytes in, events out; events in, bytes out.

Both tables are the whole truth; what is not in them is an error: LocalError if we try it,
RemoteError if the peer does.
"""

from __future__ import annotations

from . import messages as m
from .codec import LARGEST_PICTURE, decode, encode
from .errors import LocalError, ProtocolError, RemoteError
from .messages import CLIENT, SERVER, Message

OPENING, GREETED, READY = "opening", "greeted", "ready"
ABSENT, OPEN, LIVE, CLOSING = "absent", "open", "live", "closing"

# (state, message) -> state of the conversation. Messages about one job follow the second table.
CONVERSATION: dict[tuple[str, type[Message]], str] = {
    (OPENING, m.Hello): GREETED,
    (OPENING, m.Error): OPENING,
    (GREETED, m.Welcome): READY,
    (GREETED, m.Error): GREETED,
    (READY, m.Catalogue): READY,
    (READY, m.Status): READY,
    (READY, m.Error): READY,
}
# (state of the job, message) -> state of the job. Absent means not sent yet, or answered.
# A cancel may cross the final answer on its way, so it is legal for an absent job too.
JOB: dict[tuple[str, type[Message]], str] = {
    (ABSENT, m.Generate): OPEN,
    (ABSENT, m.Annotate): OPEN,
    (ABSENT, m.Cancel): ABSENT,
    (OPEN, m.Cancel): OPEN,
    (ABSENT, m.Acknowledge): ABSENT,
    (OPEN, m.Acknowledge): OPEN,
    (OPEN, m.Progress): OPEN,
    (OPEN, m.Preview): OPEN,
    (OPEN, m.Result): OPEN,  # and ABSENT when it is the last
    (OPEN, m.ControlMap): ABSENT,
    (OPEN, m.Error): ABSENT,
    # The refusal of a request that never opened: its fields are wrong, or one job too many.
    (ABSENT, m.Error): ABSENT,
    (ABSENT, m.LiveOpen): LIVE,
    (LIVE, m.LiveSettings): LIVE,
    (LIVE, m.LiveFrame): LIVE,
    (LIVE, m.LiveResult): LIVE,
    (LIVE, m.LiveKeyFrame): LIVE,
    (LIVE, m.Progress): LIVE,
    (LIVE, m.Error): ABSENT,
    (LIVE, m.LiveClose): CLOSING,
    (CLOSING, m.LiveResult): CLOSING,
    (CLOSING, m.LiveKeyFrame): CLOSING,
    (CLOSING, m.Progress): CLOSING,
    (CLOSING, m.Error): ABSENT,
    (CLOSING, m.LiveClosed): ABSENT,
    # These may cross the error that ended their canvas.
    (ABSENT, m.LiveSettings): ABSENT,
    (ABSENT, m.LiveFrame): ABSENT,
    (ABSENT, m.LiveClose): ABSENT,
}


class Connection:
    """One side of one conversation. ``role`` is CLIENT or SERVER.

    most_jobs: how many jobs may be open at once. largest_picture: pixels of a received picture.
    """

    def __init__(
        self, role: str, *, most_jobs: int = 64, largest_picture: int = LARGEST_PICTURE
    ) -> None:
        self.role = role
        self.state = OPENING
        self.encoding = "raw"
        self._jobs: dict[str, str] = {}
        self._most_jobs = most_jobs
        self._largest_picture = largest_picture

    def job_state(self, job: str) -> str:
        return self._jobs.get(job, ABSENT)

    def send(self, message: Message) -> list[bytes | memoryview]:
        """The parts of one WebSocket message. Raises LocalError; then nothing has changed."""
        if message.sender != self.role:
            raise LocalError("illegal_state", f"The {self.role} does not send {_name(message)}.")
        parts = encode(message, self.encoding)
        self._advance(message, LocalError)
        return parts

    def receive(self, blob: bytes | bytearray | memoryview) -> Message:
        """The event in one WebSocket message. Raises RemoteError and nothing else."""
        message = decode(blob, largest_picture=self._largest_picture)
        if message.sender == self.role:
            raise RemoteError("illegal_state", f"The {self.role} does not get {_name(message)}.")
        self._advance(message, RemoteError)
        return message

    def _advance(self, message: Message, error: type[ProtocolError]) -> None:
        job = getattr(message, "job", None)
        if job is None:
            state = CONVERSATION.get((self.state, type(message)))
            if state is None:
                raise error("illegal_state", f"{_name(message)} is not allowed while {self.state}.")
            self.state = state
            if isinstance(message, m.Welcome):
                self.encoding = message.encoding
                self._jobs.update(dict.fromkeys(message.jobs, OPEN))
            return
        before = self.job_state(job)
        after = JOB.get((before, type(message))) if self.state == READY else None
        if after is None:
            raise error(
                "illegal_state",
                f"{_name(message)} is not allowed for a job that is {before}"
                + ("." if self.state == READY else f" while the conversation is {self.state}."),
                job=job,
            )
        if isinstance(message, m.Result) and message.last:
            after = ABSENT
        if after == ABSENT:
            self._jobs.pop(job, None)
        elif before == ABSENT and len(self._jobs) >= self._most_jobs:
            raise error("rate_limited", f"At most {self._most_jobs} jobs at once.", job=job)
        else:
            self._jobs[job] = after


def _name(message: Message) -> str:
    return m.NAMES[type(message)]


__all__ = ["CLIENT", "CONVERSATION", "JOB", "SERVER", "Connection"]
