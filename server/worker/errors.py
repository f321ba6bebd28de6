"""How a job fails: raised by the engine, told to the client as an Error with the same code."""

from __future__ import annotations


class JobError(Exception):
    """``code`` is a key of protocol.errors.CODES; ``message`` one sentence for a person;
    ``field`` the request's field that it is about, where there is one."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class Cancelled(JobError):
    """The client asked to stop."""

    def __init__(self) -> None:
        super().__init__("cancelled", "The job was cancelled.")
