"""What was painted is never lost: a final answer is on disk before it is sent.

    <folder>/<session key>/<job>/<variant>.msg    one finished variant
    <folder>/<session key>/<job>/map.msg          a control map
    <folder>/<session key>/<job>/error.msg        the error that ended the job
    <folder>/<session key>/acknowledged           the ids that the client has safely, one a line

A file holds one encoded message. It is written as ``.part``, synced and renamed: what has its name
is complete. All that is here was not acknowledged yet; the oldest goes when the folder is full.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from velatura.protocol import messages as m
from velatura.protocol.codec import decode, encode
from velatura.protocol.errors import ProtocolError

from .scheduler import is_final

MOST_JOBS = 1024
MOST_ACKNOWLEDGED = 4096
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger("velatura.results")

Answer = m.Result | m.ControlMap | m.Error


@dataclass(frozen=True)
class Stored:
    """One answer of a job. It is read again when it is sent, so that a slow reader costs no memory.

    ``message`` is set when it could not be written and memory is all there is.
    """

    path: Path
    job: str
    size: int
    final: bool
    message: Answer | None = None

    def load(self) -> Answer | None:
        """None when it was acknowledged or removed in the meantime."""
        if self.message is not None:
            return self.message
        try:
            return decode(self.path.read_bytes(), largest_picture=1 << 40)  # type: ignore[return-value]
        except FileNotFoundError:
            return None


@dataclass
class _Job:
    answers: list[Stored] = field(default_factory=list)
    touched: float = 0.0

    @property
    def final(self) -> bool:
        return any(answer.final for answer in self.answers)

    @property
    def size(self) -> int:
        return sum(answer.size for answer in self.answers)


def _file_name(message: Answer) -> str:
    if isinstance(message, m.Result):
        return f"{message.variant}.msg"
    return "map.msg" if isinstance(message, m.ControlMap) else "error.msg"


class Results:
    """All answers that wait for an acknowledgement, by (session key, job).

    most_bytes, age (s): what is kept. ``write`` may run in another thread, all else in one.
    """

    def __init__(self, folder: Path, *, most_bytes: int, age: float) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._age = age
        self._jobs: dict[tuple[str, str], _Job] = {}
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
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.writelines(parts)
                if not isinstance(
                    message, m.Error
                ):  # a power cut may take an error, never a picture
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            _log.error("%s could not be written: %s", path, error)
            try:
                part.unlink(missing_ok=True)
            except OSError as second:  # the disk is gone altogether
                _log.error("%s could not be removed: %s", part, second)
            return Stored(path, job, size, is_final(message), message)
        return Stored(path, job, size, is_final(message))

    def add(self, session: str, stored: Stored) -> None:
        job = self._jobs.setdefault((session, stored.job), _Job())
        job.answers.append(stored)
        job.touched = time.time()
        self._make_room((session, stored.job))

    def answers(self, session: str, job: str) -> list[Stored]:
        """In the order in which they were given."""
        found = self._jobs.get((session, job))
        return list(found.answers) if found else []

    def is_finished(self, session: str, job: str) -> bool:
        found = self._jobs.get((session, job))
        return found is not None and found.final

    def was_acknowledged(self, session: str, job: str) -> bool:
        return job in self._acknowledged.get(session, {})

    def is_known(self, session: str, job: str) -> bool:
        """Whether the session has had a job of this id that was answered."""
        return (session, job) in self._jobs or self.was_acknowledged(session, job)

    def jobs(self, session: str) -> tuple[str, ...]:
        """Jobs with answers that wait, oldest first."""
        return tuple(job for owner, job in self._jobs if owner == session)

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
        self._remove((session, job))

    def _remove(self, key: tuple[str, str]) -> None:
        del self._jobs[key]
        shutil.rmtree(self._folder.joinpath(*key), ignore_errors=True)

    def _make_room(self, newest: tuple[str, str]) -> None:
        size = sum(job.size for job in self._jobs.values())
        eldest = time.time() - self._age
        for key, job in list(self._jobs.items()):
            full = size > self._most_bytes or len(self._jobs) > MOST_JOBS
            if key == newest or not job.final or not (full or job.touched < eldest):
                continue
            size -= job.size
            _log.warning("job %s was never fetched and makes room", key[1])
            self._remove(key)

    def _scan(self) -> None:
        """Read what an earlier server left; finish what it did not."""
        found: list[tuple[float, tuple[str, str], _Job]] = []
        for session in sorted(self._folder.iterdir()):
            if not _KEY.fullmatch(session.name):
                continue
            self._acknowledged[session.name] = _read_acknowledged(session / "acknowledged")
            for folder in session.iterdir():
                if not folder.is_dir() or not _UUID.fullmatch(folder.name):
                    continue
                job = _read_job(folder)
                if job is None:
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                found.append((job.touched, (session.name, folder.name), job))
        self._jobs = {key: job for _, key, job in sorted(found, key=lambda entry: entry[0])}
        for (session_key, job_id), job in self._jobs.items():
            if not job.final:
                sentence = "The server stopped while this job ran; its finished variants are kept."
                error = m.Error(code="worker_lost", message=sentence, job=job_id)
                job.answers.append(self.write(session_key, error))


def _read_acknowledged(path: Path) -> dict[str, None]:
    try:
        lines = path.read_text("ascii", "replace").split()
    except OSError:  # a session that has acknowledged nothing
        return {}
    if len(lines) > MOST_ACKNOWLEDGED:
        lines = lines[-MOST_ACKNOWLEDGED // 2 :]
        part = path.with_suffix(".part")
        part.write_text("\n".join(lines) + "\n", "ascii")
        part.replace(path)
    return dict.fromkeys(lines)


def _read_job(folder: Path) -> _Job | None:
    """None when nothing complete is there."""
    job = _Job()
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        if path.suffix != ".msg":
            path.unlink()  # half-written when an earlier server ended
            continue
        stored = _describe(path, folder.name)
        if stored is not None:
            job.answers.append(stored)
            job.touched = max(job.touched, path.stat().st_mtime)
    return job if job.answers else None


def _describe(path: Path, job: str) -> Stored | None:
    """None for a file that is not an answer: damaged, or of another version of ours."""
    try:
        # Mapped, so that only the header is read: gigabytes may wait here when the server starts.
        with path.open("rb") as file:
            blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        message = decode(blob, largest_picture=1 << 40)  # type: ignore[arg-type]
    except (ProtocolError, ValueError) as error:
        _log.error("%s is not a message and is left out: %s", path, error)
        return None
    if not isinstance(message, Answer) or message.job != job:
        return None
    return Stored(path, job, path.stat().st_size, is_final(message))
