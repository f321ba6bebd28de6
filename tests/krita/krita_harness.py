"""Drives a real Krita under Xvfb.

``Installation`` owns what a test session shares: the virtual screen, the built plugin and a HOME in
which Krita has started once (a fresh one costs 10 to 20 s, a copy of a warm one 2 s). ``Krita`` is
one running process that takes scripts, one after the other, on its GUI thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holding
import pytest
from velatura.server import plugin_package

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
INSTALL = (
    "apt-get install -y --no-install-recommends krita xvfb xauth xdotool imagemagick python3-pyqt5"
)
SCREEN = "1600x1000x24"
START_SECONDS = 120.0
# A file that is told how long the plugin holds the GUI thread: kt/holds.py.
HOLDS = "VELATURA_HOLDS"


def missing() -> list[str]:
    """The programs that these tests need and that are not installed."""
    return [name for name in ("krita", "Xvfb") if shutil.which(name) is None]


@dataclass(frozen=True)
class Outcome:
    """What a script reported: its ``say`` lines, its ``report`` values, and wall seconds."""

    lines: list[str]
    values: dict
    seconds: float


class Screen:
    """A virtual X screen of its own."""

    def __init__(self) -> None:
        for _ in range(3):  # two that start at once may want the same number
            self._process, number = self._start()
            if number:
                break
            self._process.wait()
        else:
            raise RuntimeError("Xvfb did not start; run `Xvfb -displayfd 1` to see why.")
        self.display = ":" + number

    @staticmethod
    def _start() -> tuple[subprocess.Popen[bytes], str]:
        read, write = os.pipe()
        process = subprocess.Popen(
            # Without -noreset it starts over when a Krita leaves, deaf to the next one meanwhile.
            [
                "Xvfb",
                "-displayfd",
                str(write),
                "-screen",
                "0",
                SCREEN,
                "-nolisten",
                "tcp",
                "-noreset",
            ],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            return process, pipe.readline().strip()

    def photograph(self, path: Path) -> None:
        """Save what is on the screen, from outside: also when Krita hangs."""
        if shutil.which("import"):
            subprocess.run(
                ["import", "-display", self.display, "-window", "root", str(path)],
                check=False,
                timeout=20,
            )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Krita:
    """A running Krita. ``folder`` keeps its log, faults and screenshots; ``home`` its HOME."""

    def __init__(self, home: Path, folder: Path, screen: Screen, env: Mapping[str, str]) -> None:
        self.home, self.folder, self._screen = home, folder, screen
        self._number = 0
        (folder / "jobs").mkdir(parents=True)
        run = home / "run"
        run.mkdir(exist_ok=True, mode=0o700)
        self._log = (folder / "krita.log").open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            ["krita", "--nosplash"],
            env={
                # Not ours: Krita's Python would find the wrong site-packages.
                "PATH": "/usr/bin:/bin",
                "HOME": str(home),
                "XDG_RUNTIME_DIR": str(run),
                "LC_ALL": "C.UTF-8",
                "PYTHONDONTWRITEBYTECODE": "1",
                "DISPLAY": screen.display,
                "KT_FOLDER": str(folder),
                **({HOLDS: os.environ[HOLDS]} if HOLDS in os.environ else {}),
                **env,
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def run(
        self,
        script: str,
        test: str = "test",
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Outcome:
        """Run one generator function of a script; fail the pytest test if it fails.

        script: a file name in tests/krita/scripts, or a path. env: set in Krita while it runs.
        """
        self._number += 1
        path = SCRIPTS / script  # an absolute path stays itself
        base = self.folder / "jobs" / str(self._number)
        result_path, picture = base.with_suffix(".result.json"), base.with_suffix(".png")
        # The first script also waits for Krita to start.
        limit = timeout + (START_SECONDS if self._number == 1 else 0.0)
        job = {
            "script": str(path),
            "test": test,
            "env": dict(env or {}),
            "timeout": limit,
            "screenshot": str(picture),
        }
        part = base.with_suffix(".part")
        part.write_text(json.dumps(job), "utf-8")
        part.rename(base.with_suffix(".json"))
        start = time.monotonic()
        while not result_path.exists():
            if self.process.poll() is not None:
                self._fail(f"Krita ended with {self.process.returncode} in {script}::{test}")
            if time.monotonic() - start > limit:
                self._screen.photograph(picture)
                self.kill()
                self._fail(f"{script}::{test} did not end in {limit:.0f} s; screen: {picture}")
            time.sleep(0.02)
        result = json.loads(result_path.read_text("utf-8"))
        if result["error"]:
            said = "\n".join(result["lines"])
            self._fail(
                f"{script}::{test} failed in Krita; screen: {picture}\n{said}\n{result['error']}"
            )
        if "Error loading plugin" in self.log:
            self._fail("Krita could not load a plugin")
        return Outcome(result["lines"], result["values"], time.monotonic() - start)

    @property
    def log(self) -> str:
        return (self.folder / "krita.log").read_text("utf-8", errors="replace")

    def _fail(self, why: str) -> None:
        parts = [why]
        faults = self.folder / "faults.txt"
        for title, text in (
            ("stacks", faults.read_text("utf-8", errors="replace") if faults.exists() else ""),
            ("Krita's log", "\n".join(self.log.splitlines()[-60:])),
        ):
            if text.strip():
                parts.append(f"--- {title} ---\n{text.strip()}")
        pytest.fail("\n".join(parts), pytrace=False)

    def close(self) -> None:
        """Let Krita leave; its HOME stays."""
        (self.folder / "quit").touch()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()

    def kill(self) -> None:
        """SIGKILL: as a crash would leave things."""
        self.process.kill()
        self.process.wait()


class Installation:
    """What the tests of one session share. ``close`` ends everything that was started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._screen: Screen | None = None
        self._kritas = contextlib.ExitStack()
        self._shared: Callable[..., Outcome] | None = None
        self._template: Path | None = None

    @property
    def screen(self) -> Screen:
        if self._screen is None:
            self._screen = Screen()
        return self._screen

    def new_home(self, *, plugin: bool = True) -> Path:
        """A HOME in which Krita has run before and the plugin is installed (or not)."""
        if self._template is None:
            template = self._new_folder("template") / "home"
            _write_helper(template)
            first = Krita(template, self._new_folder("warm-up"), self.screen, {})
            first.run("warm_up.py")
            first.close()
            self._template = template
        home = self._new_folder("home") / "home"
        shutil.copytree(self._template, home, symlinks=True)
        if plugin:
            installed = plugin_package.find_kritas({}, "linux", home)[0]
            plugin_package.install_into(installed)
            if HOLDS in os.environ:
                holding.watch(installed.resources / "pykrita/velatura")
        return home

    @contextlib.contextmanager
    def start(
        self, *, env: Mapping[str, str] | None = None, home: Path | None = None
    ) -> Iterator[Krita]:
        """A Krita of one's own, in a new HOME unless one is given (``krita.home`` of another)."""
        running = Krita(home or self.new_home(), self._new_folder("run"), self.screen, env or {})
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.close()
            if home is None:
                shutil.rmtree(running.home, ignore_errors=True)  # 90 MB each

    @contextlib.contextmanager
    def lasting(self, env: Mapping[str, str] | None = None) -> Iterator[Callable[..., Outcome]]:
        """``Krita.run`` of one Krita for many scripts. Where it has ended, the next script gets
        another: its end fails the test in which it came, and no other."""
        with contextlib.ExitStack() as kritas:
            running: Krita | None = None

            def run(script: str, test: str = "test", **options: Any) -> Outcome:
                nonlocal running
                if running is None or running.process.poll() is not None:
                    running = kritas.enter_context(self.start(env=env))
                return running.run(script, test, **options)

            yield run

    def run(
        self,
        script: str,
        test: str = "test",
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        shared: bool = False,
    ) -> Outcome:
        """Run a script in a Krita of its own or, ``shared``, in one that other scripts use too.

        Only scripts that leave no trace (settings, plugin state) may share. ``env`` holds from
        Krita's start in the first case, while the script runs in the second.
        """
        if not shared:
            with self.start(env=env) as own:
                return own.run(script, test, timeout=timeout)
        if self._shared is None:
            self._shared = self._kritas.enter_context(self.lasting())
        return self._shared(script, test, env=env, timeout=timeout)

    def close(self) -> None:
        self._kritas.close()
        if self._screen is not None:
            self._screen.close()
        if self._template is not None:
            shutil.rmtree(self._template, ignore_errors=True)

    def _new_folder(self, name: str) -> Path:
        self._count += 1
        path = self._folder / f"{self._count:03}-{name}"
        path.mkdir(parents=True)
        return path


def _write_helper(home: Path) -> None:
    """Put the in-Krita side of this harness into a HOME and enable it."""
    pykrita = home / ".local/share/krita/pykrita"
    pykrita.mkdir(parents=True)
    shutil.copytree(HERE / "kt", pykrita / "kt", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "kt.desktop", pykrita)
    (home / ".config").mkdir()
    (home / ".config/kritarc").write_text("[python]\nenable_kt=true\n", "utf-8")
