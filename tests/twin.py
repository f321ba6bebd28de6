"""Whether this checkout paints as another commit does: the same seeded jobs and live canvases in both.

    .venv/bin/python tests/twin.py [COMMIT] [--jobs] [--live] [--only TEXT] [--list] [--again]

COMMIT (START unless told) is unpacked below ``.cache/twin/`` with a Python environment of its own over
the libraries of this one; where its pins differ, it gets those. Both sides paint in fp32 on one thread
with nothing accelerated, with the same tiny checkpoints, which that commit makes. What it painted is
kept: later runs paint this side only. Every pixel of every result must be equal to 1/255, or the case
be INTENDED to change. Exit status 1 when one is not.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from twins.cases import Case, Job, all_cases, key_of

ROOT = Path(__file__).parent.parent
TWINS = ROOT / "tests" / "twins"
# The commit that the rewrite of the worker's centre starts from.
START = "f69ee7d73085ae770e8d114373966e22494d233c"
# Largest difference of a pixel, of 255: the last bit of a rounded sum.
CLOSE = 1
# Cases (a part of their names) that change on purpose -> why.
INTENDED: Mapping[str, str] = {
    # DPM2's half steps on random weights are chaotic: one unit in the last place of the first noise
    # moves these two by 2 and 74 of 255. The older path divided by the first sigma and multiplied again.
    "085 sd2 inpaint, expand, DPM2": "the noise is not rounded twice",
    "094 sd2 inpaint, refine, DPM2 a Karras": "the noise is not rounded twice",
}


def unpack(commit: str) -> Path:
    """The folder with ``commit``'s ``tree`` and ``venv``; made the first time."""
    folder = ROOT / ".cache" / "twin" / commit
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    tree, house, site = folder / "tree", folder / "house" / "velatura", folder / "site"
    packed = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    house.mkdir(parents=True)
    for part in ("protocol", "models", "server", "krita_plugin"):
        (house / part).symlink_to(tree / part)
    install_pins(tree / "constraints.txt", site)
    # What an added folder's own .pth files say is not followed: not this checkout's installation.
    paths = [house.parent, site, *(path for path in sys.path if path.endswith("-packages"))]
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "twin.pth").write_text("".join(f"{path}\n" for path in paths))
    (folder / "complete").touch()
    return folder


def install_pins(constraints: Path, site: Path) -> None:
    """Install into ``site`` what is installed here in another version than ``constraints`` say."""
    site.mkdir()
    changed = []
    for line in constraints.read_text().splitlines():
        name, _, version = line.partition("==")
        try:
            here = importlib.metadata.version(name) if version else ""
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
        if version and here.partition("+")[0] != version.partition("+")[0]:
            changed.append(line)
    if changed:
        print("installing for the other commit:", *changed)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site]
        subprocess.run([*pip, *changed], check=True)


def python(folder: Path | None, *arguments: str | Path) -> None:
    """Run the other commit's Python, or this checkout's where ``folder`` is None."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    program = sys.executable if folder is None else folder / "venv" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VELATURA"))}
    # The libraries warn about themselves, at each picture.
    command = [str(one) for one in (program, "-W", "ignore", *arguments)]
    # In a folder of its own: nothing of either checkout may be imported from where we are.
    with tempfile.TemporaryDirectory() as empty:
        subprocess.run(command, check=True, env={**environment, **threads}, cwd=empty)


def paint(folder: Path | None, models: Path, out: Path, names: Sequence[str]) -> None:
    if not names:
        return
    out.mkdir(parents=True, exist_ok=True)
    print(f"{'this checkout' if folder is None else 'the other commit'} paints {len(names)} cases")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(list(names), file)
        file.flush()
        python(folder, TWINS / "paint.py", models, out, file.name)


def compare(case: Case, theirs: Path, ours: Path) -> tuple[float, str]:
    """(the largest difference of a pixel, of 255; where it is); infinite where the forms differ."""
    with (
        np.load(theirs / f"{key_of(case)}.npz") as one,
        np.load(ours / f"{key_of(case)}.npz") as two,
    ):
        worst, where = 0.0, ""
        if "refused" in two and "refused" not in one:
            return np.inf, f"refused: {two['refused']}"
        if set(one) != set(two):
            return np.inf, f"{', '.join(one)} became {', '.join(two)}"
        for name in one:
            a, b = one[name], two[name]
            if name.endswith(" at") or name == "refused" or a.shape != b.shape:
                if a.shape != b.shape or (a != b).any():
                    return (
                        np.inf,
                        f"{name}: {a if a.size < 9 else a.shape} became {b if b.size < 9 else b.shape}",
                    )
                continue
            difference = np.abs(a.astype(int) - b.astype(int))
            if difference.max() > worst:
                worst = float(difference.max())
                y, x, _ = np.unravel_index(int(difference.argmax()), difference.shape)
                where = f"{name} at ({x}, {y}); {(difference > CLOSE).any(-1).mean():.1%} differ"
        return worst, where


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="?", default=START, help=f"default: {START}")
    parser.add_argument("--jobs", action="store_true", help="jobs only")
    parser.add_argument("--live", action="store_true", help="live canvases only")
    parser.add_argument("--only", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--list", action="store_true", help="say what the cases are")
    parser.add_argument("--again", action="store_true", help="paint the other commit's once more")
    asked = parser.parse_args()
    cases = {
        name: case
        for name, case in all_cases().items()
        if (asked.only or "") in name
        and (asked.jobs == asked.live or isinstance(case, Job) == asked.jobs)
    }
    if not cases:
        parser.error("no case has such a name")
    if asked.list:
        for name, case in cases.items():
            print(f"{name}\n    {case}")
        return 0
    revision = ["git", "rev-parse", "--verify", f"{asked.commit}^{{commit}}"]
    commit = subprocess.check_output(revision, cwd=ROOT, text=True).strip()
    folder = unpack(commit)
    models, theirs, ours = folder / "models", folder / "painted", folder / "here"
    if not models.is_dir():
        print("the other commit makes the models")
        python(folder, TWINS / "models.py", models, folder / "tree" / "tests")
    if asked.again:
        shutil.rmtree(theirs, ignore_errors=True)
    missing = [n for n, case in cases.items() if not (theirs / f"{key_of(case)}.npz").is_file()]
    paint(folder, models, theirs, missing)
    shutil.rmtree(ours, ignore_errors=True)
    paint(None, models, ours, list(cases))
    failed = 0
    print("each case, the largest difference of a pixel (of 255), and where it is:")
    for name, case in cases.items():
        worst, where = compare(case, theirs, ours)
        why = next((why for part, why in INTENDED.items() if part in name), "")
        said = "intended" if why and worst > CLOSE else "ok" if worst <= CLOSE else "DIFFERS"
        failed += said == "DIFFERS"
        print(f"{said:8} {worst:5.0f}  {name:44} {why or where if worst > CLOSE else ''}")
    print(f"{len(cases)} cases against {commit[:12]}: {failed} differ by more than {CLOSE}/255")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
