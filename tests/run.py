"""All tests: those in a real Krita, which mostly wait, beside the others, which compute.

    python tests/run.py [--twice]

Prints the others as they run, then those in Krita. ``--twice`` runs once more what failed, and only
that: real windows and sockets on a machine that others use. What fails twice fails, and so does a
part that ended before it could tell which of its tests failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
PARTS = {"krita": ("tests/krita",), "others": ("tests", "--ignore=tests/krita")}
FAILED = ("--last-failed", "--last-failed-no-failures=none")


def start(part: str, *options: str, output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    # Each remembers its own failures.
    cache = f"cache_dir=.pytest_cache/{part}"
    command = [sys.executable, "-m", "pytest", *PARTS[part], "-o", cache, *options]
    # One thread each, or they take the cores from Krita and from one another.
    env = {"OMP_NUM_THREADS": "1", **os.environ}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)


def main(twice: bool) -> int:
    with tempfile.TemporaryFile() as log:
        beside = start("krita", "--cache-clear", output=log)
        codes = {"others": start("others", "--cache-clear").wait(), "krita": beside.wait()}
        log.seek(0)
        print("\nIn a real Krita:", log.read().decode("utf-8", "replace"), sep="\n", flush=True)
    failed = [part for part, code in codes.items() if code]
    if twice and failed:
        print("\nOnce more, only the tests that failed:", flush=True)
        failed = [part for part in failed if start(part, *FAILED).wait()]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(twice="--twice" in sys.argv[1:]))
