"""What the starter paints around a stroke meets the rest without a seam, and leaves the rest alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from velatura.models.library import Library
from velatura.server.worker.engine import Engine

sys.path.insert(0, str(Path(__file__).parents[3]))
from benchmarks.region import quality

# Colour steps of 255. The full frames themselves differ by as much from a change of one bit a pixel.
SEAM, LEFT = 6, 6


@pytest.fixture(scope="module")
def figures():
    engine = Engine(Library([]), torch.device("cpu"), torch.float32, "CPU")
    model = next(one for one in engine.catalogue().models if one.name == "starter")
    return quality(engine, model, 3, 0.05)


def test_no_seam_is_seen_around_what_was_repainted(figures):
    assert figures["seam"] < SEAM


def test_a_stroke_leaves_the_rest_of_the_picture_as_it_was(figures):
    assert figures["left_by_region"] == 0
    assert figures["left_by_whole"] < LEFT


def test_the_stroke_itself_is_painted_anew(figures):
    assert figures["changed"] > 2 * SEAM
