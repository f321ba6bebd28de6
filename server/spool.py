"""The pixels of waiting jobs, on disk: memory holds what the queue needs to know of them.

    <folder>/<session key>.<job>.msg    one encoded request

Nothing here outlives the server: a client sends again what it was not answered.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from velatura.protocol import messages as m
from velatura.protocol.codec import encode

from .scheduler import Held, Request, is_interactive
from .settings import make_folder

# Smaller requests stay in memory.
SMALL = 16 << 10
_log = logging.getLogger("velatura.spool")


@dataclass(frozen=True)
class Spooled(Held):
    """A request on disk."""

    path: Path
    size: int

    def read(self) -> bytes:
        """The encoded request. Raises OSError."""
        return self.path.read_bytes()


class Spool:
    """The waiting requests of all sessions.

    most_bytes  of all together; session_bytes: of one session
    ``write`` may run in another thread, all else in one.
    """

    def __init__(self, folder: Path, *, most_bytes: int, session_bytes: int | None = None) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._session_bytes = most_bytes // 4 if session_bytes is None else session_bytes
        self._held: dict[tuple[str, str], Spooled] = {}
        self._of: dict[str, int] = {}
        self._size = 0
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)

    def full(self, session: str, size: int) -> str:
        """Why ``size`` bytes more cannot wait: a sentence; empty when they can."""
        if self._of.get(session, 0) + size > self._session_bytes:
            return (
                f"The pictures of your waiting jobs fill {self._session_bytes / 1e9:.3g} GB: "
                "wait for one to finish."
            )
        if self._size + size > self._most_bytes:
            return "The pictures of waiting jobs fill their share of the disk: try again later."
        return ""

    def write(self, session: str, request: Request) -> Spooled:
        """Raises OSError. It counts from ``add`` on."""
        parts = encode(request)
        path = self._folder / f"{session}.{request.job}.msg"
        try:
            with path.open("wb") as file:
                file.writelines(parts)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        size = sum(len(part) for part in parts)
        return Spooled(request.job, is_interactive(request), path, size)

    def add(self, session: str, spooled: Spooled) -> None:
        self._held[session, spooled.job] = spooled
        self._of[session] = self._of.get(session, 0) + spooled.size
        self._size += spooled.size

    def drop(self, session: str, job: str) -> None:
        """The job is answered, or was not taken."""
        spooled = self._held.pop((session, job), None)
        if spooled is None:
            return
        self._size -= spooled.size
        self._of[session] -= spooled.size
        if not self._of[session]:
            del self._of[session]
        try:
            spooled.path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("%s could not be removed: %s", spooled.path, error)


def size_of(request: m.Message) -> int:
    """Bytes of the pictures in ``request``."""
    return sum(len(part) for part in encode(request)[1:])
