"""Which session of the server's is ours, remembered so that results outlive a crash of Krita."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .qt import QtCore

# Two Kritas must not share a session: each would take the other's results.
_MOST_KRITAS = 8


class SessionFile:
    """``krita-session-N`` in Velatura's folder, N being the first that no running Krita holds.

    server: the id of a server elsewhere; its files are named ``krita-session-ID-N``.
    """

    def __init__(self, folder: Path, server: str = "") -> None:
        self._folder = folder
        self._name = f"krita-session-{server}-" if server else "krita-session-"
        self._lock: QtCore.QLockFile | None = None
        self._path: Path | None = None
        self._session: str | None = None

    def read(self) -> str | None:
        """The session to resume, or None for a new one."""
        self._claim()
        return self._session

    def write(self, session: str) -> None:
        if session == self._session:
            return
        self._session = session
        if self._path is None:
            return
        part = self._path.with_suffix(".part")
        # Without the file only the results of a crashed Krita are harder to find.
        with contextlib.suppress(OSError, ValueError):
            part.touch(mode=0o600)
            part.write_text(session, "ascii")
            part.replace(self._path)

    def forget(self) -> None:
        self._session = None

    def release(self) -> None:
        if self._lock is not None:
            self._lock.unlock()
            self._lock = None

    def _claim(self) -> None:
        if self._path is not None or not self._folder.is_dir():
            return
        for number in range(1, _MOST_KRITAS + 1):
            path = self._folder / f"{self._name}{number}"
            lock = QtCore.QLockFile(str(path) + ".lock")
            lock.setStaleLockTime(0)  # only a dead process loses its lock, not a slow one
            if lock.tryLock(0):
                self._path, self._lock = path, lock
                # Missing or damaged: a new session.
                with contextlib.suppress(OSError, ValueError):
                    self._session = path.read_text("ascii").strip() or None
                return
