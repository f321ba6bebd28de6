"""Runs in_qt/ under each PyQt wheel: a process can load only one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
QTS = ("5", "6")


def start(name: str, major: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", str(HERE / "in_qt" / f"{name}.py")),
            *("-q", "-p", "no:cacheprovider", "-p", "no:pytest-qt", "--timeout", "120"),
        ],
        env={**os.environ, "VELATURA_QT": major, "QT_QPA_PLATFORM": "offscreen"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(
    scope="module",
    params=[
        *("widgets", "guides", "prompts", "finished", "live_widgets", "keys", "addons"),
        *("link", "switching", "sending", "settings", "connection", "pictures", "translation"),
    ],
)
def in_both(request: pytest.FixtureRequest) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The same tests under both at once: they mostly wait."""
    running = {major: start(request.param, major) for major in QTS}
    yield running
    for one in running.values():
        one.kill()
        one.wait()


@pytest.mark.parametrize("major", QTS)
def test_the_plugin_works_in_both_qts(in_both: dict[str, subprocess.Popen[str]], major: str):
    said, _ = in_both[major].communicate()
    assert in_both[major].returncode == 0, said
