"""How long Velatura holds Krita's GUI thread: sending 1024 x 1024 pixels, inserting the result, live.

Runs a real Krita under Xvfb with the plugin and a real server whose engine answers at once.
``ours`` is our own code in the slots, ``krita`` the calls into Krita that it makes, ``gap`` the
longest time a 1 ms timer waited meanwhile, ``idle gap`` the same with nothing to do. Live: the same
during strokes made by xdotool, with live off and on in turn, and what live costs while nothing changes
(parts of a core, of the whole of Krita and of our own slots).

    python -m benchmarks.gui_hold [--rounds 7] [--json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.in_krita import krita

GOAL_MS = 16.0
LIVE_GOAL_MS = 8.0
REST_GOAL = 0.01


def measure(given: argparse.Namespace) -> dict[str, Any]:
    return summary(run_krita(given.rounds))


def run_krita(rounds: int) -> dict[str, Any]:
    """Every single figure of every round."""
    with (
        tempfile.TemporaryDirectory(prefix="velatura-", ignore_cleanup_errors=True) as folder,
        krita(Path(folder) / "krita") as installation,
    ):
        from harness import ServerProcess

        server = ServerProcess(Path(folder) / "velatura").start()
        try:
            env = {"VELATURA_HOME": str(server.folder), "KT_ROUNDS": str(rounds)}
            return {
                **installation.run("gui_hold.py", env=env, timeout=300).values,
                **installation.run("gui_hold.py", "live", env=env, timeout=500).values,
            }
        finally:
            server.stop()


def summary(values: dict[str, Any]) -> dict[str, Any]:
    """Median and maximum in ms of each figure."""

    def both(numbers: list[float]) -> dict[str, float]:
        return {
            "median": round(statistics.median(numbers), 2),
            "max": round(max(numbers), 2),
        }

    found: dict[str, Any] = {"idle_gap_ms": both(values["idle_gap_ms"])}
    for phase in ("send", "take", "insert"):
        rows = values[phase]
        found[phase] = {name: both([row[name] for row in rows]) for name in rows[0]}
    found["live"] = live_summary(values)
    found["goal_ms"] = GOAL_MS
    found["holds"] = all(
        found[p]["ours_cpu_ms"]["max"] <= GOAL_MS for p in ("send", "take", "insert")
    )
    return found


def live_summary(values: dict[str, Any]) -> dict[str, Any]:
    """Strokes with live off and on: each figure over all events of all rounds."""

    def spread(numbers: list[float]) -> dict[str, float]:
        ordered = sorted(numbers) or [0.0]
        last = len(ordered) - 1
        at = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        return {name: round(ordered[round(part * last)], 2) for name, part in at.items()}

    found: dict[str, Any] = {}
    for name, on in (("off", False), ("on", True)):
        rounds = [one for one in values["rounds"] if one["on"] == on]
        found[name] = {
            figure: spread([value for one in rounds for value in one[figure]])
            for figure in ("gaps_ms", "ours_cpu_ms", "ours_ms", "krita_ms")
        }
        for count in ("frames", "pictures"):
            found[name][count] = sum(one[count] for one in rounds)
    found["rest"] = {
        name: {
            "krita": round(statistics.mean(part["krita"]), 4),
            "ours": round(statistics.mean(part["ours"]), 4),
            "frames": part["frames"],
        }
        for name, part in values["rest"].items()
    }
    found["goal_ms"] = LIVE_GOAL_MS
    found["holds"] = found["on"]["ours_cpu_ms"]["max"] <= LIVE_GOAL_MS
    found["rests"] = found["rest"]["on"]["frames"] == 0 and found["rest"]["on"]["ours"] <= REST_GOAL
    return found


if __name__ == "__main__":
    report.run(__doc__, measure, {"--rounds": {"type": int, "default": 7}})
