"""Which build of PyTorch fits which device: one table, and how a device is found."""

from __future__ import annotations

from dataclasses import dataclass

from .machine import LINUX, MACOS, WINDOWS, Machine

NVIDIA, NVIDIA_OLD, AMD, INTEL, APPLE, CPU = "nvidia", "nvidia-old", "amd", "intel", "apple", "cpu"
LABELS = {
    NVIDIA: "NVIDIA graphics card",
    NVIDIA_OLD: "NVIDIA graphics card of before 2018, or with an older driver",
    AMD: "AMD graphics card",
    INTEL: "Intel Arc graphics card",
    APPLE: "Apple chip",
    CPU: "No graphics card",
}
_TORCH = "https://download.pytorch.org/whl/"
# PyTorch's CUDA 13 wants a driver of this number or higher, and a Turing card (2018) or newer.
_CUDA_13_DRIVER, _CUDA_13_CARD = 580.0, 7.5
# What torch 2.15's wheel for macOS says of itself.
_OLDEST_MACOS = (14,)


@dataclass(frozen=True)
class Build:
    """A build of PyTorch. index: where it is, "" for PyPI. download, disk: bytes that a whole
    installation takes; measured where ``measured``, else estimated from builds alike."""

    device: str
    system: str
    index: str
    download: int
    disk: int
    measured: bool = False


_GB = 1_000_000_000
BUILDS = (
    Build(NVIDIA, LINUX, "", 3_220_000_000, 6_800_000_000, measured=True),
    Build(NVIDIA, WINDOWS, _TORCH + "cu132", 3 * _GB, 7 * _GB),
    Build(NVIDIA_OLD, LINUX, _TORCH + "cu126", 3 * _GB, 7 * _GB),
    Build(NVIDIA_OLD, WINDOWS, _TORCH + "cu126", 3 * _GB, 7 * _GB),
    Build(AMD, LINUX, _TORCH + "rocm7.2", 5 * _GB, 18 * _GB),
    Build(INTEL, LINUX, _TORCH + "xpu", 2 * _GB, 6 * _GB),
    Build(INTEL, WINDOWS, _TORCH + "xpu", 2 * _GB, 6 * _GB),
    Build(APPLE, MACOS, "", 300_000_000, 1_300_000_000),
    Build(CPU, LINUX, _TORCH + "cpu", 500_000_000, 1_800_000_000),
    Build(CPU, WINDOWS, "", 320_000_000, 1_400_000_000, measured=True),
)


def builds_for(machine: Machine) -> dict[str, Build]:
    """By device, what can be chosen on this computer."""
    return {build.device: build for build in BUILDS if build.system == machine.system}


def find_device(machine: Machine) -> str:
    """The device that paints best here."""
    if machine.system == MACOS:
        return APPLE
    nvidia = _nvidia(machine)
    if nvidia:
        return nvidia
    return _from_sys(machine) if machine.system == LINUX else _from_windows(machine)


def refusal(machine: Machine) -> str:
    """Why no server can be installed here, in one sentence; "" where one can."""
    if machine.system == MACOS and machine.arch != "arm64":
        return (
            "PyTorch no longer exists for Macs with an Intel chip: start a Velatura server on "
            "another computer and add its address in the settings."
        )
    if machine.system == MACOS and machine.version < _OLDEST_MACOS:
        return "The server needs macOS 14 or newer: update macOS, or use another computer's server."
    if machine.arch not in ("x86_64", "arm64") or (
        machine.system != MACOS and machine.arch != "x86_64"
    ):
        return (
            f"There is no server for {machine.system} on {machine.arch}: use another computer's, "
            "with its address in the settings."
        )
    return ""


def _nvidia(machine: Machine) -> str:
    query = "--query-gpu=driver_version,compute_cap"
    said = machine.ask(["nvidia-smi", query, "--format=csv,noheader"])
    for line in said.splitlines():
        driver, _, card = line.partition(",")
        try:
            number = float(".".join(driver.strip().split(".")[:2]))
            is_new = number >= _CUDA_13_DRIVER and float(card.strip()) >= _CUDA_13_CARD
        except ValueError:
            continue
        return NVIDIA if is_new else NVIDIA_OLD
    return ""


def _from_sys(machine: Machine) -> str:
    cards = machine.look("/sys/class/drm")
    vendors = {value for name, value in cards.items() if name.endswith("/vendor")}
    drivers = {value for name, value in cards.items() if name.endswith("/driver")}
    if "0x1002" in vendors and machine.has("/dev/kfd"):
        return AMD
    # The older driver, i915, is also that of chips that PyTorch does not paint on.
    if "0x8086" in vendors and "xe" in drivers:
        return INTEL
    return CPU


def _from_windows(machine: Machine) -> str:
    names = machine.ask(
        [
            *("powershell", "-NoProfile", "-NonInteractive", "-Command"),
            "(Get-CimInstance Win32_VideoController).Name",
        ]
    )
    return INTEL if any("Intel" in x and "Arc" in x for x in names.splitlines()) else CPU
