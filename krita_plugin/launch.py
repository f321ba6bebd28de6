"""Starts the server as a process that outlives Krita."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What an AppImage or a frozen Krita sets for itself; the server brings its own Python.
_KRITAS_OWN = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "QT_PLUGIN_PATH")


def start_detached(command: tuple[str, ...], log: Path) -> subprocess.Popen[bytes]:
    """Run ``command`` apart from us; what it says goes to ``log``. Raises OSError."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=server_environment(os.environ),
            **detached(sys.platform),
        )


def detached(platform: str) -> dict[str, Any]:
    """Arguments for Popen, for a process that stays when Krita ends."""
    if platform == "win32":
        # CREATE_NO_WINDOW, not DETACHED_PROCESS: the worker is a console program too, and one that a
        # process without a console starts opens a window. And a process group of its own.
        return {"creationflags": 0x08000000 | 0x00000200}
    return {"start_new_session": True}


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _KRITAS_OWN}


def last_line(path: Path) -> str:
    """The last line of a log that says something; "" when there is none."""
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
