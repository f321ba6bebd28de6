"""One server per data folder: who holds it, and where the others find it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import IO

from velatura.protocol.discovery import Running, read_running

from .settings import StartError, cannot, make_folder, own_file, write_private


class Presence:
    """The folder's lock, and ``server.json`` while the server listens.

    The kernel drops the lock when the process dies, however it dies: a stale ``server.json`` never
    keeps a server from starting, and a process that got a dead server's pid is not mistaken for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def claim(self) -> None:
        """Raises StartError when another server holds the folder."""
        make_folder(self._folder)
        path = own_file(self._folder / "server.lock")
        try:
            file = open(path, "a+")  # noqa: SIM115  held while we live
        except OSError as error:
            raise cannot(f"{path} cannot be opened", error) from None
        if not _lock(file):
            file.close()
            other = read_running(self._folder)
            who = f"process {other.pid} at {other.url}" if other else "another process"
            raise StartError(
                f"A Velatura server is already running here: {who}. Use that one, or end it first."
            )
        self._file = file

    @property
    def lasts(self) -> bool:
        """Whether the lock that we hold is still the one in the folder: nobody removed it."""
        if self._file is None:
            return False
        try:
            there = os.stat(self._folder / "server.lock")
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._file.fileno()))

    def announce(self, running: Running) -> None:
        text = json.dumps(
            {
                "pid": running.pid,
                "host": running.host,
                "port": running.port,
                "version": running.version,
                "tls": running.tls,
                "certificate": running.certificate,
            }
        )
        write_private(self._folder / "server.json", text)

    def release(self) -> None:
        if self._file is None:
            return
        running = read_running(self._folder)
        if running is not None and running.pid == os.getpid():
            with contextlib.suppress(OSError):
                (self._folder / "server.json").unlink(missing_ok=True)
        self._file.close()
        self._file = None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
