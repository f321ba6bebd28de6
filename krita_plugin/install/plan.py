"""What Install will do: decided before anything is touched, so that the painter can read it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .devices import Build, builds_for, find_device, refusal
from .machine import MACOS, WINDOWS, Machine
from .release import Release, is_whole
from .settings import PUBLIC, InstallSettings, Mirror
from .troubles import Trouble, of_os_error

# Marks a folder as ours: only such a one is ever cleared.
MARK = "velatura-server.json"
_OWN_FOLDER = "velatura-server"
# The deepest file of the libraries below an installation's own folder, in letters.
_DEEPEST = 170
_MOST_LETTERS = {WINDOWS: 259, MACOS: 1000}
# A database or a mail that grows meanwhile must not end it at 99 %.
_SPARE_BYTES = 500_000_000


@dataclass(frozen=True)
class Plan:
    """release from ``payload``, into ``home``, with ``build`` of PyTorch.

    home: the folder that holds uv, Python, libraries and the versions of the server.
    """

    release: Release
    payload: Path
    home: Path
    build: Build
    system: str
    mirror: Mirror = PUBLIC


def make_plan(
    machine: Machine, payload: Path, release: Release, data: Path, settings: InstallSettings
) -> Plan:
    """data: Velatura's folder. Raises Trouble where no server can be installed."""
    why = refusal(machine)
    if why:
        raise Trouble("unsupported", why)
    if release.platform != machine.platform:
        raise Trouble(
            "unsupported",
            f"This zip is for {release.platform}: get the one for {machine.platform}.",
        )
    builds = builds_for(machine)
    device = settings.device or find_device(machine)
    if device not in builds:
        raise Trouble("unsupported", f"device must be one of {', '.join(builds)}, not {device}.")
    home = home_of(Path(settings.folder)) if settings.folder else data / "server"
    return Plan(release, payload, home, builds[device], machine.system, settings.mirror)


def home_of(chosen: Path) -> Path:
    """``chosen`` where it is empty, missing or ours already; else a folder of our own in it."""
    chosen = chosen.expanduser()
    if not chosen.is_absolute():
        raise Trouble("folder", "The folder must be written from its root, as /home/... or D:\\...")
    try:
        is_taken = chosen.is_dir() and any(chosen.iterdir()) and not (chosen / MARK).exists()
    except OSError as error:
        raise of_os_error(error, chosen) from error
    return chosen / _OWN_FOLDER if is_taken else chosen


def check(plan: Plan, free: Callable[[Path], int] | None = None) -> None:
    """Raise Trouble for what would fail later: packed files, length of the path, rights, space."""
    for packed in (plan.release.wheel, plan.release.uv):
        try:
            whole = is_whole(plan.payload, packed)
        except OSError as error:
            raise of_os_error(error, plan.payload / packed.name) from error
        if not whole:
            raise Trouble(
                "broken", f"{packed.name} of the plugin is damaged: import the zip once more."
            )
    longest = len(str(plan.home)) + len(plan.release.name) + _DEEPEST
    if longest > _MOST_LETTERS.get(plan.system, 4000):
        most = _MOST_LETTERS[plan.system] - _DEEPEST - len(plan.release.name)
        raise Trouble(
            "too_long", f"The folder's path is too long: choose one of at most {most} letters."
        )
    try:
        plan.home.mkdir(parents=True, exist_ok=True)
        probe = plan.home / "writable.part"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise of_os_error(error, plan.home) from error
    # What is there already counts: an update finds nearly all of it in the cache.
    needed = _SPARE_BYTES if (plan.home / "cache").is_dir() else plan.build.disk + _SPARE_BYTES
    there = (free or _free)(plan.home)
    if there < needed:
        raise Trouble(
            "no_space",
            f"{in_gb(needed)} are needed in {plan.home}, {in_gb(there)} are free: make room, or "
            "choose another folder.",
        )


def in_gb(count: int) -> str:
    """Bytes for a person: "3.2 GB", "300 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1_000_000_000 else f"{count / 1e6:.0f} MB"


def can_link(folder: Path) -> bool:
    """True where a file can have two names: the cache then takes no room of its own."""
    one, other = folder / "link-a.part", folder / "link-b.part"
    try:
        one.write_bytes(b"")
        os.link(one, other)
    except OSError:
        return False
    finally:
        for path in (one, other):
            try:
                path.unlink()
            except OSError:
                continue
    return True


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
