"""What ``velatura doctor`` says: versions, device, folders. Never the token."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from velatura.protocol.discovery import read_launch, read_running, read_token

from . import __version__
from .settings import model_folders

_PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "accelerate", "websockets")
# In a process of its own: importing torch takes seconds, and a broken one may end the process.
_DEVICE = "from velatura.models.devices import choose_device; print(choose_device()[2])"
_WINDOWS_HINT = (
    "PyTorch from PyPI has no CUDA on Windows. For an NVIDIA card: "
    "pip install --force-reinstall torch torchvision "
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
    device = _device()
    yield "Device", device
    if sys.platform == "win32" and device.startswith("CPU"):
        yield "", _WINDOWS_HINT
    yield "Data folder", _folder(folder)
    yield "Token", "there (hidden)" if read_token(folder) else "made when the server first starts"
    running = read_running(folder)
    yield "Server", f"{running.url}, process {running.pid}" if running else "does not run"
    for path in model_folders(folder):
        yield "Models", f"{path}" if path.is_dir() else f"{path} (not there yet)"
    launch = read_launch(folder)
    yield (
        "Plugin",
        "starts the server with: " + " ".join(launch.command)
        if launch
        else ("not installed: velatura plugin install"),
    )


def _device() -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DEVICE], capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return "unknown: PyTorch did not start within two minutes"
    if done.returncode == 0:
        return done.stdout.strip()
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return f"unknown: {lines[-1]}"


def _folder(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} (not there yet)"
    if sys.platform != "win32" and folder.stat().st_mode & 0o077:
        return f"{folder} (others can read it; the server closes it when it starts)"
    return str(folder)
