"""Runs in_qt/ under each PyQt wheel: a process can load only one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("major", ["5", "6"])
@pytest.mark.parametrize(
    "name",
    [
        *("widgets", "addons", "link", "switching", "sending", "settings", "connection"),
        *("pictures", "translation"),
    ],
)
def test_the_plugin_works_in_both_qts(name, major):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", str(HERE / "in_qt" / f"{name}.py")),
            *("-q", "-p", "no:cacheprovider", "-p", "no:pytest-qt", "--timeout", "120"),
        ],
        env={**os.environ, "VELATURA_QT": major, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
