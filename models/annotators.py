"""Trained detectors that draw control maps: controlnet-aux's and transformers', from local weights.

The weights lie in a folder ``annotators`` of a models folder, under their published names: what
``velatura convert`` makes of ``ControlNetHED.pth`` is ``ControlNetHED.safetensors``. Nothing is
downloaded. Listing imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from velatura.models.errors import ModelError
from velatura.models.openpose import BODY, FACE, HAND, load_openpose
from velatura.models.weights import check_safetensors

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

FOLDER = "annotators"
# The shorter side (pixels) at which the public annotators look at a picture.
SIDE = 512
_HUB = "lllyasviel/Annotators"

# A picture (H, W, 3) uint8 -> its map (H, W, 3) uint8.
Draw = Callable[["NDArray[np.uint8]"], "NDArray[np.uint8]"]


@dataclass(frozen=True)
class Annotator:
    """One trained detector.

    needs    names of its files without ``.safetensors``, or of the one folder that it is
    source   where a painter gets them
    load     (what ``paths`` gives, device) -> Draw; imports torch
    also     names of more files, each used where it is there
    """

    kind: str
    needs: tuple[str, ...]
    source: str
    load: Callable[[Sequence[Path], Any], Draw]
    also: tuple[str, ...] = ()

    def paths(self, there: Mapping[str, Path]) -> list[Path]:
        """Of its files that are ``there`` (name -> path), among them all that it needs."""
        return [there[name] for name in (*self.needs, *self.also) if name in there]


def find_annotator(kind: str, there: Mapping[str, Path]) -> Annotator | None:
    """The best one for ``kind`` whose files are ``there`` (name -> path); None without any."""
    for one in ANNOTATORS:
        if one.kind == kind and all(name in there for name in one.needs):
            return one
    return None


def load_annotator(one: Annotator, there: Mapping[str, Path], device: Any) -> Draw:
    """Raises ModelError (``unsupported``) when its files are broken or those of something else."""
    from safetensors import SafetensorError

    paths = one.paths(there)
    for path in paths:
        if path.is_file():
            check_safetensors(path)
    try:
        return one.load(paths, device)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        if "out of memory" in str(error).lower():
            raise
        raise ModelError(
            "unsupported",
            f"{FOLDER}/{' or '.join(path.name for path in paths)} does not load as the detector "
            f"for {one.kind}: get it again.",
            field="controls",
        ) from error


def what_to_get(kind: str) -> str:
    """Half a sentence that says which weights make maps of ``kind`` and where they belong."""
    one = next(one for one in ANNOTATORS if one.kind == kind)
    return f"put {one.source} into {FOLDER}/ in your models folder"


# --- controlnet-aux -------------------------------------------------------------------------------


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """Names as the detectors have them: what trained them in parallel put a word before each."""
    from safetensors.torch import load_file

    return {name.removeprefix("module."): tensor for name, tensor in load_file(path).items()}


def _drawn_by(detect: Callable[..., Any], **more: Any) -> Draw:
    """A controlnet-aux detector, asked for a map of the picture's own size."""
    import cv2
    import numpy as np

    def draw(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = picture.shape[:2]
        drawn = np.asarray(
            detect(picture, detect_resolution=SIDE, image_resolution=SIDE, output_type="np", **more)
        )
        smaller = height * width < drawn.shape[0] * drawn.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return cv2.resize(drawn, (width, height), interpolation=how)

    return draw


def _depth_drawn_by(
    estimate: Callable[[torch.Tensor], torch.Tensor], device: Any, among: tuple[int, int] = (0, 100)
) -> Draw:
    """``estimate``: a picture (1, 3, h, w) in 0..1 -> nearness (h, w); ``among`` as in _near_is_light."""
    import torch
    from controlnet_aux.util import resize_image

    @torch.no_grad()
    def draw(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = torch.from_numpy(resize_image(picture, SIDE)).to(device)
        near = estimate(pixels.permute(2, 0, 1)[None].float() / 255)
        return _near_is_light(near.float().cpu().numpy(), picture.shape[:2], among)

    return draw


def _near_is_light(
    near: NDArray[np.float32], size: Sequence[int], among: tuple[int, int] = (0, 100)
) -> NDArray[np.uint8]:
    """A depth map (H, W, 3) of ``size`` (H, W) from nearness in any unit.

    ``among``: the percentiles of it that become black and white. Where all is equally near, nothing
    tells how near: it is the grey between.
    """
    import cv2
    import numpy as np

    low, high = (float(level) for level in np.percentile(near, among))
    light = (near - low) / (high - low) if high > low else np.full_like(near, 128 / 255)
    light = light.clip(0, 1)
    height, width = size
    how = cv2.INTER_AREA if height * width < near.size else cv2.INTER_CUBIC
    light = cv2.resize(light, (width, height), interpolation=how).clip(0, 1)
    return np.repeat(np.rint(light * 255).astype(np.uint8)[..., None], 3, axis=2)


def _hed(paths: Sequence[Path], device: Any) -> Draw:
    from controlnet_aux.hed import ControlNetHED_Apache2, HEDdetector

    net = ControlNetHED_Apache2()
    net.load_state_dict(_weights(paths[0]))
    return _drawn_by(HEDdetector(net.float().eval()).to(device))


def _pidinet(paths: Sequence[Path], device: Any) -> Draw:
    from controlnet_aux.pidi import PidiNetDetector
    from controlnet_aux.pidi.model import pidinet

    net = pidinet()
    net.load_state_dict(_weights(paths[0]))
    return _drawn_by(PidiNetDetector(net.eval()).to(device))


def _lineart(paths: Sequence[Path], device: Any) -> Draw:
    from controlnet_aux.lineart import Generator, LineartDetector

    net = Generator(3, 1, 3)
    net.load_state_dict(_weights(paths[0]))
    # Its coarse net is for scribbles, which other nets follow better.
    return _drawn_by(LineartDetector(net.eval(), net).to(device))


def _mlsd(paths: Sequence[Path], device: Any) -> Draw:
    from controlnet_aux.mlsd import MLSDdetector
    from controlnet_aux.mlsd.models.mbv2_mlsd_large import MobileV2_MLSD_Large

    net = MobileV2_MLSD_Large()
    net.load_state_dict(_weights(paths[0]))
    return _drawn_by(MLSDdetector(net.eval()).to(device))


def _normalbae(paths: Sequence[Path], device: Any) -> Draw:
    from controlnet_aux.normalbae import NormalBaeDetector
    from controlnet_aux.normalbae.nets.NNET import NNET

    options = {"mode": "client", "architecture": "BN", "pretrained": "scannet"}
    net = NNET(SimpleNamespace(**options, sampling_ratio=0.4, importance_ratio=0.7))
    net.load_state_dict(_weights(paths[0]))
    return _drawn_by(NormalBaeDetector(net.eval()).to(device))


def _openpose(paths: Sequence[Path], device: Any) -> Draw:
    return _drawn_by(load_openpose({path.stem: _weights(path) for path in paths}, device))


def _midas(paths: Sequence[Path], device: Any) -> Draw:
    from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel

    net = DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    net.load_state_dict(_weights(paths[0]))
    net = net.eval().to(device)
    # What it tells is how near each pixel is, of a picture in -1..1.
    return _depth_drawn_by(lambda pixels: net(2 * pixels - 1)[0], device)


def _zoe(paths: Sequence[Path], device: Any) -> Draw:
    from controlnet_aux.zoe.zoedepth.models.zoedepth.zoedepth_v1 import ZoeDepth
    from controlnet_aux.zoe.zoedepth.utils.config import get_config

    net = ZoeDepth.build_from_config(get_config("zoedepth", "infer"))
    weights = _weights(paths[0])
    # Buffers that newer versions of timm compute by themselves may be missing from either side;
    # what is learned must be there.
    net.load_state_dict(weights, strict=False)
    if any(name not in weights for name, _ in net.named_parameters()):
        raise ValueError("weights of another network")
    net = net.eval().to(device)
    # What it tells is metres, and the farthest of a room or a landscape are not worth the range.
    return _depth_drawn_by(lambda pixels: -net.infer(pixels)[0, 0], device, among=(15, 98))


# --- transformers ---------------------------------------------------------------------------------


def _depth_anything(paths: Sequence[Path], device: Any) -> Draw:
    import torch
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation
    from velatura.models.parts import load_part

    net = load_part(AutoModelForDepthEstimation, paths[0], device, torch.float32)
    processor = AutoImageProcessor.from_pretrained(paths[0], local_files_only=True)

    @torch.no_grad()
    def draw(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = processor(images=picture, return_tensors="pt").pixel_values.to(device)
        near = net(pixels).predicted_depth[0].float().cpu().numpy()
        return _near_is_light(near, picture.shape[:2])

    return draw


def _segmentation(paths: Sequence[Path], device: Any) -> Draw:
    import numpy as np
    import torch
    from controlnet_aux.util import ade_palette
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
    from velatura.models.parts import load_part

    net = load_part(AutoModelForSemanticSegmentation, paths[0], device, torch.float32)
    processor = AutoImageProcessor.from_pretrained(paths[0], local_files_only=True)
    palette = np.array(ade_palette(), np.uint8)
    if net.config.num_labels > len(palette):
        raise ValueError("more classes than ADE20K has")

    @torch.no_grad()
    def draw(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        given = processor(images=picture, return_tensors="pt").to(device)
        (labels,) = processor.post_process_semantic_segmentation(
            net(**given), target_sizes=[picture.shape[:2]]
        )
        return palette[labels.cpu().numpy()]

    return draw


def _file(name: str, suffix: str = "pth", repository: str = _HUB) -> str:
    """Where a pickled detector comes from and what becomes of it."""
    return (
        f"{name}.safetensors (what `velatura convert` makes of {name}.{suffix} from {repository})"
    )


_DEPTH_ANYTHING, _SEGMENTER = "depth-anything", "segmentation"
# The first whose weights are there is used.
ANNOTATORS: tuple[Annotator, ...] = (
    Annotator("soft_edge", ("ControlNetHED",), _file("ControlNetHED"), _hed),
    Annotator("soft_edge", ("table5_pidinet",), _file("table5_pidinet"), _pidinet),
    Annotator("line", ("sk_model",), _file("sk_model"), _lineart),
    Annotator("straight", ("mlsd_large_512_fp32",), _file("mlsd_large_512_fp32"), _mlsd),
    Annotator("normal", ("scannet",), _file("scannet", "pt"), _normalbae),
    Annotator("pose", (BODY,), _file(BODY), _openpose, also=(HAND, FACE)),
    Annotator(
        "depth",
        (_DEPTH_ANYTHING,),
        f"a Depth Anything folder (depth-anything/Depth-Anything-V2-Small-hf) as {_DEPTH_ANYTHING}/",
        _depth_anything,
    ),
    Annotator("depth", ("ZoeD_M12_N",), _file("ZoeD_M12_N", "pt"), _zoe),
    Annotator(
        "depth",
        ("dpt_hybrid-midas-501f0c75",),
        _file("dpt_hybrid-midas-501f0c75", "pt", "lllyasviel/ControlNet"),
        _midas,
    ),
    Annotator(
        "segmentation",
        (_SEGMENTER,),
        "a folder of a transformers model that was trained on ADE20K "
        f"(openmmlab/upernet-convnext-small) as {_SEGMENTER}/",
        _segmentation,
    ),
)
