"""What was painted is never lost: a final answer is on disk before it is sent.

    <folder>/<session key>/<job>/<variant>.msg    one finished variant
    <folder>/<session key>/<job>/map.msg          a control map
    <folder>/<session key>/<job>/error.msg        the error that ended the job
    <folder>/<session key>/acknowledged           the ids that the client has safely, one a line
    <folder>/<session key>/<job>.unreadable/      what could not be read, for somebody who can

A file holds one encoded message. It is written as ``.part``, synced and renamed: what has its name
is complete. All that is here was not acknowledged yet. No session makes room at another's cost: each
loses the oldest of its own beyond its share, and where all together fill the disk's share, no new job
is taken.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from velatura.protocol import messages as m
from velatura.protocol.codec import decode, encode
from velatura.protocol.errors import ProtocolError

from .scheduler import is_final

MOST_ACKNOWLEDGED = 4096
# What a file takes at least, whatever it holds.
_BLOCK = 4096
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger("velatura.results")

Answer = m.Result | m.ControlMap | m.Error


class UnreadableError(Exception):
    """An answer that is on disk cannot be read."""


@dataclass(frozen=True)
class Stored:
    """One answer of a job. It is read again when it is sent, so that a slow reader costs no memory.

    ``message`` is set when it could not be written and memory is all there is. ``error``: it ends the
    job without a picture.
    """

    path: Path
    job: str
    size: int
    final: bool
    message: Answer | None = None
    error: bool = False

    def load(self) -> Answer:
        """Raises UnreadableError: it was removed in the meantime, is damaged or may not be read."""
        if self.message is not None:
            return self.message
        try:
            message = decode(self.path.read_bytes(), largest_picture=1 << 40)
        except (OSError, ProtocolError) as error:
            raise UnreadableError(str(error)) from error
        if not isinstance(message, Answer) or message.job != self.job:
            raise UnreadableError("it holds something else")
        return message


@dataclass
class _Job:
    answers: list[Stored] = field(default_factory=list)
    touched: float = 0.0
    unreadable: bool = False

    @property
    def final(self) -> bool:
        return any(answer.final for answer in self.answers)

    @property
    def only_error(self) -> bool:
        return all(answer.error for answer in self.answers)

    @property
    def size(self) -> int:
        return sum(max(answer.size, _BLOCK) for answer in self.answers)

    @property
    def in_memory(self) -> int:
        return sum(answer.size for answer in self.answers if answer.message is not None)


@dataclass
class _Session:
    """One session's jobs, oldest first, and what they take."""

    jobs: dict[str, _Job] = field(default_factory=dict)
    errors: dict[str, None] = field(default_factory=dict)
    size: int = 0


def _file_name(message: Answer) -> str:
    if isinstance(message, m.Result):
        return f"{message.variant}.msg"
    return "map.msg" if isinstance(message, m.ControlMap) else "error.msg"


class Results:
    """All answers that wait for an acknowledgement, by (session key, job).

    most_bytes     of all sessions together: beyond it no new job is taken
    session_bytes, session_jobs, session_errors  of one session: beyond it its own oldest goes
    memory_bytes   of what the disk refused: beyond it no new job is taken
    age            (s) what is older goes first, but only where ``most_bytes`` are reached

    ``write`` may run in another thread, all else in one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int,
        age: float,
        session_bytes: int | None = None,
        session_jobs: int = 1024,
        session_errors: int = 256,
        memory_bytes: int = 256 << 20,
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._session_bytes = most_bytes // 4 if session_bytes is None else session_bytes
        self._session_jobs = session_jobs
        self._session_errors = session_errors
        self._memory_bytes = memory_bytes
        self._age = age
        self._sessions: dict[str, _Session] = {}
        self._size = self._in_memory = 0
        self._acknowledged: dict[str, dict[str, None]] = {}
        self._scan()

    def write(self, session: str, message: Answer) -> Stored:
        """Put ``message`` on disk, or keep it in memory if the disk refuses: then
        ``Stored.message`` is set. It is not listed before ``add``."""
        job = message.job or ""
        path = self._folder / session / job / _file_name(message)
        part = path.with_suffix(".part")
        parts = encode(message)
        size = sum(len(piece) for piece in parts)
        final, error = is_final(message), isinstance(message, m.Error)
        try:
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            with part.open("wb") as file:
                file.writelines(parts)
                if not error:  # a power cut may take an error, never a picture
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
        except OSError as failure:
            _log.error("%s could not be written: %s", path, failure)
            try:
                part.unlink(missing_ok=True)
            except OSError as second:  # the disk is gone altogether
                _log.error("%s could not be removed: %s", part, second)
            return Stored(path, job, size, final, message, error)
        return Stored(path, job, size, final, None, error)

    def add(self, session: str, stored: Stored) -> None:
        mine = self._sessions.setdefault(session, _Session())
        job = mine.jobs.setdefault(stored.job, _Job())
        self._count(session, job, -1)
        job.answers.append(stored)
        job.touched = time.time()
        self._count(session, job, 1)
        if job.only_error:
            mine.errors[stored.job] = None
        self._make_room(session, stored.job)

    def full(self) -> str:
        """Why no new job can be taken: a sentence; empty when it can."""
        if self._size > self._most_bytes:
            self._forget_aged()
        if self._size > self._most_bytes:
            return (
                "The pictures that nobody fetched fill their share of the disk "
                f"({self._most_bytes / 1e9:.3g} GB): open the programs that asked for them."
            )
        if self._in_memory > self._memory_bytes:
            return (
                "Results cannot be written to disk and fill the memory: "
                "free some space on the disk that holds Velatura's data folder."
            )
        return ""

    def answers(self, session: str, job: str) -> list[Stored]:
        """In the order in which they were given."""
        found = self._job(session, job)
        return list(found.answers) if found else []

    def is_finished(self, session: str, job: str) -> bool:
        found = self._job(session, job)
        return found is not None and found.final

    def was_acknowledged(self, session: str, job: str) -> bool:
        return job in self._acknowledged.get(session, {})

    def is_known(self, session: str, job: str) -> bool:
        """Whether the session has had a job of this id that was answered."""
        return self._job(session, job) is not None or self.was_acknowledged(session, job)

    def jobs(self, session: str) -> tuple[str, ...]:
        """Jobs with answers that wait, oldest first."""
        found = self._sessions.get(session)
        return tuple(found.jobs) if found else ()

    def acknowledge(self, session: str, job: str) -> None:
        """Forget the answers of a finished job, and that it may be painted again."""
        if not self.is_finished(session, job):
            return
        known = self._acknowledged.setdefault(session, {})
        known[job] = None
        path = self._folder / session / "acknowledged"
        try:
            with path.open("a", encoding="ascii") as file:
                file.write(job + "\n")
        except OSError as error:
            _log.error("%s could not be written: %s", path, error)
        self._remove(session, job)

    def set_aside(self, session: str, job: str) -> None:
        """An answer of ``job`` could not be read: its files outlive the acknowledgement."""
        found = self._job(session, job)
        if found is not None:
            found.unreadable = True

    def _job(self, session: str, job: str) -> _Job | None:
        found = self._sessions.get(session)
        return found.jobs.get(job) if found else None

    def _count(self, session: str, job: _Job, sign: int) -> None:
        self._sessions[session].size += sign * job.size
        self._size += sign * job.size
        self._in_memory += sign * job.in_memory

    def _remove(self, session: str, job: str) -> None:
        mine = self._sessions[session]
        found = mine.jobs.pop(job)
        mine.errors.pop(job, None)
        self._count(session, found, -1)
        if not mine.jobs:
            del self._sessions[session]
        folder = self._folder / session / job
        if found.unreadable:
            _put_aside(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def _make_room(self, session: str, newest: str) -> None:
        """Within the session's own share. Errors are no pictures, and make room for none."""
        mine = self._sessions[session]
        while len(mine.errors) > self._session_errors:
            self._remove(session, next(iter(mine.errors)))
        for job, found in list(mine.jobs.items()):
            pictures = len(mine.jobs) - len(mine.errors)
            if mine.size <= self._session_bytes and pictures <= self._session_jobs:
                return
            if job != newest and found.final and job not in mine.errors:
                _log.warning("job %s was never fetched and makes room", job)
                self._remove(session, job)

    def _forget_aged(self) -> None:
        eldest = time.time() - self._age
        aged = sorted(
            (job.touched, session, name)
            for session, found in self._sessions.items()
            for name, job in found.jobs.items()
            if job.final and job.touched < eldest
        )
        for _, session, name in aged:
            if self._size <= self._most_bytes:
                return
            _log.warning("job %s was never fetched and makes room", name)
            self._remove(session, name)

    def _scan(self) -> None:
        """Read what an earlier server left; finish what it did not."""
        found: list[tuple[float, str, str, _Job]] = []
        for session in _folders(self._folder, _KEY):
            self._acknowledged[session.name] = _read_acknowledged(session / "acknowledged")
            for folder in _folders(session, _UUID):
                job = _read_job(folder)
                if job is not None:
                    found.append((job.touched, session.name, folder.name, job))
        for _, key, name, job in sorted(found, key=lambda entry: entry[0]):
            if not job.final:
                sentence = "The server stopped while this job ran; its finished variants are kept."
                error = m.Error(code="worker_lost", message=sentence, job=name)
                job.answers.append(self.write(key, error))
            mine = self._sessions.setdefault(key, _Session())
            mine.jobs[name] = job
            if job.only_error:
                mine.errors[name] = None
            self._count(key, job, 1)


def _folders(folder: Path, name: re.Pattern[str]) -> Iterator[Path]:
    """The folders in ``folder`` whose names match: whatever else lies there is not ours."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        _log.error("%s cannot be read: %s", folder, error)
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _put_aside(folder: Path) -> None:
    try:
        folder.rename(folder.with_suffix(".unreadable"))
    except OSError as error:
        _log.error("%s could not be put aside: %s", folder, error)


def _read_acknowledged(path: Path) -> dict[str, None]:
    try:
        if not path.is_file():  # a session that has acknowledged nothing; never a pipe
            return {}
        lines = path.read_text("ascii", "replace").split()
    except OSError as error:
        _log.error("%s cannot be read: %s", path, error)
        return {}
    if len(lines) > MOST_ACKNOWLEDGED:
        lines = lines[-MOST_ACKNOWLEDGED // 2 :]
        part = path.with_suffix(".part")
        try:
            part.write_text("\n".join(lines) + "\n", "ascii", "replace")
            part.replace(path)
        except OSError as error:
            _log.error("%s could not be shortened: %s", path, error)
    return dict.fromkeys(lines)


def _read_job(folder: Path) -> _Job | None:
    """None when nothing complete is there."""
    job, damaged = _Job(), False
    try:
        found = [(entry.stat(follow_symlinks=False), entry) for entry in os.scandir(folder)]
    except OSError as error:
        _log.error("%s cannot be read: %s", folder, error)
        return None
    for status, entry in sorted(found, key=lambda one: one[0].st_mtime_ns):
        path = Path(entry.path)
        if path.suffix == ".part":
            with contextlib.suppress(OSError):
                path.unlink()  # half-written when an earlier server ended
        if path.suffix != ".msg":
            continue
        stored = _describe(path, folder.name)
        if stored is None:
            damaged = True
        else:
            job.answers.append(stored)
            job.touched = max(job.touched, status.st_mtime)
    if job.answers:
        return job
    if damaged:
        _put_aside(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return None


def _describe(path: Path, job: str) -> Stored | None:
    """None for what is not an answer: damaged, unreadable, or of another version of ours."""
    try:
        if not path.is_file():
            raise ValueError("it is not a file")
        # Mapped, so that only the header is read: gigabytes may wait here when the server starts.
        with path.open("rb") as file:
            blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        message = decode(blob, largest_picture=1 << 40)  # type: ignore[arg-type]
    except (ProtocolError, ValueError, OSError) as failure:
        _log.error("%s is not a message and is left out: %s", path, failure)
        return None
    if not isinstance(message, Answer) or message.job != job:
        return None
    return Stored(path, job, len(blob), is_final(message), error=isinstance(message, m.Error))
