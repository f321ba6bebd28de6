"""Trained detectors with random weights: the real classes, as painters have their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkpoints import seeded
from safetensors.torch import save_file


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


def _depth_anything(made: Path) -> None:
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
    seeded(lambda: DepthAnythingForDepthEstimation(config)).save_pretrained(made)
    size = {"height": 28, "width": 28}
    DPTImageProcessor(size=size, ensure_multiple_of=14).save_pretrained(made)


def _segmentation(made: Path) -> None:
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
    seeded(lambda: SegformerForSemanticSegmentation(config)).save_pretrained(made)
    SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(made)


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
FOLDERS: dict[str, Callable[[Path], None]] = {
    "depth-anything": _depth_anything,
    "segmentation": _segmentation,
}
PARTS: dict[str, Callable[[], Any]] = {"hand_pose_model": hand, "facenet": face}


def put_detector(folder: Path, name: str) -> Path:
    """Random weights as ``velatura convert`` leaves the published file, or the published folder."""
    if name in FOLDERS:
        FOLDERS[name](folder / name)
        return folder / name
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


def make_zoe_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zoe over the smaller of the transformers that its authors trained, at 64 pixels."""
    from controlnet_aux.zoe.zoedepth.utils import config

    published = config.get_config

    def get_config(*which: str) -> Any:
        made = published(*which)
        made.midas_model_type, made.img_size = "DPT_BEiT_B_384", [64, 64]
        return made

    monkeypatch.setattr(config, "get_config", get_config)
