"""What ``velatura doctor`` says: versions, device, folders. Never the token."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from velatura.models.places import find_places
from velatura.protocol.discovery import read_launch, read_running, read_token

from . import __version__
from .plugin_package import find_kritas
from .settings import model_folders

_PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "accelerate", "websockets")
# In a process of its own: importing torch takes seconds, and a broken one may end the process.
_DEVICES = """
import json, os
from velatura.models.devices import choose_device, find_devices
devices = [[d.name, str(d.dtype).removeprefix("torch."), d.memory] for d in find_devices()]
try:
    import torch
    from velatura.server.worker.runtime.probes import make_accelerations
    from velatura.server.worker.runtime.switches import switches_of
    made = make_accelerations(switches_of(os.environ), torch.device(choose_device()[0]))
    accelerations = [[one.name, one.gives, why] for one, why in made.listed()]
except Exception as error:
    accelerations = [["all", "", f"unknown: {type(error).__name__}: {error}"]]
print(json.dumps({"devices": devices, "accelerations": accelerations}))
"""
_WINDOWS_HINT = (
    "PyTorch from PyPI has no CUDA on Windows. For an NVIDIA card: "
    'pip install --force-reinstall "torch<2.16" "torchvision<0.30" '
    "--index-url https://download.pytorch.org/whl/cu130"
)


def examine(folder: Path) -> Iterator[tuple[str, str]]:
    """(what, how it is) line by line, as soon as each is known."""
    yield "Velatura", __version__
    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "missing: install Velatura again"
    yield from _devices(sys.platform)
    yield "Data folder", _folder(folder)
    yield "Token", "there (hidden)" if read_token(folder) else "made when the server first starts"
    running = read_running(folder)
    yield "Server", f"{running.url}, process {running.pid}" if running else "does not run"
    for path in model_folders(folder):
        yield "Models", _models_in(path)
    for krita in find_kritas():
        if krita.settings.is_file() or krita.resources.is_dir():
            there = (krita.resources / "pykrita" / "velatura.desktop").is_file()
            what = "with the plugin" if there else "without it: velatura plugin install"
            yield krita.name, f"{krita.resources}, {what}"
    launch = read_launch(folder)
    yield (
        "Plugin",
        "starts the server with: " + " ".join(launch.command)
        if launch
        else ("not installed: velatura plugin install"),
    )


def _devices(platform: str) -> Iterator[tuple[str, str]]:
    """What torch can use, the one that paints first, and what to install where that is a pity."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DEVICES], capture_output=True, text=True, timeout=120
        )
        said = json.loads(done.stdout) if done.returncode == 0 else {}
    except subprocess.TimeoutExpired:
        yield "Device", "unknown: PyTorch did not start within two minutes"
        return
    except ValueError:
        said = {}
    found = said.get("devices")
    if not found:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        yield "Device", f"unknown: {lines[-1]}"
        return
    for number, (name, dtype, memory) in enumerate(found):
        size = f", {memory / 10**9:.0f} GB" if memory else ""
        yield "Also found" if number else "Paints on", f"{name}, {dtype}{size}"
    if platform == "win32" and len(found) == 1:
        yield "", _WINDOWS_HINT
    for number, (name, gives, why_off) in enumerate(said["accelerations"]):
        yield "" if number else "Accelerations", f"{name}: {why_off or f'on ({gives})'}"


def _models_in(path: Path) -> str:
    if not path.exists():
        return f"{path} (not there yet)"
    labels = sorted({place.label for place in find_places(path) if not place.flat})
    return f"{path} ({' and '.join(labels)})" if labels else str(path)


def _folder(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} (not there yet)"
    if sys.platform != "win32" and folder.stat().st_mode & 0o077:
        return f"{folder} (others can read it; the server closes it when it starts)"
    return str(folder)
