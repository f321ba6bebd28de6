"""The installer is killed, or its connection cut, at random moments: does it end well all the same?

Each round starts the release's installer with its own uv into the same folder and hits it once: the
installer, a process that it started, all at once, or the connection to the mirror. After each round
nothing may start that was not completed; an installer that ended by itself said one sentence; at the
end an undisturbed installation works. Packages come from the index that pip is set up with, PyTorch
and the interpreter from this machine (tests/install_mirror.py).

    python -m benchmarks.install_kills [--rounds 25] [--seed 1] [--json]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from benchmarks import report

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import install_kills  # noqa: E402
import install_mirror  # noqa: E402
import release  # noqa: E402


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Faults, and how the rounds ended."""
    with tempfile.TemporaryDirectory(prefix="velatura-kills-") as made:
        folder = Path(made)
        (zipped,) = release.build(folder, release.PLATFORMS[:1], cache=ROOT / ".cache/uv")
        with zipfile.ZipFile(zipped) as archive:
            archive.extractall(folder / "pykrita")
        with install_mirror.mirror(folder / "mirror") as mirror:
            return _campaign(given, folder, mirror)


def _campaign(given: argparse.Namespace, folder: Path, mirror: Any) -> dict[str, Any]:
    home, data = folder / "a home" / "server", folder / "data"
    environ = {
        "HOME": str(folder / "user"),
        "PATH": str(folder / "nowhere"),
        "VELATURA_HOME": str(data),
        "PYTHONPATH": str(folder / "pykrita"),
        "OMP_NUM_THREADS": "1",
        **install_mirror.index_environment(),
    }

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-S", "-m", "velatura.krita_plugin.install"),
                *("--folder", str(home), "--device", "cpu"),
                *("--torch", mirror.torch, "--python", mirror.python),
            ],
            env=environ,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = time.monotonic()
    process = start()
    said = process.communicate()[1]
    cold = time.monotonic() - first
    if process.returncode:
        raise SystemExit(f"Undisturbed it does not install: {said}")
    campaign = install_kills.Campaign(start, home, data, cold, cut=install_mirror.cut)
    chance = random.Random(given.seed)
    for number in range(given.rounds):
        campaign.round(chance)
        print(f"{number + 1} of {given.rounds}: {campaign.ends}", file=sys.stderr, flush=True)
    warm = time.monotonic()
    campaign.finish()
    return {
        "rounds": given.rounds,
        "faults": campaign.faults,
        "ends": campaign.ends,
        "seconds": {"first, downloading": cold, "last": time.monotonic() - warm},
    }


if __name__ == "__main__":
    os.chdir(ROOT)
    report.run(
        __doc__ or "",
        measure,
        {
            "--rounds": {"type": int, "default": 25},
            "--seed": {"type": int, "default": 1},
        },
    )
