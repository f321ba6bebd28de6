"""Which device paints and in which precision: the one place that decides."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

# Numbers in a model from which on its arithmetic outweighs all else.
_LARGE = 200_000_000


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
    # See precision_for: few CPUs compute in half precision at a useful speed.
    yield Device("cpu", name, torch.float32, psutil.virtual_memory().total)


def choose_device() -> tuple[str, torch.dtype, str]:
    """(torch device, dtype of the weights, name for a person) of the best device here."""
    best = next(find_devices())
    return best.kind, best.dtype, best.name


def precision_for(device: str, dtype: torch.dtype, numbers: int) -> torch.dtype:
    """The dtype for a model of so many ``numbers`` on a device whose own is ``dtype``.

    A CPU that multiplies bfloat16 itself takes 0.46 of the time for a pass of Stable Diffusion 1.5's
    UNet. A small model's pictures take 0.8 of it, but the small crops of live painting 1.1: it stays
    in full precision, the same on every CPU.
    """
    import torch

    if device != "cpu" or numbers < _LARGE or not multiplies_bfloat16(_cpu_flags()):
        return dtype
    return torch.bfloat16


def multiplies_bfloat16(flags: str) -> bool:
    """Whether a CPU with these ``flags``, as Linux spells them, has instructions for it."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags.split()))


def _cpu_flags() -> str:
    """Of the first core; nothing where the system does not tell as Linux does."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    flags = (line for line in lines if line.lower().startswith(("flags", "features")))
    return next(flags, "").partition(":")[2]


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


def free_memory(device: torch.device) -> int:
    """Count the bytes that tensors can still take, torch's own unused cache included."""
    import torch

    if device.type in ("cuda", "xpu"):
        module = getattr(torch, device.type)
        cached = module.memory_reserved(device) - module.memory_allocated(device)
        return int(module.mem_get_info(device)[0] + cached)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(psutil.virtual_memory().available)
