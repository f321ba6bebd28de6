"""``server``: a real server with the instant engine. ``make_server``: more, with other settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import ServerProcess
from velatura.protocol.client import Client


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    servers: list[ServerProcess] = []

    def make(folder: Path | None = None, **settings: Any) -> ServerProcess:
        server = ServerProcess(folder or tmp_path / "velatura", **settings)
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        if server.process is not None:
            server.stop()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests of a file that leave it as it was."""
    server = ServerProcess(tmp_path_factory.mktemp("shared")).start()
    yield server
    server.stop()


@pytest.fixture
def server(make_server: Callable[..., ServerProcess]) -> ServerProcess:
    return make_server()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with server.client() as client:
        yield client
