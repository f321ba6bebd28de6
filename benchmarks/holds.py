"""How long the plugin holds Krita's GUI thread, over all tests in a real Krita.

Every call of our code by Qt or Krita (a signal, a timer, an event) is one hold: ``cpu_ms`` is the
thread's own time in our code and what it asks of Qt, ``ms`` by the wall; Krita's functions that it calls
are not in it. What a test itself calls is apart. Clocks stand in the tests' copy of the plugin
(tests/krita/holding.py) and cost about a microsecond for each function.

    python -m benchmarks.holds [--tests tests/krita/test_paint.py] [--lines FILE] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import report

ROOT = Path(__file__).parent.parent
GOAL_MS = 16.0
SIDE = 1024
LONGEST = 10


def measure(given: argparse.Namespace) -> dict[str, Any]:
    if given.lines is not None:
        return summary(read(given.lines))
    with tempfile.TemporaryDirectory(prefix="velatura-") as folder:
        lines = Path(folder) / "holds"
        tests = subprocess.run(
            [sys.executable, "-m", "pytest", *given.tests],
            cwd=ROOT,
            env={**os.environ, "VELATURA_HOLDS": str(lines), "VELATURA_REQUIRE_KRITA": "1"},
            stdout=sys.stderr,
        )
        return {"tests_passed": tests.returncode == 0, **summary(read(lines))}


def read(path: Path) -> list[dict[str, Any]]:
    """What tests/krita/kt/holds.py wrote."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def summary(holds: Iterable[dict[str, Any]]) -> dict[str, Any]:
    parts: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("small", "large", "none", "tests")
    }
    for hold in holds:
        parts[_part(hold)].append(hold)
    names = {
        "small": f"{SIDE} x {SIDE} and smaller",
        "large": "larger",
        "none": "no document",
        "tests": "called by a test itself",
    }
    longest = max((hold["cpu_ms"] for hold in parts["small"]), default=0.0)
    return {
        **{names[part]: _spread(found) for part, found in parts.items() if found},
        "goal_ms": GOAL_MS,
        "holds": longest <= GOAL_MS,
    }


def _part(hold: dict[str, Any]) -> str:
    if hold["by"] == "test":
        return "tests"
    if hold["size"] is None:
        return "none"
    width, height = hold["size"]
    return "small" if width * height <= SIDE * SIDE else "large"


def _spread(holds: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(holds)}
    for name in ("cpu_ms", "ms"):
        values = [hold[name] for hold in holds]
        parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        found[name] = {title: report.percentile(values, part) for title, part in parts.items()}
        found[name]["max"] = max(values)
        found[name]["over the goal"] = sum(value > GOAL_MS for value in values)
    worst: dict[str, dict[str, Any]] = {}
    for hold in sorted(holds, key=lambda hold: -hold["cpu_ms"]):
        own = worst.setdefault(hold["what"], {**hold, "over the goal": 0})
        own["over the goal"] += hold["cpu_ms"] > GOAL_MS
    kept = ("cpu_ms", "ms", "krita_ms", "size", "test", "over the goal")
    found["longest"] = {
        what: {name: hold[name] for name in kept} for what, hold in list(worst.items())[:LONGEST]
    }
    return found


if __name__ == "__main__":
    report.run(
        __doc__,
        measure,
        {
            "--tests": {"nargs": "+", "default": ["tests/krita"], "help": "for pytest"},
            "--lines": {"type": Path, "help": "what earlier runs wrote to the file VELATURA_HOLDS"},
        },
    )
