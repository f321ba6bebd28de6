"""What doctor says of the devices, with those that this machine may not have simulated."""

from __future__ import annotations

import json
import subprocess

import pytest
from velatura.server import doctor
from velatura.server.worker.runtime.switches import BY_NAME

CARD = ["NVIDIA RTX (CUDA)", "float16", 24_000_000_000]
CPU = ["CPU with 8 threads", "float32", 32_000_000_000]


ON = ["recorded-passes", "passes are replayed", ""]
OFF = ["cuda-graphs", "passes are graphs", "off: no card has run it yet"]


@pytest.fixture
def found(monkeypatch):
    """Say what the process that asks torch prints, or why it fails."""

    def set_found(devices=None, error: str = "", status: int = 0, accelerations=()) -> None:
        said = {"devices": devices, "accelerations": accelerations}
        out = "" if devices is None else json.dumps(said)
        done = subprocess.CompletedProcess([], status, out, error)
        monkeypatch.setattr(doctor.subprocess, "run", lambda *a, **k: done)

    return set_found


def test_the_one_that_paints_comes_first_with_its_precision_and_memory(found):
    found([CARD, CPU])
    assert list(doctor._devices("win32")) == [
        ("Paints on", "NVIDIA RTX (CUDA), float16, 24 GB"),
        ("Also found", "CPU with 8 threads, float32, 32 GB"),
    ]


def test_windows_with_a_cpu_alone_is_told_where_cuda_is(found):
    found([CPU])
    lines = list(doctor._devices("win32"))
    assert "download.pytorch.org" in lines[1][1]
    assert len(list(doctor._devices("linux"))) == 1


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        ("Traceback\nImportError: no torch", 1, "ImportError: no torch"),
        ("", -11, "exit status -11"),
    ],
)
def test_a_broken_torch_is_a_line(found, error, status, said):
    found(error=error, status=status)
    assert list(doctor._devices("linux")) == [("Device", f"unknown: {said}")]


def test_each_acceleration_is_said_to_be_on_or_why_not(found):
    found([CPU], accelerations=[ON, OFF])
    assert list(doctor._devices("linux"))[1:] == [
        ("Accelerations", "recorded-passes: on (passes are replayed)"),
        ("", "cuda-graphs: off: no card has run it yet"),
    ]


def test_the_real_ones_are_listed_as_they_are_here():
    lines = [how.partition(": ") for _, how in doctor._devices("linux")]
    said = {name: state for name, _, state in lines if name in BY_NAME}
    assert set(said) == set(BY_NAME)
    assert said["incremental-layers"].startswith("on")
    assert "no card has run it yet" in said["cuda-graphs"]
