"""Change the code in small ways, one at a time, and see whether a test dies of each: `make mutants`.

    .venv/bin/python tests/mutants.py [--minutes 60] [--part NAME] [--report]

cosmic-ray works on a copy of the checkout below ``.cache/mutants/``, where its own libraries lie too.
A run ends after so many minutes; the next one goes on where it stopped, until everything was changed
once or three hours are spent. A changed file begins anew. What lived is printed, and listed with its
reason in docs/mutants.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "mutants"
TREE, SITE, STATE = CACHE / "tree", CACHE / "site", CACHE / "state.json"
COSMIC_RAY = "cosmic-ray==8.7.0"
MOST_HOURS = 3.0
# Part -> (files, tests that must notice).
PARTS: dict[str, tuple[tuple[str, ...], str]] = {
    "lives": (("server/lives.py",), "tests/server/test_lives.py"),
    "scheduler": (
        ("server/scheduler.py", "server/fair_queue.py"),
        "tests/server/test_scheduler.py",
    ),
    "results": (("server/results.py",), "tests/server/test_results.py"),
    "region": (
        ("protocol/region.py",),
        "tests/protocol/test_region.py tests/server/worker/test_plan.py",
    ),
    "codec": (
        ("protocol/codec.py", "protocol/fields.py", "protocol/pixels.py"),
        "tests/protocol/test_codec.py tests/protocol/test_spec.py",
    ),
    "connection": (
        ("protocol/connection.py", "protocol/stream.py"),
        "tests/protocol/test_connection.py",
    ),
    "png": (("protocol/png_text.py",), "tests/protocol/test_png_text.py"),
    "sentences": (
        ("protocol/sentences.py", "protocol/errors.py"),
        "tests/protocol/test_sentences.py",
    ),
}
# Annotations are not run, and what only tells is not asked for.
POINTLESS = (
    "core/ReplaceBinaryOperator_BitOr_.*",
    "core/RemoveDecorator",
    "core/ExceptionReplacer",
)


def copy_tree() -> None:
    """Make TREE this checkout as it is, with a Python of its own that imports ``velatura`` from it."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listed, cwd=ROOT).decode().split("\0")
    for name in filter(None, names):
        source, target = ROOT / name, TREE / name
        if source.is_file() and (
            not target.is_file() or target.read_bytes() != source.read_bytes()
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    house, venv = CACHE / "house" / "velatura", CACHE / "venv"
    if not venv.is_dir():
        house.mkdir(parents=True, exist_ok=True)
        for part in ("protocol", "models", "server", "krita_plugin"):
            (house / part).symlink_to(TREE / part)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        paths = [house.parent, *(path for path in sys.path if path.endswith("-packages"))]
        (packages,) = venv.glob("lib/python*/site-packages")
        (packages / "mutants.pth").write_text("".join(f"{path}\n" for path in paths))
    if not SITE.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(SITE)]
        subprocess.run([*pip, COSMIC_RAY], check=True)


def cosmic_ray(*arguments: str | Path, module: str = "cosmic_ray.cli", **more: Any) -> Any:
    command = [str(one) for one in (CACHE / "venv/bin/python", "-m", module, *arguments)]
    paths = {"PYTHONPATH": str(SITE), "OMP_NUM_THREADS": "1", "HYPOTHESIS_DATABASE_FILE": ""}
    return subprocess.Popen(command, cwd=TREE, env={**os.environ, **paths}, **more)


def session_of(part: str) -> tuple[Path, Path]:
    """(configuration, session) of a part as its files are now; made where it is new."""
    files, tests = PARTS[part]
    seen = hashlib.sha256(b"".join((ROOT / one).read_bytes() for one in files)).hexdigest()[:12]
    config, session = CACHE / f"{part}-{seen}.toml", CACHE / f"{part}-{seen}.sqlite"
    python = CACHE / "venv/bin/python"
    config.write_text(
        "[cosmic-ray]\n"
        f"module-path = {json.dumps(list(files))}\n"
        "timeout = 120.0\n"
        "excluded-modules = []\n"
        f'test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n'
        "[cosmic-ray.filters.operators-filter]\n"
        f"exclude-operators = {json.dumps(list(POINTLESS))}\n"
    )
    if not session.exists():
        unfinished = session.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        for module, arguments in (
            ("cosmic_ray.cli", ("init", config, unfinished)),
            ("cosmic_ray.tools.filters.operators_filter", (unfinished, config)),
        ):
            if cosmic_ray(*arguments, module=module).wait():
                raise SystemExit(f"cosmic-ray could not begin with {part}")
        unfinished.rename(session)
    return config, session


def results_of(session: Path) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """(mutation, result or None) of each in a session."""
    dump = cosmic_ray("dump", session, stdout=subprocess.PIPE, text=True)
    told = dump.communicate()[0]
    return [tuple(json.loads(line)) for line in told.splitlines() if line.strip()]


def run_part(part: str, until: float) -> None:
    """Go on with a part until it is done or the clock says ``until``; the copy is left whole."""
    config, session = session_of(part)
    if cosmic_ray(
        "-x", "-q", "-p", "no:cacheprovider", *PARTS[part][1].split(), module="pytest"
    ).wait():
        raise SystemExit(
            f"{part}: its tests fail without any change; every mutant would seem killed"
        )
    print(f"{part}: {until - time.time():.0f} s are left", flush=True)
    running = cosmic_ray("exec", config, session, start_new_session=True)
    try:
        running.wait(max(1.0, until - time.time()))
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGINT)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
    # It may have been stopped in the middle of a mutation.
    copy_tree()


def report(part: str) -> None:
    _, session = session_of(part)
    count: Counter[str] = Counter()
    for item, result in results_of(session):
        outcome = "waiting" if result is None else str(result.get("test_outcome") or "skipped")
        count[outcome.rpartition(".")[2].lower()] += 1
        if result is not None and "survived" in outcome.lower():
            (mutation,) = item["mutations"]
            line, _ = mutation["start_pos"]
            name = mutation["operator_name"].removeprefix("core/")
            text = (ROOT / mutation["module_path"]).read_text().splitlines()[line - 1].strip()
            number = mutation["occurrence"]
            print(f"lived: {mutation['module_path']}:{line} {name} {number}: {text}")
    print(f"{part}: {', '.join(f'{n} {what}' for what, n in sorted(count.items()))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="of this run (default: 60)")
    parser.add_argument("--part", choices=PARTS, help="one part only")
    parser.add_argument("--report", action="store_true", help="run nothing, say what lived so far")
    asked = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    copy_tree()
    parts = [asked.part] if asked.part else list(PARTS)
    spent = json.loads(STATE.read_text())["seconds"] if STATE.exists() else 0.0
    began = time.time()
    until = began + min(60 * asked.minutes, 3600 * MOST_HOURS - spent)
    for part in parts:
        if not asked.report and time.time() < until:
            run_part(part, until)
            STATE.write_text(json.dumps({"seconds": spent + time.time() - began}))
        report(part)


if __name__ == "__main__":
    main()
