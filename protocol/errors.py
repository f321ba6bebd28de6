"""Every error of the protocol.

    ProtocolError
    +-- LocalError     we asked for something that the protocol does not allow
    +-- RemoteError    the peer did

``code`` is stable and documented in SPEC.md; the text is one sentence for a person.
"""

from __future__ import annotations

# code -> when it is used. SPEC.md repeats this table; a test holds both together.
CODES: dict[str, str] = {
    "malformed": "bytes that are not a message: framing, JSON or sizes that do not add up",
    "too_large": "a message, picture or list beyond the limits in the welcome",
    "invalid_field": "a field has a value outside what is allowed; `field` names it",
    "unknown_type": "a message type that this version does not know",
    "illegal_state": "a message that is not allowed at this point of the conversation",
    "version": "the two sides speak different protocol versions",
    "unauthorised": "the token is missing or wrong",
    "unknown_session": "the session to resume does not exist or belongs to another token",
    "rate_limited": "too many messages or jobs at once",
    "unknown_model": "no model of that name",
    "unknown_job": "no job of that id in this session",
    "unsupported": "the model or the server cannot do this job",
    "missing_weights": "a file that the job needs is not there",
    "cancelled": "the job was cancelled",
    "out_of_memory": "the device ran out of memory; it has been freed",
    "bad_output": "the model returned NaN or an all-black picture; nothing was kept",
    "worker_lost": "the worker process died while it ran this job",
    "storage": "the result could not be written to disk",
    "internal": "a fault of the server; its log holds the details",
}


class ProtocolError(Exception):
    """One sentence with a stable ``code`` (a key of CODES); ``field`` and ``job`` where known."""

    def __init__(
        self, code: str, message: str, *, field: str | None = None, job: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.job = job

    @property
    def fatal(self) -> bool:
        """True when the conversation cannot go on: the sides no longer agree where they are."""
        return self.code in ("malformed", "too_large", "unknown_type", "illegal_state", "version")


class LocalError(ProtocolError):
    """We tried to build or send something that the protocol does not allow."""


class RemoteError(ProtocolError):
    """The peer sent something that the protocol does not allow."""


# WebSocket close code -> when. Codes 4000-4999 are ours to give (RFC 6455, 7.4.2).
CLOSE_CODES: dict[int, str] = {
    4400: "malformed: a text message, bytes that are not a message, an unknown type or an illegal turn",
    4404: "the session to resume is unknown; say hello again without one",
    4408: "no hello within ten seconds",
    4409: "another protocol version; the error before it says what to update",
    4410: "a newer connection resumed the same session",
    4413: "a message or picture beyond the limits",
    4429: "too many messages, or more bytes than the server has room for just now",
}
