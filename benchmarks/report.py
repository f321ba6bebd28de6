"""What every benchmark ends with: one JSON object of what was measured, where, when and how, or a table."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "diffusers", "transformers", "numpy")


def run(
    doc: str,
    measure: Callable[[argparse.Namespace], Mapping[str, Any]],
    arguments: Mapping[str, Mapping[str, Any]],
) -> None:
    """Measure and print. ``arguments``: option -> what argparse wants to know of it; ``doc``: the module's."""
    parser = argparse.ArgumentParser(
        description=doc.strip(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, options in arguments.items():
        parser.add_argument(name, **options)
    parser.add_argument("--json", action="store_true", help="print JSON for benchmarks/results")
    given = parser.parse_args()
    figures = measure(given)
    if given.json:
        print(json.dumps({**_where(), "figures": _rounded(figures)}, indent=1))
        return
    print(doc.strip().splitlines()[0])
    for line in _lines(figures, 0):
        print(line)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` (0..1) of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, median absolute deviation and number."""
    middle = statistics.median(values)
    return {
        "median": middle,
        "mad": statistics.median(abs(value - middle) for value in values),
        "n": len(values),
    }


def load() -> float:
    """Processes that wanted to run, per core, over the last minute: above 1, times mean little."""
    if not hasattr(os, "getloadavg"):
        return float("nan")
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def _where() -> dict[str, Any]:
    module = Path(sys.argv[0]).stem
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "command": " ".join(["python -m", f"benchmarks.{module}", *sys.argv[1:]]),
        "load_per_core_at_the_end": round(load(), 2),
    }


def _machine() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    return f"{os.cpu_count()} CPU cores ({model}), no GPU"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    return value


def _lines(figures: Mapping[str, Any], depth: int) -> list[str]:
    lines = []
    for name, value in figures.items():
        title = f"{'  ' * depth}{name}"
        if isinstance(value, Mapping):
            numbers = [part for part in value.values() if not isinstance(part, Mapping)]
            if len(numbers) == len(value):
                row = "  ".join(f"{part} {_short(number)}" for part, number in value.items())
                lines.append(f"{title:24} {row}")
            else:
                lines += [title, *_lines(value, depth + 1)]
        else:
            lines.append(f"{title:24} {_short(value)}")
    return lines


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
