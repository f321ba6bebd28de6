"""The choice of the device, with the backends that this machine may not have simulated."""

from __future__ import annotations

import pytest
import torch
from velatura.models.devices import choose_device


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
