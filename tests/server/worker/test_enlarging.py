"""A model that brings an enlarger: what it painted small is enlarged by it, and nothing else changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from painting import ask, composite, in_memory, make_tiny_engine, painted, rectangle, scenery
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from velatura.protocol.region import Rect
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.finish import restore_detail
from velatura.server.worker.job.plan import JobPlan, make_plan, with_detail
from velatura.server.worker.pixels import enlarge, from_model

# The tiny model paints 64 x 64 best.
SIDE = 160
SELECTED = Rect(40, 24, 80, 100)
SOFT = (rectangle(SIDE, SIDE, SELECTED) * np.linspace(0, 1, SIDE)).astype(np.uint8)
BELOW = scenery(SIDE, SIDE)

WAYS: list[dict[str, Any]] = [
    {"action": "generate"},
    {"action": "fill", "selection": SOFT},
    {"action": "refine", "strength": 0.6, "selection": SOFT},
    {"action": "fill", "selection": SOFT, "detail": "full"},
]
NAMES = ["generate", "fill", "refine", "two passes"]


def bring_enlarger(folder: Path) -> None:
    """Write an enlarger that rules fine lines, from left to right, over what it enlarges."""
    torch.manual_seed(0)
    network = Compact(num_feat=4, num_conv=1, upscale=4)
    with torch.no_grad():
        network.body[-1].weight.zero_()
        # Rows of the 4 x 4 pixels that every pixel becomes: lighter and darker, the mean as it was.
        lines = torch.tensor([0.2, 0.2, -0.2, -0.2]).repeat_interleave(4)
        network.body[-1].bias.copy_(lines.repeat(3))
    save_file(network.state_dict(), folder / "upscaler-x4.safetensors")


@pytest.fixture(scope="module")
def bringing(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bringing") / "tiny"
    shutil.copytree(tiny_folder, folder)
    bring_enlarger(folder)
    return folder


@pytest.fixture(scope="module")
def enlarging(bringing: Path) -> Engine:
    return make_tiny_engine(bringing)


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> Engine:
    return make_tiny_engine(tiny_folder)


def lines_in(change: np.ndarray) -> float:
    """How much more a change steps from row to row than from column to column."""
    down, across = (np.abs(np.diff(change, axis=axis)).mean() for axis in (0, 1))
    return float(down / across)


@pytest.mark.parametrize("how", WAYS, ids=NAMES)
def test_only_detail_and_only_in_the_selection_is_new(
    enlarging: Engine, plain: Engine, how: dict[str, Any]
) -> None:
    request = ask(BELOW, **how)
    layer, before = painted(enlarging, request), painted(plain, request)
    after = composite(layer, BELOW)
    if "selection" in how:
        assert (after[SOFT == 0] == BELOW[SOFT == 0]).all()
    assert (layer[..., 3] == before[..., 3]).all()
    assert (painted(enlarging, request) == layer).all(), "the same request, other pixels"
    middle = (slice(60, 100), slice(60, 100), slice(0, 3))
    change = layer[middle].astype(np.float32) - before[middle]
    if how.get("detail") == "full":
        # The second pass paints over it.
        assert change.any()
        return
    assert lines_in(change) > 2
    # What an enlarger would make lighter than white is cut off.
    assert np.abs(cv2.GaussianBlur(change, (0, 0), 10)).mean() < 6


def test_a_picture_at_its_own_size_is_left_alone(enlarging: Engine, plain: Engine) -> None:
    request = ask(scenery(64, 64), action="generate")
    assert (painted(enlarging, request) == painted(plain, request)).all()


def test_the_enlarger_goes_with_its_model(enlarging: Engine, plain: Engine) -> None:
    painted(enlarging, ask(scenery(64, 64), steps=1))
    painted(plain, ask(scenery(64, 64), steps=1))
    assert in_memory(enlarging).enlarger.factor == 4
    assert in_memory(plain).enlarger is None


def test_a_broken_enlarger_is_named_and_mended_without_a_restart(
    bringing: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(bringing, folder)
    path = folder / "upscaler-x4.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    engine = make_tiny_engine(folder)
    with pytest.raises(JobError, match=r"upscaler-x4\.safetensors is broken"):
        painted(engine, ask(scenery(64, 64), steps=1))
    bring_enlarger(folder)
    assert painted(engine, ask(scenery(64, 64), steps=1)).any()


def plan_of(side: int) -> JobPlan:
    from test_plan import a_model

    request = ask(np.zeros((side, side, 4), np.uint8))
    return make_plan(request, with_detail(a_model(96, 96), "cpu"), Rect(0, 0, side, side))


def test_nothing_is_enlarged_that_was_not_painted_smaller(enlarging: Engine) -> None:
    painted(enlarging, ask(scenery(64, 64), steps=1))
    enlarger = in_memory(enlarging).enlarger
    pixels = np.full((96, 96, 3), 0.5, np.float32)
    assert enlarge(pixels, plan_of(96), 96, 96, enlarger) is None
    assert enlarge(pixels, plan_of(192), 192, 192, None) is None
    large = enlarge(pixels, plan_of(192), 192, 192, enlarger)
    assert large is not None
    assert large.shape == (192, 192, 3)


def test_what_the_model_left_alone_has_the_pictures_detail_and_not_the_enlargers_too() -> None:
    plan = plan_of(192)
    picture = BELOW[:96, :96, :3].astype(np.float32) / 255
    picture = cv2.resize(picture, (192, 192), interpolation=cv2.INTER_NEAREST)
    seen = cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA)
    same = np.ones((96, 96), np.float32)
    same[:, 48:] = 0
    scaled = from_model(seen, plan, 192, 192)
    enlarged = scaled + 0.3
    restored = restore_detail(scaled, picture, seen, same, plan, enlarged)
    assert np.abs(restored - picture)[:, :80].max() < 1e-5
    assert np.abs(restored - enlarged)[:, 110:].max() < 1e-5
