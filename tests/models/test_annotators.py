"""Trained detectors from local weights: the real classes, with random weights, to a map."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import seeded
from detectors import MIDAS, NETS, ZOE, make_zoe_small, put_detector
from safetensors.torch import save_file
from velatura.models import annotators
from velatura.models.annotators import ANNOTATORS, find_annotator, load_annotator, what_to_get
from velatura.models.errors import ModelError
from velatura.models.library import Library
from velatura.protocol.messages import CONTROL_KINDS


@pytest.fixture(autouse=True)
def _a_small_zoe(monkeypatch: pytest.MonkeyPatch) -> None:
    make_zoe_small(monkeypatch)


def picture(height: int = 70, width: int = 100) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in (MIDAS, ZOE))) for name in NETS],
)
def test_a_detector_draws_a_map_of_the_pictures_size_from_converted_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotators, "SIDE", 64)
    path = put_detector(tmp_path, name)
    (one,) = [one for one in ANNOTATORS if one.needs == (name,)]
    draw = load_annotator(one, {name: path}, torch.device("cpu"))
    ran: list[Any] = []
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: ran.append(1))
    try:
        made = draw(picture())
    finally:
        hook.remove()
    assert (made.shape, made.dtype) == ((70, 100, 3), np.uint8)
    assert ran, "its network looked at the picture"
    # Hundreds of megabytes, which would be kept with the test's folder.
    path.unlink()


def test_depth_anything_draws_what_is_near_light(tmp_path: Path) -> None:
    put_detector(tmp_path / "annotators", "depth-anything")
    there = Library([tmp_path], starter=tmp_path / "none").snapshot().annotators
    one = find_annotator("depth", there)
    assert one is not None
    made = load_annotator(one, there, torch.device("cpu"))(picture())
    assert made.shape == (70, 100, 3)
    assert (made[..., 0] == made[..., 1]).all()
    assert made.max() > made.min()


class OnePixel(torch.nn.Module):
    """In the place of a network of hundreds of millions of weights: it sees one pixel at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.look = torch.nn.Conv2d(3, 1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.infer(pixels)[:, 0]

    def infer(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.look(pixels)


@pytest.fixture
def depth_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``depth_of(name, weights)``: that detector's Draw at 64 pixels, with its network replaced."""
    monkeypatch.setattr(annotators, "SIDE", 64)
    package = "controlnet_aux.zoe.zoedepth.models.zoedepth.zoedepth_v1.ZoeDepth"
    monkeypatch.setattr(f"{package}.build_from_config", lambda config: OnePixel())
    net = "controlnet_aux.midas.midas.dpt_depth.DPTDepthModel"
    monkeypatch.setattr(net, lambda **options: OnePixel())

    def load(name: str, weights: dict[str, torch.Tensor]) -> Any:
        path = tmp_path / f"{name}.safetensors"
        save_file(weights, path)
        (one,) = [one for one in ANNOTATORS if one.needs == (name,)]
        return load_annotator(one, {name: path}, torch.device("cpu"))

    return load


@pytest.mark.parametrize("name", [MIDAS, ZOE])
def test_depth_is_what_the_published_detector_makes_of_its_network(
    name: str, depth_of: Callable[..., Any]
) -> None:
    from controlnet_aux.midas import MidasDetector
    from controlnet_aux.zoe import ZoeDetector

    net = seeded(OnePixel)
    detector = (MidasDetector if name == MIDAS else ZoeDetector)(net)
    seen = picture(64, 64)
    theirs = detector(seen, detect_resolution=64, image_resolution=64, output_type="np")
    ours = depth_of(name, net.state_dict())(seen)
    # Theirs are rounded down.
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("name", [MIDAS, ZOE])
def test_where_all_is_equally_near_the_depth_map_is_an_even_grey(
    name: str, depth_of: Callable[..., Any]
) -> None:
    flat = {"look.weight": torch.zeros(1, 3, 1, 1), "look.bias": torch.ones(1)}
    made = depth_of(name, flat)(picture())
    assert made.shape == (70, 100, 3)
    assert set(made.ravel().tolist()) == {128}


@pytest.mark.parametrize("left", [(), ("look.weight",)], ids=["another's", "half of it"])
def test_weights_of_another_network_are_refused_where_names_may_differ(
    left: tuple[str, ...], depth_of: Callable[..., Any]
) -> None:
    learned = OnePixel().state_dict()
    # A name that other versions compute by themselves.
    more = {"relative_position_index": torch.zeros(2)}
    assert depth_of(ZOE, learned | more)(picture()).shape == (70, 100, 3)
    with pytest.raises(ModelError, match=f"{ZOE}.*get it again") as refused:
        depth_of(ZOE, {name: learned[name] for name in left} | more)
    assert refused.value.code == "unsupported"


def test_segments_have_the_published_colours_of_their_classes(tmp_path: Path) -> None:
    from controlnet_aux.util import ade_palette

    put_detector(tmp_path / "annotators", "segmentation")
    there = Library([tmp_path], starter=tmp_path / "none").snapshot().annotators
    one = find_annotator("segmentation", there)
    assert one is not None
    made = load_annotator(one, there, torch.device("cpu"))(picture())
    assert made.shape == (70, 100, 3)
    assert {tuple(map(int, colour)) for colour in made.reshape(-1, 3)} <= set(
        map(tuple, ade_palette())
    )


def test_weights_in_the_annotators_folder_are_found_and_the_best_one_is_taken(
    tmp_path: Path,
) -> None:
    library = Library([tmp_path], starter=tmp_path / "none")
    folder = tmp_path / "annotators"
    put_detector(folder, "table5_pidinet")
    found = find_annotator("soft_edge", library.snapshot().annotators)
    assert found is not None
    assert found.needs == ("table5_pidinet",)
    # One file more, found without a restart; the models are what they were.
    (folder / "ControlNetHED.safetensors").write_bytes(b"")
    (folder / "body_pose_model.pth").write_bytes(b"")
    found = find_annotator("soft_edge", library.snapshot().annotators)
    assert found is not None
    assert found.needs == ("ControlNetHED",)
    assert find_annotator("pose", library.snapshot().annotators) is None, "a pickle is no weights"
    assert library.models() == ()
    assert find_annotator("canny", library.snapshot().annotators) is None


@pytest.mark.parametrize("broken", ["cut", "another"])
def test_broken_weights_are_one_sentence(broken: str, tmp_path: Path) -> None:
    path = put_detector(tmp_path, "table5_pidinet")
    if broken == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        save_file({"a": torch.zeros(3)}, path)
    (one,) = [one for one in ANNOTATORS if one.needs == ("table5_pidinet",)]
    with pytest.raises(ModelError, match="get") as caught:
        load_annotator(one, {"table5_pidinet": path}, torch.device("cpu"))
    assert caught.value.code == "unsupported"


def test_every_kind_with_a_trained_detector_says_what_to_get() -> None:
    for kind in {one.kind for one in ANNOTATORS}:
        assert kind in CONTROL_KINDS
        assert "annotators/ in your models folder" in what_to_get(kind)


def test_listing_imports_no_torch() -> None:
    import subprocess

    code = "import sys, velatura.models.annotators; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
