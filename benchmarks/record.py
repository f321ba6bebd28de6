"""Record the brush session that ``live`` paints: strokes of Krita's own brush, made by xdotool.

Runs a real Krita under Xvfb and writes data/brush.zip: PNGs of what changed on a canvas of 1024 x 1024
pixels, each at least 1 % of it, and ``session.json`` with the place and the time of each.

    python -m benchmarks.record
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from benchmarks.in_krita import krita
from benchmarks.live import LEAST_CHANGE, SESSION

SIDE = 1024


def frames(folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """What Krita's canvas held, (SIDE, SIDE, 3) uint8, and when, in ms."""
    taken = folder / "frames"
    taken.mkdir()
    with krita(folder / "krita") as installation:
        env = {"KT_FRAMES": str(taken), "VELATURA_HOME": str(folder / "velatura")}
        installation.run("recording.py", env=env, timeout=300)
    for path in sorted(taken.iterdir()):
        bgra = np.frombuffer(zlib.decompress(path.read_bytes()), np.uint8)
        yield int(path.name), bgra.reshape(SIDE, SIDE, 4)[..., 2::-1]


def dabs(canvases: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """(ms, x, y, pixels) of each change, what is too small together with the next."""
    moments = iter(canvases)
    _, before = next(moments)
    for moment, canvas in moments:
        changed = (canvas != before).any(-1)
        if changed.mean() < LEAST_CHANGE:
            continue
        rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
        y, x = int(rows[0]), int(columns[0])
        yield moment, x, y, canvas[y : rows[-1] + 1, x : columns[-1] + 1]
        before = canvas


def record(path: Path) -> int:
    """Write the session to ``path``; the number of its dabs."""
    places = []
    with (
        tempfile.TemporaryDirectory(prefix="velatura-", ignore_cleanup_errors=True) as folder,
        zipfile.ZipFile(path, "w") as archive,
    ):
        for number, (moment, x, y, pixels) in enumerate(dabs(frames(Path(folder)))):
            png = io.BytesIO()
            Picture.fromarray(np.ascontiguousarray(pixels)).save(png, "PNG", optimize=True)
            archive.writestr(f"{number:03}.png", png.getvalue())
            places.append((moment, x, y))
        head = {"side": SIDE, "columns": ["ms", "x", "y"], "dabs": places}
        archive.writestr("session.json", json.dumps(head, separators=(",", ":")))
    return len(places)


if __name__ == "__main__":
    print(f"{SESSION}: {record(SESSION)} dabs")
