"""A model in bfloat16 on a CPU paints what it paints in full precision, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from live_painting import Easel, opened
from painting import ask, in_memory, make_tiny_engine, painted, scenery
from velatura.models import devices


@pytest.fixture
def half(tiny_folder, monkeypatch):
    """An engine that takes the tiny model for a large one."""
    monkeypatch.setattr(devices, "_LARGE", 0)
    monkeypatch.setattr(devices, "_cpu_flags", lambda: "avx512_bf16")
    return make_tiny_engine(tiny_folder)


def test_jobs_and_live_differ_little_and_are_the_same_every_time(half, engine):
    job = ask(scenery(64, 64), action="refine", strength=0.5)
    mine = painted(half, job)
    assert (painted(half, job) == mine).all()
    assert np.abs(mine.astype(int) - painted(engine, job)).mean() < 4
    shown = []
    for one in (half, half, engine):
        easel = Easel(opened(64, 64), scenery(64, 64), one)
        easel.key()
        easel.paint()
        shown.append(easel.shown.astype(int))
    assert (shown[0] == shown[1]).all()
    assert np.abs(shown[0] - shown[2]).mean() < 4
    assert in_memory(half).dtype == torch.bfloat16
