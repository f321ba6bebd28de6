"""Poses by OpenPose's nets: bodies, and hands and faces where their weights are there."""

from __future__ import annotations

import colorsys
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectors import PARTS, put_detector
from safetensors.torch import save_file
from test_annotators import picture
from velatura.models import annotators, openpose
from velatura.models.annotators import ANNOTATORS, load_annotator
from velatura.models.errors import ModelError


class Peaks(torch.nn.Module):
    """In the place of a network that draws one heat map for each joint, an eighth as wide."""

    def __init__(self, joints: int) -> None:
        super().__init__()
        self.look = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Conv2d(3, joints, 1))
        torch.nn.init.ones_(self.look[1].bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.look(pixels)


class FacePeaks(Peaks):
    """As the network for faces, which gives the maps of all its stages."""

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return [self.look(pixels)]


def test_hands_and_faces_are_drawn_where_their_weights_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector's own classes; their networks are small, and where a person is, is known."""
    from controlnet_aux.open_pose.body import Body

    models = "controlnet_aux.open_pose.model"
    monkeypatch.setattr(annotators, "SIDE", 256)
    monkeypatch.setattr(f"{models}.bodypose_model", lambda: Peaks(1))
    monkeypatch.setattr(f"{models}.handpose_model", lambda: Peaks(22))
    monkeypatch.setattr("controlnet_aux.open_pose.face.FaceNet", lambda: FacePeaks(71))
    # Nose, right shoulder, elbow and wrist, left eye; (x, y), its score and its number.
    joints = {0: (60, 60), 2: (120, 60), 3: (120, 120), 4: (120, 180), 14: (74, 60)}
    found = np.array([(*place, 1.0, number) for number, place in enumerate(joints.values())])
    person = -np.ones((1, 20))
    person[0, list(joints)] = range(len(joints))
    monkeypatch.setattr(Body, "__call__", lambda self, picture: (found, person))
    (one,) = [one for one in ANNOTATORS if one.kind == "pose"]

    def drawn(*names: str) -> np.ndarray:
        nets = {"body_pose_model": Peaks(1), "hand_pose_model": Peaks(22), "facenet": FacePeaks(71)}
        there = {name: tmp_path / f"{name}.safetensors" for name in ("body_pose_model", *names)}
        for name, path in there.items():
            torch.manual_seed(3)
            weights = nets[name].state_dict()
            if name != "facenet":
                weights = {key.partition(".")[2]: tensor for key, tensor in weights.items()}
            save_file(weights, path)
        return load_annotator(one, there, torch.device("cpu"))(picture(256, 256))

    body = drawn()
    assert body.any()
    for name, box in {
        "hand_pose_model": (75, 155, 165, 245),
        "facenet": (18, 18, 102, 102),
    }.items():
        where = np.argwhere((drawn(name) != body).any(-1))[:, ::-1]
        dot = 4
        assert (where.min(0) + dot >= box[:2]).all(), name
        assert (where.max(0) - dot <= box[2:]).all(), name
    assert (drawn("hand_pose_model", "facenet") != drawn("facenet")).any()


def test_a_hand_is_drawn_as_the_published_detector_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from controlnet_aux.open_pose import util
    from controlnet_aux.open_pose.body import Keypoint

    def hsv_to_rgb(hsv: list[float]) -> np.ndarray:
        return np.array(colorsys.hsv_to_rgb(*hsv))

    # Of all of matplotlib the published one uses this.
    colours = SimpleNamespace(colors=SimpleNamespace(hsv_to_rgb=hsv_to_rgb))
    monkeypatch.setitem(sys.modules, "matplotlib", colours)
    places = np.random.default_rng(0).uniform(0.1, 0.9, (21, 2))
    # One joint was not found.
    places[7] = -0.01
    points = [Keypoint(*place) for place in places]
    ours = np.zeros((128, 160, 3), np.uint8)
    openpose.draw_hand(ours, points)
    assert (ours == util.draw_handpose(np.zeros_like(ours), points)).all()


def test_the_published_nets_for_hands_and_faces_load_or_are_one_sentence(tmp_path: Path) -> None:
    there = {name: put_detector(tmp_path, name) for name in ("body_pose_model", *PARTS)}
    (one,) = [one for one in ANNOTATORS if one.kind == "pose"]
    load_annotator(one, there, torch.device("cpu"))
    shutil.copy(there["hand_pose_model"], there["facenet"])
    with pytest.raises(ModelError, match=r"or facenet.*does not load .* pose: get it"):
        load_annotator(one, there, torch.device("cpu"))
    for path in there.values():
        path.unlink()
