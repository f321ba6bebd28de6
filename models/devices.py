"""Which device paints and in which precision: the one place that decides."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device:
    """One device that torch can use here.

    kind    torch's word: cuda (AMD's ROCm too), mps, xpu, cpu
    name    for a person
    dtype   of the weights on it
    memory  bytes in all; None where torch does not tell
    """

    kind: str
    name: str
    dtype: torch.dtype
    memory: int | None


def find_devices() -> Iterator[Device]:
    """What torch can use here, the best first: NVIDIA (cuda) and AMD (ROCm, which torch also calls
    cuda) before Apple (mps), Intel (xpu) and the CPU."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        # These cards compute NaN, and so black pictures, in half precision.
        half = torch.float32 if "GTX 16" in name else torch.float16
        backend = "ROCm" if torch.version.hip else "CUDA"
        yield Device("cuda", f"{name} ({backend})", half, _total(torch.cuda))
    if torch.backends.mps.is_available():
        name, memory = f"Apple {platform.machine()} (MPS)", psutil.virtual_memory().total
        yield Device("mps", name, torch.float16, memory)
    if torch.xpu.is_available():
        name = f"{torch.xpu.get_device_name()} (XPU)"
        yield Device("xpu", name, torch.float16, _total(torch.xpu))
    name = f"CPU with {torch.get_num_threads()} threads"
    # Few CPUs compute in half precision at a useful speed.
    yield Device("cpu", name, torch.float32, psutil.virtual_memory().total)


def choose_device() -> tuple[str, torch.dtype, str]:
    """(torch device, dtype of the weights, name for a person) of the best device here."""
    best = next(find_devices())
    return best.kind, best.dtype, best.name


def _total(backend: object) -> int | None:
    try:
        return int(backend.get_device_properties(0).total_memory)  # type: ignore[attr-defined]
    except (AttributeError, AssertionError, RuntimeError):  # a driver that tells less
        return None


def lacks_memory(error: BaseException) -> bool:
    """Whether torch, or Python, says with ``error`` that the device's memory is used up."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # The CPU's and Apple's allocators have no class of their own for it.
    signs = ("DefaultCPUAllocator", "MPS backend out of memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
