"""ControlNets on disk, and which kinds of control each one serves.

Diffusers folders and single files, in diffusers' layout and in the original one (Zhang et al. 2023),
and ControlNet-Union, which serves many kinds. Finding them reads config files and headers only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velatura.models.errors import ModelError
from velatura.models.families.single import looks_like
from velatura.models.weights import Header, find_weights, read_header, read_json
from velatura.protocol.messages import CONTROL_KINDS

if TYPE_CHECKING:
    import torch

# A net trained on lines of varied quality follows edges and rough strokes too.
_ALSO = {"line": ("canny", "scribble")}
# What the names of published nets hold -> their kind; the more special first.
_WORDS = (
    ("lineart", "line"),
    ("line_art", "line"),
    ("scribble", "scribble"),
    ("sketch", "scribble"),
    ("softedge", "soft_edge"),
    ("soft_edge", "soft_edge"),
    ("pidi", "soft_edge"),
    ("hed", "soft_edge"),
    ("canny", "canny"),
    ("mlsd", "straight"),
    ("straight", "straight"),
    ("normal", "normal"),
    ("openpose", "pose"),
    ("dwpose", "pose"),
    ("pose", "pose"),
    ("seg", "segmentation"),
    ("tile", "tile"),
    ("inpaint", "inpaint"),
    ("depth", "depth"),
    ("zoe", "depth"),
    ("midas", "depth"),
    ("line", "line"),
)
# Kind -> number of its control type in ControlNet-Union for SDXL; tile and inpaint came later
# (xinsir, ControlNet++ ProMax).
UNION_MODES: Mapping[str, int] = {
    "pose": 0,
    "depth": 1,
    "scribble": 2,
    "soft_edge": 2,
    "canny": 3,
    "line": 3,
    "straight": 3,
    "normal": 4,
    "segmentation": 5,
    "tile": 6,
    "inpaint": 7,
}
_SHORT = 4
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PREFIX = "controlnet-"
_LDM = ("control_model.", "")
_DIFFUSERS_MARK = "controlnet_cond_embedding.conv_in.weight"
_UNION_MARK = "task_embedding"
# What a file holds that was extracted by subtracting a UNet from a net.
_DIFFERENCE = "difference"
_CLASSES = {"T2IAdapter": "a T2I-Adapter", "MultiAdapter": "several T2I-Adapters"}
_TEXT = ".attn2.to_k.weight"


@dataclass(frozen=True)
class Net:
    """One ControlNet. ``kinds`` that it serves, its own first.

    shape  what it must share with a UNet (as in Found): all of it for a folder; the first and the
           last number for a single file
    union  how many control types a ControlNet-Union knows; 0 for an ordinary net
    """

    path: Path
    kinds: tuple[str, ...]
    shape: tuple[int, ...]
    union: int = 0

    def fits(self, shape: tuple[int, ...]) -> bool:
        return self.shape == (shape if self.path.is_dir() else (shape[0], shape[-1]))


def kind_in(name: str) -> str | None:
    """The kind that the name of a published net tells: ``control_v11p_sd15_canny`` -> canny."""
    # As it is written, then with the words of camel case apart: "epsTile", "mistoLine".
    for written in (name, _CAMEL.sub("_", name)):
        plain = re.sub(r"[-. ]", "_", written.lower())
        # Short words also end others ("finished"), so they must begin one.
        starts = f"_{plain}"
        for word, kind in _WORDS:
            if word in plain if len(word) > _SHORT else f"_{word}" in starts:
                return kind
    return None


def nets_beside(model: Path) -> Iterator[tuple[str, Path]]:
    """(kind, folder) of the folders ``controlnet-<kind>`` in a model's own folder."""
    for kind in CONTROL_KINDS:
        if (model / f"{_PREFIX}{kind}").is_dir():
            yield kind, model / f"{_PREFIX}{kind}"


def find_net(path: Path, name: str) -> Net:
    """Tell what the folder or file at ``path`` is.

    Its kind comes from ``name``, or from what its metadata calls it. Raises ModelError
    (``unsupported`` or ``missing_weights``) with the reason when it cannot be used.
    """
    return _in_folder(path, name) if path.is_dir() else _in_file(read_header(path), name)


def serve(nets: Iterable[Net], shape: tuple[int, ...]) -> dict[str, Net]:
    """Kind -> the net that serves it best, in the order of CONTROL_KINDS; preferred nets first.

    Those that were made for a UNet of another ``shape`` are passed over.
    """
    fitting = [net for net in nets if net.fits(shape)]
    served: dict[str, Net] = {}
    for kind in CONTROL_KINDS:
        # A net of the kind itself before one that serves it beside its own, a union last.
        for net in sorted(
            (net for net in fitting if kind in net.kinds),
            key=lambda net: (net.union > 0, net.kinds.index(kind) > 0),
        ):
            served.setdefault(kind, net)
    return served


def load_net(
    net: Net, unet: Mapping[str, Any], device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """A ControlNetModel or ControlNetUnionModel; ``unet`` is the config of a UNet that it fits.

    Raises ModelError (``unsupported``) when its weights are broken or those of something else.
    """
    import torch
    from diffusers import ControlNetModel, ControlNetUnionModel, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from velatura.models.parts import load_part, settle

    made = ControlNetUnionModel if net.union else ControlNetModel
    if net.path.is_dir():
        return load_part(made, net.path, device, dtype)
    with torch.device("meta"):
        like = UNet2DConditionModel.from_config({**_plain(unet), "in_channels": 4})
        model = made.from_unet(like, load_weights_from_unet=False)
    try:
        tensors = load_file(net.path)
        if net.union:
            types, width = tensors[_UNION_MARK].shape
            sizes = {"num_trans_channel": width, "num_proj_channel": width}
            with torch.device("meta"):
                model = made.from_config(
                    {**_plain(model.config), "num_control_type": types, **sizes}
                )
        elif _DIFFUSERS_MARK not in tensors:
            tensors = convert_controlnet_checkpoint(tensors, model.config)
        model.load_state_dict(tensors, assign=True)
    except torch.OutOfMemoryError:
        raise
    except (OSError, KeyError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            "unsupported",
            f"{net.path.name} does not load as a ControlNet for this family: get it again.",
            field="controls",
        ) from error
    return settle(model.to(dtype), device)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` without diffusers' own notes, which also say what it may overlook."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _in_folder(path: Path, name: str) -> Net:
    config = read_json(path / "config.json")
    cls = config.get("_class_name")
    channels, width = config.get("block_out_channels"), config.get("cross_attention_dim")
    if cls is None and len(find_weights(path).files) == 1:
        # A stray config.json beside a file in any layout.
        return _in_file(read_header(find_weights(path).files[0]), name)
    if cls not in ("ControlNetModel", "ControlNetUnionModel") or not isinstance(channels, list):
        raise _no_net(_CLASSES.get(str(cls), f"{cls or 'nothing that is known here'}"[:100]))
    find_weights(path)
    shape = (*channels, width)
    if cls == "ControlNetUnionModel":
        types = int(config.get("num_control_type", 6))
        return Net(path, _union_kinds(types), shape, types)
    return Net(path, _kinds_of(name, str(config.get("_name_or_path", ""))), shape)


def _no_net(looks: str) -> ModelError:
    return ModelError(
        "unsupported", f"it is no ControlNet but looks like {looks}: put it where it belongs."
    )


def _in_file(header: Header, name: str) -> Net:
    if _DIFFERENCE in header.tensors:
        raise ModelError(
            "unsupported",
            "it is saved as a difference to another model's weights, which is not read here: get "
            "the whole ControlNet.",
        )
    if header.has("lora_controlnet") or header.has("lllite_unet"):
        raise ModelError(
            "unsupported",
            "it is a small substitute for a ControlNet (Control-LoRA or LLLite), which is not "
            "read here: get the ControlNet itself.",
        )
    if header.has("adapter.") or header.has("body.0."):
        raise ModelError(
            "unsupported", "it is a T2I-Adapter, which is not read here: get a ControlNet."
        )
    first = next(
        (
            header.shape(f"{start}{conv}")
            for start, conv, mark in _layouts()
            if f"{start}{conv}" in header.tensors and f"{start}{mark}" in header.tensors
        ),
        None,
    )
    width = next(
        (tensor["shape"][1] for key, tensor in header.tensors.items() if key.endswith(_TEXT)), None
    )
    if first is None or width is None:
        raise _no_net(looks_like(header))
    shape = (first[0], width)
    if _UNION_MARK in header.tensors:
        (types, *_) = header.shape(_UNION_MARK) or (0,)
        return Net(header.path, _union_kinds(types), shape, types)
    return Net(header.path, _kinds_of(name, header.metadata.get("modelspec.title", "")), shape)


def _layouts() -> Iterator[tuple[str, str, str]]:
    """(prefix, first convolution, what only a ControlNet has) of each layout of single files."""
    yield "", "conv_in.weight", _DIFFUSERS_MARK
    for start in _LDM:
        yield start, "input_blocks.0.0.weight", "input_hint_block.0.weight"


def _kinds_of(name: str, title: str) -> tuple[str, ...]:
    # The innermost of its folders last: the Hub's files are all called alike.
    *folders, own = name.split("/")
    kind = (
        kind_in(own) or kind_in(title) or next(filter(None, map(kind_in, reversed(folders))), None)
    )
    if kind is None:
        raise ModelError(
            "unsupported",
            "neither its name nor its metadata say what it is for: put the kind into its name, one "
            f"of {', '.join(CONTROL_KINDS)}.",
        )
    return (kind, *_ALSO.get(kind, ()))


def _union_kinds(types: int) -> tuple[str, ...]:
    return tuple(kind for kind, mode in UNION_MODES.items() if mode < types)
