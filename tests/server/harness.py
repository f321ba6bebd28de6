"""A real server process on a free port, with its own data folder and the worker one asks for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from velatura.protocol import messages as m
from velatura.protocol.client import Client, open_websocket
from velatura.protocol.discovery import Running, read_running, read_token
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from websockets.sync.client import connect

HERE = Path(__file__).parent
INSTANT_WORKER = (sys.executable, str(HERE / "instant_worker.py"))
# Runs the server as the command line does, with settings that only tests change.
_PROGRAM = """
import json, sys
from pathlib import Path
from velatura.protocol.messages import Limits
from velatura.server.app import serve
from velatura.server.settings import Settings, StartError
given = json.loads(sys.argv[1])
given["folder"] = Path(given["folder"])
for name in ("certificate", "key"):
    if name in given:
        given[name] = Path(given[name])
for name in ("worker", "origins"):
    if name in given:
        given[name] = tuple(given[name])
if "models" in given:
    given["models"] = tuple(map(Path, given["models"]))
if "limits" in given:
    given["limits"] = Limits(**given["limits"])
try:
    serve(Settings(**given), lambda running: print(running.url, flush=True))
except StartError as error:
    sys.exit(str(error))
print("torch" in sys.modules)
"""


class ServerProcess:
    """``settings`` are fields of server.settings.Settings; paths as strings."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self._settings = {
            "folder": str(folder),
            "port": 0,
            "worker": INSTANT_WORKER,
            **settings,
        }
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> ServerProcess:
        """Returns when the server listens. Raises RuntimeError with what it said otherwise."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(self._settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "VELATURA_HOME": str(self.folder)},
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            _, said = self.process.communicate(timeout=20)
            raise RuntimeError(said.strip())
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def token(self) -> str:
        token = read_token(self.folder)
        assert token is not None
        return token

    @property
    def running(self) -> Running | None:
        return read_running(self.folder)

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def client(self, session: str | None = None, **options: Any) -> Client:
        return open_websocket(connect, self.url, self.token, "test", session=session, **options)

    def memory(self) -> int:
        """Resident bytes of the server process (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """As a crash or a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        """As Ctrl-C does. Returns the rest of what it printed."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            output, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return output


def new_job() -> str:
    return str(uuid.uuid4())


def generate(prompt: str = "", *, side: int = 16, **fields: Any) -> m.Generate:
    """A request that the instant engine paints in one go."""
    values: dict[str, Any] = {
        "job": new_job(),
        "action": "generate",
        "model": "instant",
        "canvas": Size(side, side),
        "region": Rect(0, 0, side, side),
        "surroundings": Image(side, side, "rgba8", bytes(4 * side * side)),
        "prompt": prompt,
        "steps": 4,
        "seed": 5,
    }
    return m.Generate(**{**values, **fields})


def wait_for(client: Client, wanted: Callable[[m.Message], bool], timeout: float = 60) -> Any:
    """The first message that ``wanted`` accepts. Raises TimeoutError."""
    until = time.monotonic() + timeout
    while True:
        message = client.receive(max(0.0, until - time.monotonic()))
        if wanted(message):
            return message


def wait_until(true: Callable[[], Any], timeout: float = 60) -> Any:
    until = time.monotonic() + timeout
    while not (value := true()):
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.01)
    return value


def worker_pid(client: Client) -> int:
    """The process that the instant engine says it is, once it is ready."""
    status = wait_for(client, lambda e: isinstance(e, m.Status) and e.worker == "ready")
    return int(status.device.rsplit(" ", 1)[1])


def is_alive(pid: int) -> bool:
    """False for a zombie too: it holds nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def paints(server: ServerProcess) -> bool:
    """A new client gets a picture."""
    with server.client() as client:
        request = generate()
        client.send(request)
        return len(client.until_final(request.job)) == 1


def drain(client: Client, seconds: float = 0.3) -> list[m.Message]:
    """What comes until nothing has come for ``seconds``."""
    events = []
    with contextlib.suppress(TimeoutError):
        while True:
            events.append(client.receive(seconds))
    return events
