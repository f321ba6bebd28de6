"""Which device paints and in which precision: the one place that decides."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def choose_device() -> tuple[str, torch.dtype, str]:
    """(torch device, dtype of the weights, name for a person) of the best device here.

    NVIDIA (cuda) and AMD (ROCm, which torch also calls cuda) before Apple (mps), Intel (xpu) and
    the CPU.
    """
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        # These cards compute NaN, and so black pictures, in half precision.
        half = torch.float32 if "GTX 16" in name else torch.float16
        return "cuda", half, f"{name} ({'ROCm' if torch.version.hip else 'CUDA'})"
    if torch.backends.mps.is_available():
        return "mps", torch.float16, f"Apple {platform.machine()} (MPS)"
    if torch.xpu.is_available():
        return "xpu", torch.float16, f"{torch.xpu.get_device_name()} (XPU)"
    # Few CPUs compute in half precision at a useful speed.
    return "cpu", torch.float32, f"CPU with {torch.get_num_threads()} threads"


def lacks_memory(error: BaseException) -> bool:
    """Whether torch, or Python, says with ``error`` that the device's memory is used up."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # The CPU's and Apple's allocators have no class of their own for it.
    signs = ("DefaultCPUAllocator", "MPS backend out of memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
