"""A campaign against the installer: killed at random moments, it must end well all the same.

``Campaign`` is told how to start an installer in a process of its own; the short form in the tests
does so with the small uv, ``benchmarks.install_kills`` with the release's own.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from velatura.krita_plugin.install.installed import installed, used
from velatura.protocol.discovery import read_launch

# What is killed or cut: the installer alone, one of what it started, all at once as when the computer
# is switched off, or the connection.
KINDS = ("installer", "child", "everything", "connection")


@dataclass
class Campaign:
    """start: begins an installation into ``home``. cut(True) takes the connection away.

    longest: seconds of a whole installation; the moment of a kill lies within.
    """

    start: Callable[[], subprocess.Popen[str]]
    home: Path
    data: Path
    longest: float
    cut: Callable[[bool], None] = lambda is_cut: None
    kinds: tuple[str, ...] = KINDS
    faults: list[str] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)

    def round(self, chance: random.Random) -> None:
        """One installation that is hit once, and what must hold afterwards."""
        kind, moment = chance.choice(self.kinds), chance.uniform(0.0, self.longest)
        if chance.random() < 0.3:  # downloads again, not only links
            shutil.rmtree(self.home / "cache", ignore_errors=True)
        before = used(self.data, self.home)
        process = self.start()
        until = time.monotonic() + moment
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.02)
        is_hit = process.poll() is None
        if is_hit:
            self._hit(kind, process, chance)
        said = process.communicate()[1].strip()
        self.cut(False)
        self._count(f"{kind}, {'hit' if is_hit else 'already done'}, ended {process.returncode}")
        where = f"{kind} after {moment:.1f} s"
        if process.returncode == 1 and (not said.endswith(".") or len(said.splitlines()) != 1):
            self.faults.append(f"{where}: said {said!r}")
        if process.returncode not in (0, 1, -signal.SIGKILL):
            self.faults.append(f"{where}: ended {process.returncode}: {said!r}")
        self._nothing_half(where)
        after = used(self.data, self.home)
        if before is not None and after is None:
            self.faults.append(f"{where}: the server that was there starts no more")

    def finish(self) -> None:
        """Nothing hits it: it must work."""
        process = self.start()
        said = process.communicate()[1].strip()
        if process.returncode != 0:
            self.faults.append(f"undisturbed: {said!r}")
        self._nothing_half("undisturbed")
        if used(self.data, self.home) is None:
            self.faults.append("undisturbed: no server starts")

    def _hit(self, kind: str, process: subprocess.Popen[str], chance: random.Random) -> None:
        with contextlib.suppress(psutil.Error):
            one = psutil.Process(process.pid)
            children = one.children(recursive=True)
            if kind == "connection":
                self.cut(True)
            elif kind == "child":
                if children:
                    chance.choice(children).kill()
            else:
                one.kill()
                for child in children if kind == "everything" else ():
                    with contextlib.suppress(psutil.Error):
                        child.kill()

    def _nothing_half(self, where: str) -> None:
        """What would start was completed, and is whole enough to import the server's code."""
        launch = read_launch(self.data)
        if launch is None:
            return
        one = used(self.data, self.home)
        if one is None or one not in installed(self.home):
            self.faults.append(f"{where}: {launch.command[0]} would start and was never completed")
            return
        done = subprocess.run([one.command[0], "-c", "pass"], capture_output=True)
        if done.returncode:
            self.faults.append(f"{where}: {one.command[0]} does not run")

    def _count(self, end: str) -> None:
        self.ends[end] = self.ends.get(end, 0) + 1
