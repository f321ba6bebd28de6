"""What is installed, which of it starts, and how it goes again.

A version of the server lies in a folder of its own under the home. Its receipt is written last and in
one step: a folder without one never starts. ``launch.json`` in Velatura's folder is the only switch.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...protocol.discovery import read_launch
from ...protocol.errors import LocalError
from ...protocol.fields import check_record, dump_record, integer, load_record, real, text
from .plan import MARK
from .troubles import of_os_error
from .uv import launch_command

RECEIPT = "receipt.json"
VERSIONS = "versions"
# Of the home, besides its mark, lock and log: nothing else in it is ever removed.
_OURS = (VERSIONS, "python", "cache", "credentials")
# What a painter may keep when the server goes -> the files in Velatura's folder.
KEPT = {
    "models": ("models", "models.json"),
    "styles": ("styles",),
    "results": ("results",),
    "settings": ("settings.json", "install.json", "token"),
}


@dataclass(frozen=True)
class Receipt:
    """wheel: sha256 of the server's. device: of devices.LABELS. number: counts installations in one
    home. paints_on, seconds: what the first picture told: the device's name, and how long a small
    one takes."""

    version: str = text(100, shortest=1)
    wheel: str = text(64, shortest=64)
    device: str = text(20, shortest=1)
    system: str = text(20, shortest=1)
    number: int = integer(1, 1_000_000_000)
    paints_on: str = text(200, "")
    seconds: float = real(0, 1e6, 0.0)

    def __post_init__(self) -> None:
        check_record(self)


@dataclass(frozen=True)
class Installed:
    """A version that can start."""

    folder: Path
    receipt: Receipt

    @property
    def command(self) -> list[str]:
        return launch_command(self.folder, self.receipt.system)


def installed(home: Path) -> list[Installed]:
    """All that can start, the newest first."""
    found = []
    for folder in _folders(home):
        try:
            receipt = load_record(Receipt, json.loads((folder / RECEIPT).read_bytes()), ())
        except (OSError, ValueError, LocalError):
            continue
        one = Installed(folder, receipt)
        if Path(one.command[0]).exists():
            found.append(one)
    return sorted(found, key=lambda one: one.receipt.number, reverse=True)


def used(data: Path, home: Path) -> Installed | None:
    """The one that starts now; None when it is another server, or none."""
    launch = read_launch(data)
    command = None if launch is None else list(launch.command)
    return next((one for one in installed(home) if one.command == command), None)


def is_foreign(data: Path, home: Path) -> bool:
    """True when what starts was not installed by us: a developer's own, say."""
    launch = read_launch(data)
    return launch is not None and not Path(launch.command[0]).is_relative_to(home)


def next_folder(home: Path, name: str) -> tuple[Path, int]:
    """(a folder that was never used, its number): what an earlier, killed attempt still writes
    cannot come into it."""
    taken = [_number(folder) for folder in _folders(home)]
    number = 1 + max(taken, default=0)
    return home / VERSIONS / f"{name}-{number}", number


def write_receipt(folder: Path, receipt: Receipt) -> Installed:
    """From now on it is installed. Raises Trouble."""
    try:
        write_whole(folder / RECEIPT, dump_record(receipt, []))
    except OSError as error:
        raise of_os_error(error, folder) from error
    return Installed(folder, receipt)


def switch(data: Path, one: Installed) -> None:
    """Let this one start from now on. Raises Trouble."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(data / "launch.json", {"command": one.command})
    except OSError as error:
        raise of_os_error(error, data) from error


def go_back(data: Path, home: Path) -> Installed | None:
    """Use the version before the one that is used, and let go of that one; None where there is no
    other. Raises Trouble."""
    now = used(data, home)
    number = now.receipt.number if now else 1_000_000_000
    older = [one for one in installed(home) if one.receipt.number < number]
    if not older:
        return None
    switch(data, older[0])
    if now is not None:
        forget(now.folder)
    return older[0]


def clear(home: Path, keep: Collection[Path]) -> None:
    """Remove the versions that are not in ``keep``; what another program holds goes next time."""
    for folder in _folders(home):
        if folder not in keep:
            forget(folder)


def forget(folder: Path) -> None:
    """Remove a version: its receipt first, so that it cannot start half removed."""
    with contextlib.suppress(OSError):
        (folder / RECEIPT).unlink()
    remove(folder)


def uninstall(data: Path, home: Path, keep: Collection[str]) -> list[str]:
    """Remove the server, and of KEPT what is not in ``keep``; return what could not be removed.

    Only what an installation made is touched. The running server must have ended.
    """
    if not is_foreign(data, home):
        with contextlib.suppress(OSError):
            (data / "launch.json").unlink()
    left: list[str] = []
    if (home / MARK).exists():
        for folder in _folders(home):
            forget(folder)
        for path in [*(home / name for name in _OURS), *home.glob("uv-*")]:
            remove(path)
        gone = [*(home / name for name in _OURS), *home.glob("uv-*")]
        left += [str(path) for path in gone if path.exists()]
        if not left:
            for name in (MARK, "lock", "install.log", "install.log.old"):
                remove(home / name)
            with contextlib.suppress(OSError):
                home.rmdir()
    for what, names in KEPT.items():
        if what not in keep:
            for name in names:
                remove(data / name)
                if (data / name).exists():
                    left.append(str(data / name))
    return left


def remove(path: Path) -> None:
    """A file or a folder, as far as it goes; a link itself, never what it shows to."""
    if path.is_symlink() or path.is_file():
        with contextlib.suppress(OSError):
            path.unlink()
    elif path.is_dir():
        shutil.rmtree(path, onerror=_make_writable)


def write_whole(path: Path, value: Any) -> None:
    """JSON that appears complete or not at all, also when the power goes. Raises OSError."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _make_writable(act: Callable[..., Any], path: str, _: Any) -> None:
    """Windows refuses to remove what is read-only; what cannot be removed at all stays."""
    with contextlib.suppress(OSError):
        os.chmod(path, stat.S_IWRITE | stat.S_IREAD | stat.S_IEXEC)
        act(path)


def _folders(home: Path) -> list[Path]:
    try:
        return sorted(path for path in (home / VERSIONS).iterdir() if path.is_dir())
    except OSError:
        return []


def _number(folder: Path) -> int:
    tail = folder.name.rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 0
