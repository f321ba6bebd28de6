"""OpenPose (Cao et al. 2019) from safetensors: bodies, and hands and faces where their nets are there."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

BODY, HAND, FACE = "body_pose_model", "hand_pose_model", "facenet"

# A finger's joints begin at the wrist, which is joint 0, and go on with four of their own.
_FINGERS, _BONES = 5, 4
_JOINT_COLOUR = (0, 0, 255)


def load_openpose(
    weights: dict[str, dict[str, torch.Tensor]], device: Any
) -> Callable[..., NDArray[np.uint8]]:
    """What draws the poses of a picture as controlnet-aux's OpenposeDetector does.

    weights  of BODY, and of HAND and FACE where they are there, by these names
    """
    import numpy as np
    from controlnet_aux.open_pose import OpenposeDetector, util
    from controlnet_aux.open_pose.body import Body
    from controlnet_aux.open_pose.face import Face, FaceNet
    from controlnet_aux.open_pose.hand import Hand
    from controlnet_aux.open_pose.model import bodypose_model, handpose_model
    from controlnet_aux.util import resize_image

    def load(name: str, cls: Any, make_net: Callable[[], Any]) -> Any:
        # Their own constructors read pickles.
        made = cls.__new__(cls)
        made.model = make_net()
        own = weights[name] if cls is Face else util.transfer(made.model, weights[name])
        made.model.load_state_dict(own)
        made.model.eval().to(device)
        return made

    body = load(BODY, Body, bodypose_model)
    hand = load(HAND, Hand, handpose_model) if HAND in weights else None
    face = load(FACE, Face, FaceNet) if FACE in weights else None
    detector = OpenposeDetector(body, hand, face)

    def draw(picture: NDArray[np.uint8], detect_resolution: int, **_: Any) -> NDArray[np.uint8]:
        seen = resize_image(picture, detect_resolution)
        canvas = np.zeros_like(seen)
        for pose in detector.detect_poses(seen, hand is not None, face is not None):
            canvas = util.draw_bodypose(canvas, pose.body.keypoints)
            draw_hand(canvas, pose.left_hand)
            draw_hand(canvas, pose.right_hand)
            canvas = util.draw_facepose(canvas, pose.face)
        return canvas

    return draw


def draw_hand(canvas: NDArray[np.uint8], points: Sequence[Any] | None) -> None:
    """As controlnet-aux draws it, which needs matplotlib for its colours.

    points  21, in 0..1 of the canvas; what was not found lies at or beyond its edge
    """
    import cv2

    height, width = canvas.shape[:2]
    places = [(int(point.x * width), int(point.y * height)) for point in points or ()]
    if not places:
        return
    for bone in range(_FINGERS * _BONES):
        start, end = places[bone if bone % _BONES else 0], places[bone + 1]
        if min(*start, *end) > 0:
            hue = colorsys.hsv_to_rgb(bone / (_FINGERS * _BONES), 1, 1)
            cv2.line(canvas, start, end, [255 * part for part in hue], thickness=2)
    for place in places:
        if min(place) > 0:
            cv2.circle(canvas, place, 4, _JOINT_COLOUR, thickness=-1)
