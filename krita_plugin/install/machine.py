"""What this computer is, as far as installing depends on it; every look at it can be replaced."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LINUX, WINDOWS, MACOS = "linux", "windows", "macos"
_SYSTEMS = {"win32": WINDOWS, "darwin": MACOS}
# A driver that hangs must not hang the docker.
_ASK_SECONDS = 10.0
# CREATE_NO_WINDOW: a console program that a program without a console starts would open one.
_NO_WINDOW = 0x08000000


def hidden(system: str) -> dict[str, int]:
    """Arguments for Popen, so that no console window opens."""
    return {"creationflags": _NO_WINDOW} if system == WINDOWS else {}


def ask(command: Sequence[str]) -> str:
    """What a program prints; "" when it is missing, fails or is slow."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_SECONDS,
            check=True,
            **hidden(_SYSTEMS.get(sys.platform, LINUX)),  # type: ignore[call-overload]
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return bytes(done.stdout).decode("utf-8", "replace")


def look(folder: str) -> dict[str, str]:
    """The small files of /sys/class/drm/card*/device that tell a graphics card: "card0/vendor"."""
    found = {}
    for card in Path(folder).glob("card[0-9]*"):
        try:
            found[f"{card.name}/vendor"] = (card / "device/vendor").read_text("ascii").strip()
            found[f"{card.name}/driver"] = os.path.basename(
                os.path.realpath(card / "device/driver")
            )
        except (OSError, ValueError):
            continue
    return found


@dataclass(frozen=True)
class Machine:
    """system: linux, windows or macos. arch: x86_64 or arm64, of the hardware and not of Krita
    (which may be translated). version: of macOS, (0,) elsewhere. ask, look: as the functions."""

    system: str
    arch: str
    version: tuple[int, ...] = (0,)
    ask: Callable[[Sequence[str]], str] = ask
    look: Callable[[str], dict[str, str]] = look
    has: Callable[[str], bool] = os.path.exists

    @property
    def platform(self) -> str:
        """As releases are named."""
        return f"{self.system}-{self.arch}"


def this_machine() -> Machine:
    """The computer that this runs on."""
    system = _SYSTEMS.get(sys.platform, LINUX)
    arch = {"AMD64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    version: tuple[int, ...] = (0,)
    if system == MACOS:
        if ask(["sysctl", "-n", "hw.optional.arm64"]).strip() == "1":
            arch = "arm64"
        # Of sw_vers: an older Python is told 10.16 of every newer system.
        said = ask(["sw_vers", "-productVersion"]).strip() or platform.mac_ver()[0]
        version = tuple(int(part) for part in said.split(".") if part.isdigit()) or (0,)
    return Machine(system, arch, version)
