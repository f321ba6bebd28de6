"""The choice of the device, with the backends that this machine may not have simulated."""

from __future__ import annotations

import pytest
import torch
from velatura.models import devices
from velatura.models.devices import (
    choose_device,
    find_devices,
    lacks_memory,
    multiplies_bfloat16,
    precision_for,
)


@pytest.fixture
def present(monkeypatch):
    """Say which backends torch finds."""

    def set_present(*names: str, card: str = "Some Card", hip: str | None = None) -> None:
        for name, module in (
            ("cuda", torch.cuda),
            ("mps", torch.backends.mps),
            ("xpu", torch.xpu),
        ):
            monkeypatch.setattr(module, "is_available", lambda name=name: name in names)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: card)
        monkeypatch.setattr(torch.xpu, "get_device_name", lambda: card)
        monkeypatch.setattr(torch.version, "hip", hip)

    return set_present


def test_a_machine_without_a_gpu_paints_on_its_cpu_in_full_precision(present):
    present()
    device, dtype, name = choose_device()
    assert (device, dtype) == ("cpu", torch.float32)
    assert "CPU" in name


@pytest.mark.parametrize(
    ("backends", "hip", "device", "word"),
    [
        (("cuda", "mps", "xpu"), None, "cuda", "CUDA"),
        (("cuda",), "6.4", "cuda", "ROCm"),
        (("mps",), None, "mps", "MPS"),
        (("xpu",), None, "xpu", "XPU"),
    ],
)
def test_a_gpu_is_used_in_half_precision_and_named(present, backends, hip, device, word):
    present(*backends, hip=hip)
    chosen, dtype, name = choose_device()
    assert (chosen, dtype) == (device, torch.float16)
    assert word in name


def test_cards_that_compute_nan_in_half_precision_use_full(present):
    present("cuda", card="NVIDIA GeForce GTX 1660 Ti")
    assert choose_device()[1] == torch.float32


def test_every_backend_is_found_and_the_cpu_is_last(present):
    present("cuda", "mps", "xpu")
    found = list(find_devices())
    assert [device.kind for device in found] == ["cuda", "mps", "xpu", "cpu"]
    assert found[-1].dtype == torch.float32
    assert found[-1].memory is not None
    assert found[-1].memory > 2**28


def test_a_lack_of_memory_is_known_from_other_faults():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert lacks_memory(caught.value)
    assert lacks_memory(torch.OutOfMemoryError())
    assert lacks_memory(MemoryError())
    assert not lacks_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not lacks_memory(ValueError("DefaultCPUAllocator"))


@pytest.mark.parametrize(
    ("device", "numbers", "flags", "dtype"),
    [
        ("cpu", 10**9, "fma avx512f avx512_bf16", torch.bfloat16),
        ("cpu", 10**9, "fma amx_bf16", torch.bfloat16),
        ("cpu", 10**9, "fma avx2 avx512f", torch.float32),
        ("cpu", 10**9, "", torch.float32),
        ("cpu", 10**7, "avx512_bf16", torch.float32),
        ("cuda", 10**9, "avx512_bf16", torch.float32),
    ],
)
def test_a_large_model_is_in_bfloat16_on_cpus_that_multiply_it(
    device, numbers, flags, dtype, monkeypatch
):
    monkeypatch.setattr(devices, "_cpu_flags", lambda: flags)
    assert precision_for(device, torch.float32, numbers) == dtype


def test_flags_are_whole_words():
    assert not multiplies_bfloat16("avx512_bf16x not_amx_bf16")
