"""Kill workers, servers and connections at random moments: no job is lost, none is painted twice.

    python tests/campaigns/kills.py [--each 100] [--out FILE.json]

Each round sends a few jobs through a real server with the instant engine, kills something in the
middle, and goes on until every job is answered. A job that killed its worker, or was running when the
server died, ends with ``worker_lost`` and keeps its finished variants; every other one ends with its
pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests" / "campaigns")]

from harness import ServerProcess, generate, is_alive  # noqa: E402
from record import keep  # noqa: E402
from velatura.protocol import messages as m  # noqa: E402
from velatura.protocol.client import Client  # noqa: E402
from websockets.exceptions import WebSocketException  # noqa: E402

GONE = (OSError, WebSocketException, EOFError)
_SECONDS = 60.0


@dataclass
class Tally:
    """lost: jobs without a final answer, or with fewer pictures than they had. doubled: jobs with two
    different answers. orphans: workers that outlived their server."""

    kills: int = 0
    jobs: int = 0
    painted: int = 0
    told: int = 0
    lost: int = 0
    doubled: int = 0
    orphans: int = 0
    seconds: float = 0.0


class Painter:
    """A client that keeps its session, sends again what was not taken, and counts all answers."""

    def __init__(self, server: ServerProcess, tally: Tally) -> None:
        self._server, self._tally = server, tally
        self._session: str | None = None
        self._open: dict[str, m.Generate] = {}
        self._had: dict[tuple[str, int], m.Result] = {}
        self._answered: dict[str, m.Result | m.Error] = {}
        self.client: Client | None = None
        self.worker: int | None = None

    def connect(self) -> None:
        self.client = self._server.client(self._session, timeout=_SECONDS)
        self._session = self.client.welcome.session
        for job, request in self._open.items():
            if job not in self.client.welcome.jobs:
                self.client.send(request)

    def send(self, requests: list[m.Generate]) -> None:
        for request in requests:
            self._open[request.job] = request
            self._tally.jobs += 1
            self.client.send(request)

    def hear(self) -> None:
        """One message."""
        message = self.client.receive(_SECONDS)
        if isinstance(message, m.Status):
            ready = message.worker == "ready"
            self.worker = int(message.device.rsplit(" ", 1)[1]) if ready else None
        request = self._open.get(getattr(message, "job", None) or "")
        if request is None:
            self._hear_again(message)
        elif isinstance(message, m.Result):
            key = (message.job, message.variant)
            self._tally.doubled += self._had.setdefault(key, message) != message
            if message.last:
                whole = all((request.job, v) in self._had for v in range(request.variants))
                self._tally.lost += not whole
                self._tally.painted += whole
                self._close(message)
        elif isinstance(message, m.Error):
            self._tally.told += message.code == "worker_lost"
            self._tally.lost += message.code != "worker_lost"
            self._close(message)

    def hear_some(self, most: int) -> None:
        """Up to ``most`` messages, while a job is open."""
        for _ in range(most):
            if self._open:
                self.hear()

    def _close(self, final: m.Result | m.Error) -> None:
        del self._open[final.job]
        self._answered[final.job] = final
        self.client.send(m.Acknowledge(job=final.job))

    def _hear_again(self, message: m.Message) -> None:
        """An acknowledgement may be lost with its connection: then the same answers come again."""
        if isinstance(message, m.Result):
            self._tally.doubled += self._had.get((message.job, message.variant)) != message
        final = isinstance(message, m.Error) or (isinstance(message, m.Result) and message.last)
        if final and message.job is not None:
            self._tally.doubled += self._answered.get(message.job) != message
            self.client.send(m.Acknowledge(job=message.job))

    def finish(self) -> None:
        """Until every job is answered and a worker is ready."""
        end = time.monotonic() + _SECONDS
        while (self._open or self.worker is None) and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                self.hear()
        self._tally.lost += len(self._open)
        self._open.clear()


def _jobs(dice: random.Random) -> list[m.Generate]:
    return [
        generate(
            f"slow={dice.choice((1, 2, 4))}",
            steps=dice.randrange(1, 8),
            variants=dice.randrange(1, 4),
            seed=dice.randrange(1 << 16),
            previews=dice.random() < 0.5,
        )
        for _ in range(dice.randrange(1, 5))
    ]


def kill_workers(server: ServerProcess, painter: Painter, dice: random.Random) -> None:
    painter.send(_jobs(dice))
    pid = painter.worker
    painter.hear_some(dice.randrange(12))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while painter.worker == pid:  # told that it is gone
        painter.hear()


def kill_servers(server: ServerProcess, painter: Painter, dice: random.Random) -> None:
    painter.send(_jobs(dice))
    pid = painter.worker
    painter.hear_some(dice.randrange(12))
    server.kill()
    with contextlib.suppress(*GONE):
        while True:  # what was on its way
            painter.hear()
    end = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    painter._tally.orphans += is_alive(pid)
    server.start()
    painter.worker = None
    painter.connect()


def cut_connections(server: ServerProcess, painter: Painter, dice: random.Random) -> None:
    painter.send(_jobs(dice))
    painter.hear_some(dice.randrange(12))
    painter.client._transport.socket.close()  # the cable, not a goodbye
    painter.connect()


CAMPAIGNS: dict[str, Callable[[ServerProcess, Painter, random.Random], None]] = {
    "worker": kill_workers,
    "server": kill_servers,
    "connection": cut_connections,
}


def run(what: str, times: int, seed: int = 1) -> Tally:
    """``times`` rounds of one campaign."""
    tally, dice, began = Tally(), random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="velatura-kills-") as folder:
        server = ServerProcess(Path(folder) / "data").start()
        try:
            painter = Painter(server, tally)
            painter.connect()
            painter.finish()
            for _ in range(times):
                CAMPAIGNS[what](server, painter, dice)
                tally.kills += 1
                painter.finish()
        finally:
            server.stop()
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    told = {}
    for what in CAMPAIGNS:
        told[what] = asdict(run(what, options.each))
        print(what, told[what], flush=True)
    if options.out:
        keep(options.out, told)
    return int(any(one["lost"] or one["doubled"] or one["orphans"] for one in told.values()))


if __name__ == "__main__":
    sys.exit(main())
