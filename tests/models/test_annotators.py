"""Trained detectors from local weights: the real classes, with random weights, to a map."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import seeded
from safetensors.torch import save_file
from velatura.models import annotators
from velatura.models.annotators import ANNOTATORS, find_annotator, load_annotator, what_to_get
from velatura.models.errors import ModelError
from velatura.models.library import Library
from velatura.protocol.messages import CONTROL_KINDS


def hed() -> Any:
    from controlnet_aux.hed import ControlNetHED_Apache2

    return ControlNetHED_Apache2()


def pidi() -> Any:
    from controlnet_aux.pidi.model import pidinet

    return pidinet()


def lineart() -> Any:
    from controlnet_aux.lineart import Generator

    return Generator(3, 1, 3)


def mlsd() -> Any:
    from controlnet_aux.mlsd.models.mbv2_mlsd_large import MobileV2_MLSD_Large

    return MobileV2_MLSD_Large()


def normals() -> Any:
    from controlnet_aux.normalbae.nets.NNET import NNET

    how = {"mode": "client", "architecture": "BN", "pretrained": "scannet"}
    return NNET(SimpleNamespace(**how, sampling_ratio=0.4, importance_ratio=0.7))


def pose() -> Any:
    from controlnet_aux.open_pose.model import bodypose_model

    return bodypose_model()


def hand() -> Any:
    from controlnet_aux.open_pose.model import handpose_model

    return handpose_model()


def face() -> Any:
    from controlnet_aux.open_pose.face import FaceNet

    return FaceNet()


def midas() -> Any:
    from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel

    return DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)


def zoe() -> Any:
    from controlnet_aux.zoe.zoedepth.models.zoedepth.zoedepth_v1 import ZoeDepth
    from controlnet_aux.zoe.zoedepth.utils.config import get_config

    return ZoeDepth.build_from_config(get_config("zoedepth", "infer"))


@pytest.fixture(autouse=True)
def _a_small_zoe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zoe over the smaller of the transformers that its authors trained, at 64 pixels."""
    from controlnet_aux.zoe.zoedepth.utils import config

    published = config.get_config

    def get_config(*which: str) -> Any:
        made = published(*which)
        made.midas_model_type, made.img_size = "DPT_BEiT_B_384", [64, 64]
        return made

    monkeypatch.setattr(config, "get_config", get_config)


MIDAS, ZOE = "dpt_hybrid-midas-501f0c75", "ZoeD_M12_N"
NETS: dict[str, Callable[[], Any]] = {
    "ControlNetHED": hed,
    "table5_pidinet": pidi,
    "sk_model": lineart,
    "mlsd_large_512_fp32": mlsd,
    "scannet": normals,
    "body_pose_model": pose,
    MIDAS: midas,
    ZOE: zoe,
}
PARTS: dict[str, Callable[[], Any]] = {"hand_pose_model": hand, "facenet": face}


def write(folder: Path, name: str) -> Path:
    """Random weights as ``velatura convert`` leaves the published file."""
    weights = seeded({**NETS, **PARTS}[name]).state_dict()
    if name in ("body_pose_model", "hand_pose_model"):
        # Its publisher's names lack the block that they belong to.
        weights = {key.partition(".")[2]: tensor for key, tensor in weights.items()}
    if name == "table5_pidinet":
        weights = {f"module.{key}": tensor for key, tensor in weights.items()}
    path = folder / f"{name}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous().clone() for key, tensor in weights.items()}, path)
    return path


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
    path = write(tmp_path, name)
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
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
    )

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    folder = tmp_path / "annotators" / "depth-anything"
    seeded(lambda: DepthAnythingForDepthEstimation(config)).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    DPTImageProcessor(size=size, ensure_multiple_of=14).save_pretrained(folder)
    there = Library([tmp_path], starter=tmp_path / "none").annotators()
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
    from transformers import (
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessor,
    )

    config = SegformerConfig(
        num_labels=150,
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=8,
    )
    folder = tmp_path / "annotators" / "segmentation"
    seeded(lambda: SegformerForSemanticSegmentation(config)).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    there = Library([tmp_path], starter=tmp_path / "none").annotators()
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
    write(folder, "table5_pidinet")
    found = find_annotator("soft_edge", library.annotators())
    assert found is not None
    assert found.needs == ("table5_pidinet",)
    # One file more, found without a restart; the models are what they were.
    (folder / "ControlNetHED.safetensors").write_bytes(b"")
    (folder / "body_pose_model.pth").write_bytes(b"")
    found = find_annotator("soft_edge", library.annotators())
    assert found is not None
    assert found.needs == ("ControlNetHED",)
    assert find_annotator("pose", library.annotators()) is None, "a pickle is no weights"
    assert library.models() == ()
    assert find_annotator("canny", library.annotators()) is None


@pytest.mark.parametrize("broken", ["cut", "another"])
def test_broken_weights_are_one_sentence(broken: str, tmp_path: Path) -> None:
    path = write(tmp_path, "table5_pidinet")
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
