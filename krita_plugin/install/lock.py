"""A file that one process at a time holds; the system lets go of it when that process ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO


class Lock:
    """Opens ``path``, which stays. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("a+")

    def take(self, patience: float = 2.0) -> bool:
        """False when another holds it for longer than ``patience`` seconds: a process that was
        killed may leave a child behind that has it a moment longer."""
        until = time.monotonic() + patience
        while not _take(self._file):
            if time.monotonic() > until:
                self._file.close()
                return False
            time.sleep(0.05)
        return True

    def release(self) -> None:
        self._file.close()


if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[str]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a network home that knows no locks
            return True
        return True
