"""The steps of an installation, in order; each leaves what the next attempt can use.

check, uv, python, libraries, first picture, receipt, switch. What is interrupted, by whatever, goes
on when it is started again: downloads stay in the cache, and everything else is made anew within
seconds, in a new folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import uv
from .installed import Installed, Receipt, clear, installed, next_folder, switch, write_receipt
from .lock import Lock
from .plan import MARK, Plan, can_link, check
from .runner import run
from .troubles import Trouble, of_os_error, without_secrets

LOG = "install.log"
# What the server is asked for before it counts as installed: a first picture, told as JSON.
FIRST_PICTURE = ("-m", "velatura.server.first_picture")
STEPS = ("Checking", "Unpacking", "Python", "Libraries", "First picture")


@dataclass(frozen=True)
class Progress:
    """step of STEPS, 0..; name: what is coming now, "" for nothing of its own; bytes; seconds_left
    None while it cannot be told."""

    step: int
    name: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


class Installer:
    """One attempt at ``plan``. data: Velatura's folder; tell: called on the thread that runs it."""

    def __init__(
        self,
        plan: Plan,
        data: Path,
        tell: Callable[[Progress], None] = lambda progress: None,
        *,
        environ: Mapping[str, str] = os.environ,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._plan, self._data, self._tell = plan, data, tell
        self._environ, self._is_cancelled = environ, is_cancelled

    def install(self) -> Installed:
        """Do it, and let the new version start from now on.

        Raises Trouble, Cancelled. In each case what was installed before starts as before.
        """
        plan = self._plan
        self._tell(Progress(0))
        check(plan)
        with _marked(plan.home), self._log() as log:
            log(f"Velatura {plan.release.version}, {plan.build.device}, {plan.release.platform}")
            try:
                return self._steps(log)
            except Trouble as trouble:
                log(f"{trouble.kind}: {trouble.sentence}")
                raise
            except OSError as error:
                log(str(error))
                raise of_os_error(error, plan.home) from error

    def _steps(self, log: Callable[[str], None]) -> Installed:
        plan = self._plan
        before = installed(plan.home)
        clear(plan.home, [one.folder for one in before])
        links = can_link(plan.home)
        environ = uv.environment(plan, self._environ, links=links)
        self._tell(Progress(1))
        put_uv(plan)
        folder, number = next_folder(plan.home, plan.release.name)
        folder.mkdir(parents=True)
        self._run(2, uv.make_environment(plan, folder), environ, log)
        self._run(3, uv.install_packages(plan, folder), environ, log)
        command = [str(uv.python_path(folder, plan.system)), *FIRST_PICTURE]
        try:
            said = self._run(4, command, environ, log)
        except Trouble as trouble:
            raise Trouble(
                "check", f"The new server does not start: {trouble.sentence} Send the log."
            ) from trouble
        paints_on, seconds = _first_picture(said)
        receipt = Receipt(
            version=plan.release.version,
            wheel=plan.release.wheel.sha256,
            device=plan.build.device,
            system=plan.system,
            number=number,
            paints_on=paints_on,
            seconds=seconds,
        )
        new = write_receipt(folder, receipt)
        switch(self._data, new)
        # The one before stays: it is what a new server that fails falls back to.
        clear(plan.home, [new.folder, *(one.folder for one in before[:1])])
        if not links:
            shutil.rmtree(plan.home / "cache", ignore_errors=True)
        log("Installed.")
        return new

    def _run(
        self, step: int, command: list[str], environ: Mapping[str, str], log: Callable[[str], None]
    ) -> str:
        plan = self._plan
        coming = uv.Downloads(plan.build.download if step == 3 else 0)
        start, before = time.monotonic(), _free(plan.home)

        def tell() -> None:
            coming.grow(before - _free(plan.home))
            took, done = time.monotonic() - start, coming.done
            left = (coming.total - done) * took / done if done and took > 1.0 else None
            self._tell(Progress(step, coming.name, done, coming.total, left))

        def hear(line: str) -> None:
            log(line)
            if coming.hear(line):
                tell()

        self._tell(Progress(step, total=coming.total))
        log(" ".join(command))
        return run(
            command,
            environ=environ,
            folder=plan.home,
            system=plan.system,
            hear=hear,
            idle=tell,
            is_cancelled=self._is_cancelled,
        )

    @contextlib.contextmanager
    def _log(self) -> Iterator[Callable[[str], None]]:
        """install.log of this attempt; the one before stays beside it."""
        path, user = self._plan.home / LOG, Path.home()
        if path.exists():
            path.replace(path.with_name(LOG + ".old"))
        with path.open("w", encoding="utf-8", errors="replace") as file:

            def log(line: str) -> None:
                file.write(f"{time.strftime('%H:%M:%S')} {without_secrets(line, user)}\n")
                file.flush()

            yield log


def put_uv(plan: Plan) -> None:
    """uv where it can run: Krita's importer makes no file executable. Raises Trouble."""
    target = uv.uv_path(plan)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        shutil.copyfile(plan.payload / plan.release.uv.name, part)
        part.chmod(0o755)
        part.replace(target)
    except OSError as error:
        raise of_os_error(error, target) from error


@contextlib.contextmanager
def _marked(home: Path) -> Iterator[None]:
    """The home as ours, and ours alone while we work in it."""
    try:
        (home / MARK).touch()
        lock = Lock(home / "lock")
    except OSError as error:
        raise of_os_error(error, home) from error
    if not lock.take():
        raise Trouble("busy", "Another Krita is installing the server: wait until it is done.")
    try:
        yield
    finally:
        lock.release()


def _first_picture(said: str) -> tuple[str, float]:
    """(the device's name, seconds of a small picture), from the JSON line of velatura.server.first_picture."""
    for line in reversed(said.splitlines()):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            told = json.loads(line)
            return str(told["device"])[:200], float(told["seconds"])
    raise Trouble("check", "The new server painted nothing: send the log.")


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
