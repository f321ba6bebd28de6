"""A server of one's own, for the demo and the benchmarks: started, connected to, stopped.

It lives in a temporary data folder on a free port, so that a painter's own server is left alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from velatura.protocol.client import Client, open_websocket
from velatura.protocol.discovery import read_running, read_token
from websockets.sync.client import connect

# It ends with us, however we end: nobody else knows where it is.
SERVE = (
    *(sys.executable, "-m", "velatura.server.cli", "serve"),
    *("--port", "0", "--end-with-input"),
)
_START_LIMIT = 60.0


@contextlib.contextmanager
def local_server(name: str, command: Sequence[str] = SERVE) -> Iterator[Client]:
    """A client greeted by a server that ``command`` runs; both end with the block.

    Raises RuntimeError when the server ends or stays silent for a minute.
    """
    with tempfile.TemporaryDirectory(prefix="velatura-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            command,
            env={**os.environ, "VELATURA_HOME": home},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        try:
            with _greet(Path(home), process, name) as client:
                yield client
        finally:
            process.terminate()
            process.communicate(timeout=20)


def _greet(home: Path, process: subprocess.Popen[bytes], name: str) -> Client:
    end = time.monotonic() + _START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        running, token = read_running(home), read_token(home)
        if running is not None and token is not None:
            with contextlib.suppress(ConnectionError):
                return open_websocket(connect, running.url, token, name)
        time.sleep(0.005)
    raise RuntimeError("The server did not start: its reason stands above.")
