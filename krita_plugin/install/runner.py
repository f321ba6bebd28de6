"""Runs one command: its lines as they come, and its end within a moment when it is cancelled."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .machine import WINDOWS, hidden
from .troubles import Cancelled, explain, of_os_error

# How often a running command is looked at, in seconds.
_LOOK = 0.2
# What it may take to end by itself.
_GRACE = 5.0


def run(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: Path,
    system: str,
    hear: Callable[[str], None],
    idle: Callable[[], None] = lambda: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> str:
    """Run ``command`` in ``folder`` without a window; return what it said.

    hear: each line; idle: now and then. Raises Cancelled, and Trouble when it fails or is missing.
    """
    if is_cancelled():
        raise Cancelled
    own_group: dict[str, Any] = hidden(system) if system == WINDOWS else {"start_new_session": True}
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environ),
            **own_group,
        )
    except OSError as error:
        raise of_os_error(error, Path(command[0])) from error
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    said: list[str] = []
    try:
        while True:
            try:
                line = lines.get(timeout=_LOOK)
            except queue.Empty:
                # What it left behind may hold the pipe open for ever.
                line = "" if process.poll() is None else None
            if line is None:
                break
            if line:
                said.append(line)
                hear(line)
            else:
                idle()
            if is_cancelled():
                raise Cancelled
    except BaseException:
        _end(process)
        raise
    code = process.wait()
    _end(process)
    output = "\n".join(said)
    if code:
        raise explain(output, code)
    return output


def _read(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            lines.put(line.decode("utf-8", "replace").rstrip() or " ")
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With everything that it started, also what it left, where there are groups of processes."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
