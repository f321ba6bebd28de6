"""Build what painters get: one zip a platform, with the plugin, the server's wheel and uv.

    python tools/release.py [--only linux-x86_64] [--into dist]

The same sources give the same bytes: files in order, without dates; uv by exact version and hash;
setuptools by the version in constraints.txt. The starter travels once, inside the wheel.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from velatura.server import plugin_package

ROOT = Path(__file__).resolve().parents[1]
UV_VERSION = "0.13.9"
# The Python that the tests run with; all pinned versions have wheels for it.
PYTHON = "3.11"
# Krita's importer, a mail box and a slow line take this much.
MOST_BYTES = 90_000_000
# Of our own in the wheel; everything else is on the package index.
_SOURCES = ("protocol", "models", "server", "krita_plugin")
_FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "constraints.txt")
# torch names the builds of these that fit it, and each of its own builds names others.
_TORCHS_OWN = re.compile(r"(nvidia-|cuda-|triton)", re.IGNORECASE)


@dataclass(frozen=True)
class Platform:
    """name: as in the zip's name and in its release.json; tag, sha256: of uv's wheel on PyPI."""

    name: str
    tag: str
    sha256: str
    uv: str = "uv"

    @property
    def member(self) -> str:
        """Where uv lies in its wheel."""
        return f"uv-{UV_VERSION}.data/scripts/{self.uv}"


PLATFORMS = (
    Platform(
        "linux-x86_64",
        "manylinux_2_17_x86_64",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    Platform(
        "windows-x86_64",
        "win_amd64",
        "6a44b2ed8111d2f60d2b92627c5dccda3f7ed7570b18ce115e569cd68c28246b",
        "uv.exe",
    ),
    Platform(
        "macos-arm64",
        "macosx_11_0_arm64",
        "66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63",
    ),
)


class ReleaseError(Exception):
    """One sentence: why there is no zip."""


def build(into: Path, platforms: Sequence[Platform] = PLATFORMS, *, cache: Path) -> list[Path]:
    """Write one zip a platform; return their paths. Raises ReleaseError.

    cache: where uv's wheels are kept between builds.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="velatura-release-") as work:
        wheel = build_wheel(Path(work))
        return [_write(into, platform, wheel, cache) for platform in platforms]


def _write(into: Path, platform: Platform, wheel: Path, cache: Path) -> Path:
    payload = payload_files(platform, wheel, take_uv(platform, cache))
    version = wheel.name.split("-")[1]
    path = plugin_package.build(into / f"velatura-{version}-{platform.name}.zip", payload)
    if path.stat().st_size > MOST_BYTES:
        raise ReleaseError(f"{path.name} has {path.stat().st_size} bytes, allowed: {MOST_BYTES}.")
    return path


def payload_files(platform: Platform, wheel: Path, uv: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the installer unpacks, by name in the zip's payload folder."""
    constraints = (ROOT / "constraints.txt").read_text("utf-8")
    data = wheel.read_bytes()
    about = {
        "version": wheel.name.split("-")[1],
        "platform": platform.name,
        "python": PYTHON,
        "wheel": {"name": wheel.name, "sha256": hashlib.sha256(data).hexdigest()},
        "uv": {"name": platform.uv, "sha256": hashlib.sha256(uv[platform.uv]).hexdigest()},
    }
    return {
        "release.json": json.dumps(about, indent=1).encode() + b"\n",
        "requirements.txt": pinned(constraints).encode(),
        wheel.name: data,
        **uv,
    }


def pinned(constraints: str) -> str:
    """The pinned versions that hold for every build of torch."""
    lines = constraints.splitlines(keepends=True)
    return "".join(line for line in lines if not _TORCHS_OWN.match(line))


def build_wheel(into: Path) -> Path:
    """The server's wheel, built from a clean copy of the sources: no left-over of another build."""
    with tempfile.TemporaryDirectory(prefix="velatura-wheel-") as work:
        copy = copy_sources(Path(work) / "source")
        _run(
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--build-constraint", str(ROOT / "constraints.txt")),
            *("--wheel-dir", work, str(copy)),
            otherwise="The server's wheel could not be built",
        )
        built = next(Path(work).glob("velatura-*.whl"))
        files = {}
        with zipfile.ZipFile(built) as archive:
            for name in archive.namelist():
                files[name] = archive.read(name)
        return plugin_package.write_zip(into / built.name, dict(sorted(files.items())))


def copy_sources(into: Path) -> Path:
    """Copy what the wheel is built from; return ``into``."""
    for name in _listed():
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    return into


def take_uv(platform: Platform, cache: Path) -> dict[str, bytes]:
    """uv's program and its licence, from its wheel on PyPI."""
    cache.mkdir(parents=True, exist_ok=True)
    wheel = next((x for x in cache.glob("uv-*.whl") if _sha256(x) == platform.sha256), None)
    if wheel is None:
        with tempfile.TemporaryDirectory() as work:
            wanted = Path(work) / "wanted.txt"
            wanted.write_text(f"uv=={UV_VERSION} --hash=sha256:{platform.sha256}\n", "utf-8")
            _run(
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:", "--platform", platform.tag),
                *("--dest", str(cache), "--requirement", str(wanted)),
                otherwise=f"uv {UV_VERSION} for {platform.name} could not be downloaded",
            )
        wheel = next(x for x in cache.glob("uv-*.whl") if _sha256(x) == platform.sha256)
    with zipfile.ZipFile(wheel) as archive:
        licence = f"uv-{UV_VERSION}.dist-info/licenses/LICENSE-MIT"
        return {platform.uv: archive.read(platform.member), "uv-LICENSE": archive.read(licence)}


def _listed() -> list[str]:
    """The files of the wheel's sources that git does not ignore."""
    found = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *_SOURCES, *_FILES],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = found.stdout.decode().split("\0")
    return sorted(name for name in names if name and (ROOT / name).is_file())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(*command: str, otherwise: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{otherwise}:\n{(done.stdout + done.stderr).strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=[platform.name for platform in PLATFORMS])
    parser.add_argument("--into", type=Path, default=ROOT / "dist")
    chosen = parser.parse_args()
    wanted = [x for x in PLATFORMS if chosen.only in (None, x.name)]
    try:
        for path in build(chosen.into, wanted, cache=ROOT / ".cache/uv"):
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB  sha256 {_sha256(path)}")
    except (ReleaseError, plugin_package.PackageError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
