"""A real server for the plugin in a real Krita: its own process, a real worker, a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from velatura.protocol.discovery import Running, read_running

# Random weights at 64 x 64; made once, because importing the libraries takes a while.
_MAKE_MODEL = """
import sys
from pathlib import Path
from checkpoints import make_sd2, make_sdxl, put_encoder, put_estimator
from lora_files import make_lora, make_word, parts_of
from velatura.models.starter.recipe.tiny import make_tiny
models = Path(sys.argv[1])
make_tiny(models / "tiny")
# Two layers, so that one can be skipped.
put_encoder(models / "tiny", num_hidden_layers=2)
make_lora(models / "loras" / "ink.safetensors", parts_of(models / "tiny"), size=1.0)
make_word(models / "embeddings" / "glaze.safetensors", (32,))
# Of other families; what is first in the list is what a new painter gets.
make_sdxl(models / "x-large")
make_sd2(models / "y-depth", channels=5)
put_estimator(models / "y-depth")
"""


def make_model(models: Path) -> Path:
    """Tiny checkpoints: in the starter's layout, with a LoRA and an embedding for it; SDXL; depth."""
    models.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-c", _MAKE_MODEL, str(models)],
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    return models


class Server:
    """``velatura serve`` for one data folder. ``command`` is what launch.json holds."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.command = [
            str(Path(sys.executable).with_name("velatura")),
            "serve",
            *("--port", "0", "--models", str(models)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"VELATURA_HOME": str(self.folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    @property
    def running(self) -> Running | None:
        return read_running(self.folder)

    def write_launch(self) -> None:
        (self.folder / "launch.json").write_text(json.dumps({"command": self.command}), "utf-8")

    def start(self) -> Server:
        """Returns when it listens; the model loads meanwhile."""
        with (self.folder / "test-server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        until = time.monotonic() + 30
        while (found := self.running) is None or found.pid != self._process.pid:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "test-server.log").read_text("utf-8"))
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """SIGKILL: a crash or a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it, also when Krita has started it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        found = self.running
        if found is not None:
            end(found.pid)


def end(pid: int) -> None:
    """SIGTERM, and SIGKILL if that does not help, for a process that is not our child."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + 15
        while time.monotonic() < until:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
