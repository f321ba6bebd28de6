"""Which PyTorch a computer gets."""

from __future__ import annotations

import re

import pytest
from velatura.krita_plugin.install.devices import (
    AMD,
    APPLE,
    BUILDS,
    CPU,
    INTEL,
    LABELS,
    NVIDIA,
    NVIDIA_OLD,
    builds_for,
    find_device,
    refusal,
)
from velatura.krita_plugin.install.machine import LINUX, MACOS, WINDOWS, Machine, ask


def machine(system=LINUX, arch="x86_64", version=(0,), *, says=(), cards=(), files=()):
    answers = dict(says)
    return Machine(
        system,
        arch,
        version,
        ask=lambda command: answers.get(command[0], ""),
        look=lambda folder: dict(cards),
        has=lambda path: path in files,
    )


def amd(*files):
    return machine(cards=[("card0/vendor", "0x1002"), ("card0/driver", "amdgpu")], files=files)


def intel(driver):
    return machine(cards=[("card0/vendor", "0x8086"), ("card0/driver", driver)])


def nvidia(said, system=LINUX):
    return machine(system, says=[("nvidia-smi", said)])


ARC = "Microsoft Basic Display\r\nIntel(R) Arc(TM) A770 Graphics\r\n"


@pytest.mark.parametrize(
    ("here", "device"),
    [
        (nvidia("580.65.06, 8.9\n"), NVIDIA),
        (nvidia("581.29, 12.0\n", WINDOWS), NVIDIA),
        (nvidia("550.120, 8.9\n"), NVIDIA_OLD),
        (nvidia("580.65.06, 6.1\n"), NVIDIA_OLD),
        (nvidia("NVIDIA-SMI has failed because it couldn't communicate\n"), CPU),
        (amd("/dev/kfd"), AMD),
        (amd(), CPU),
        (intel("xe"), INTEL),
        (intel("i915"), CPU),
        (machine(WINDOWS, says=[("powershell", ARC)]), INTEL),
        (machine(WINDOWS, says=[("powershell", "AMD Radeon RX 7900\r\n")]), CPU),
        (machine(MACOS, "arm64", (15, 1)), APPLE),
        (machine(), CPU),
    ],
)
def test_the_device_that_paints_best_is_found(here, device):
    assert find_device(here) == device
    assert device in builds_for(here)


@pytest.mark.parametrize(
    ("here", "words"),
    [
        (machine(MACOS, "x86_64", (13,)), "Macs with an Intel chip.*another computer"),
        (machine(MACOS, "arm64", (13, 6)), "macOS 14"),
        (machine(WINDOWS, "arm64"), "windows on arm64"),
        (machine(LINUX, "arm64"), "linux on arm64"),
    ],
)
def test_where_no_server_can_be_the_painter_reads_why_and_what_else(here, words):
    assert re.search(words, refusal(here))


@pytest.mark.parametrize(
    "here", [machine(), machine(WINDOWS), machine(MACOS, "arm64", (14, 0))], ids=lambda x: x.system
)
def test_everywhere_else_nothing_is_refused(here):
    assert refusal(here) == ""


def test_every_row_of_the_table_is_told_by_a_label_and_a_system_has_a_device_once():
    assert {build.device for build in BUILDS} == set(LABELS)
    assert len({(build.device, build.system) for build in BUILDS}) == len(BUILDS)


def test_a_build_that_is_not_pypis_comes_from_pytorchs_own_index():
    for build in BUILDS:
        assert build.index == "" or build.index.startswith("https://download.pytorch.org/whl/")


def test_a_program_that_is_missing_or_fails_says_nothing():
    assert ask(["no-such-program-here"]) == ""
    assert ask(["false"]) == ""
