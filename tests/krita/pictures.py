"""Photographs the docker in a real Krita: `make pictures` makes docs/docker-*.png
and the pictures of the manual.

Krita under Xvfb in its dark and its bright theme, at 100 and 200 %, with a server that paints with
the starter; what the painter does there is scripts/pictures.py. Takes some minutes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from krita_harness import Installation, missing
from PIL import Image
from serving import Server

ROOT = Path(__file__).parents[2]

THEMES = {"dark": "Krita dark", "light": "Krita bright"}
SCALES = (1, 2)
GAP = 12
COLUMNS = 8
# What the manual shows.
MANUAL = {
    "start": "1 nothing connected",
    "loading": "3 connected",
    "strip": "7 variants",
    "fill": "9 fill",
    "guides": "11 guides",
    "live": "14 live",
}


def main() -> None:
    if missing():
        sys.exit(f"This needs {' and '.join(missing())}.")
    with tempfile.TemporaryDirectory(prefix="velatura-pictures-") as made:
        krita = Installation(Path(made))
        try:
            for theme in THEMES:
                for scale in SCALES:
                    folder = Path(made) / f"{theme}-{scale}"
                    folder.mkdir()
                    photograph(krita, folder, theme, scale)
                    sheet = make_sheet(folder, scale)
                    path = ROOT / "docs" / f"docker-{theme}-{100 * scale}.png"
                    sheet.save(path, optimize=True)
                    print(path.name, path.stat().st_size // 1024, "KB", flush=True)
                    if (theme, scale) == ("dark", 1):
                        for name, state in MANUAL.items():
                            picture = few_colours(Image.open(folder / f"{state}-260.png"))
                            picture.save(ROOT / f"krita_plugin/manual/{name}.png", optimize=True)
        finally:
            krita.close()


def photograph(krita: Installation, folder: Path, theme: str, scale: int) -> None:
    """Every state at every width, as PNG files in ``folder``."""
    home = krita.new_home()
    with (home / ".config/kritarc").open("a", encoding="utf-8") as settings:
        settings.write(f"\n[theme]\nTheme={THEMES[theme]}\n")
    server = Server(folder / "velatura", ROOT / "models")
    # Else it is up before its start is photographed.
    server.command = ["sh", "-c", 'sleep 3; exec "$@"', "sh", *server.command]
    server.write_launch()
    env = {
        **server.environment,
        "OMP_NUM_THREADS": "2",
        "KT_PICTURES": str(folder),
        "QT_SCALE_FACTOR": str(scale),
    }
    try:
        with krita.start(env=env, home=home) as running:
            for line in running.run("pictures.py", "walks", timeout=1200).lines:
                print(theme, scale, line, flush=True)
    finally:
        server.close()


def make_sheet(folder: Path, scale: int) -> Image.Image:
    """All states in their order, the narrow dockers above the wide ones."""
    widths: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.png"), key=lambda path: int(path.stem.split(" ")[0])):
        widths.setdefault(path.stem.rpartition("-")[2], []).append(path)
    rows = [
        [Image.open(path) for path in paths[i : i + COLUMNS]]
        for _, paths in sorted(widths.items())
        for i in range(0, len(paths), COLUMNS)
    ]
    gap = GAP * scale
    wide = max(sum(picture.width + gap for picture in row) for row in rows) + gap
    tall = sum(row[0].height + gap for row in rows) + gap
    sheet = Image.new("RGB", (wide, tall), (128, 128, 128))
    y = gap
    for row in rows:
        x = gap
        for picture in row:
            sheet.paste(picture, (x, y))
            x += picture.width + gap
        y += row[0].height + gap
    return few_colours(sheet)


def few_colours(picture: Image.Image) -> Image.Image:
    """A palette in which greys stay grey and the small light keeps its colour."""
    return picture.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
