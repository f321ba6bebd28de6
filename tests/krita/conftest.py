from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from krita_harness import INSTALL, Installation, missing
from serving import Server, make_model


def _lacking() -> str | None:
    absent = missing()
    return f"Real-Krita tests need {' and '.join(absent)}: {INSTALL}" if absent else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "krita" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.krita)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sentence = _lacking()
    if sentence:
        terminalreporter.write_line(sentence, yellow=True)


@pytest.fixture(scope="session")
def krita(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A real Krita: ``krita.run("script.py")`` with a script of tests/krita/scripts."""
    sentence = _lacking()
    if sentence:
        if os.environ.get("VELATURA_REQUIRE_KRITA") == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    installation = Installation(tmp_path_factory.mktemp("krita"))
    yield installation
    installation.close()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("velatura") / "models")


@pytest.fixture(scope="session")
def paint(krita, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    """One Krita and one server for all the tests that leave both as they were."""
    server = Server(tmp_path_factory.mktemp("paint") / "velatura", models).start()
    try:
        with krita.lasting(server.environment) as run:
            yield lambda test, script="presses.py": run(script, test, timeout=150)
    finally:
        server.close()
