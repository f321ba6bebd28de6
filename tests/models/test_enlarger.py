"""Enlarging by a learnt upscaler: colours stay, tiles leave no trace, other files are refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from velatura.models import enlarger
from velatura.models.enlarger import COLOUR_SIGMA, Enlarger, keep_colours, load_enlarger
from velatura.models.errors import ModelError


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory) -> Path:
    """A compact network of random weights that makes everything lighter."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("upscaler") / "upscaler-x4.safetensors"
    network = Compact(num_feat=8, num_conv=3, upscale=4)
    torch.nn.init.constant_(network.body[-1].bias, 0.2)
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def loaded(upscaler) -> Enlarger:
    return load_enlarger(upscaler)


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.random((6, 8, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def test_a_picture_is_four_times_as_wide_and_high_and_in_range(loaded):
    large = loaded.enlarge(picture())
    assert large.shape == (192, 256, 3)
    assert large.dtype == np.float32
    assert 0 <= large.min() <= large.max() <= 1
    assert loaded.factor == 4


def test_the_same_picture_gives_the_same_pixels(loaded):
    assert np.array_equal(loaded.enlarge(picture()), loaded.enlarge(picture()))


def test_large_shapes_keep_the_pictures_colours(loaded):
    source = 0.2 + 0.6 * picture()
    with torch.inference_mode():
        tensor = torch.from_numpy(source).permute(2, 0, 1)[None]
        bare = loaded.network(tensor)[0].permute(1, 2, 0).numpy()

    def apart(large: np.ndarray) -> float:
        small = cv2.resize(large, (64, 48), interpolation=cv2.INTER_AREA)
        return float(np.abs(cv2.GaussianBlur(small - source, (0, 0), 3 * COLOUR_SIGMA)).max())

    assert apart(bare) > 0.1
    assert apart(loaded.enlarge(source)) < 0.02


def test_what_keeps_its_colours_is_not_touched():
    source = np.full((16, 16, 3), 0.5, np.float32)
    stripes = np.full((64, 64, 3), 0.25, np.float32)
    stripes[:, ::2] = 0.75
    assert np.abs(keep_colours(stripes, source) - stripes).max() < 1e-6


def test_tiles_leave_no_trace(loaded, monkeypatch):
    whole = loaded.enlarge(picture(70, 90))
    seen = []
    monkeypatch.setattr(enlarger, "TILE", 24)
    loaded.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2:]))
    tiled = loaded.enlarge(picture(70, 90))
    assert len(seen) == 3 * 4
    assert max(max(shape) for shape in seen) <= 24 + 2 * enlarger.HALO
    assert np.abs(whole - tiled).max() < 1e-5


@pytest.mark.parametrize("size", [(100, 80), (256, 192), (300, 200), (65, 49)])
def test_any_larger_size_can_be_asked_for(loaded, size):
    large = loaded.resize(picture(), *size)
    assert large.shape == (size[1], size[0], 3)
    assert 0 <= large.min() <= large.max() <= 1


def test_what_is_no_upscaler_is_refused_by_one_sentence(tmp_path):
    path = tmp_path / "up.safetensors"
    path.write_bytes(b"no header")
    with pytest.raises(ModelError, match=r"up\.safetensors is broken"):
        load_enlarger(path)
    save_file({"weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ModelError, match=r"up\.safetensors is no upscaler that can be read"):
        load_enlarger(path)
    broken = Compact(num_feat=8, num_conv=2, upscale=4).state_dict()
    del broken["body.2.bias"]
    save_file(broken, path)
    with pytest.raises(ModelError, match=r"up\.safetensors is no upscaler that can be read"):
        load_enlarger(path)
    save_file(Compact(num_feat=8, num_conv=1, upscale=1).state_dict(), path)
    with pytest.raises(ModelError, match="does not enlarge RGB pictures"):
        load_enlarger(path)
