"""The weights of a LoRA in memory, and how they act on a model's layers.

They act beside the layers, by hooks that are there only while they are wanted: the model itself is
never changed, so nothing of them can stay behind.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from velatura.models.addon import AddOn
from velatura.models.embeddings import BUNDLED
from velatura.models.errors import ModelError
from velatura.models.hooks import Hook, hooked
from velatura.models.lora_changes import CHANGEABLE, Change, make_turn
from velatura.models.loras import UNET, place_of
from velatura.models.weights import check_safetensors

if TYPE_CHECKING:
    from velatura.models.families.base import Loaded

# Roles that are numbers, not tensors of the layer.
_NUMBERS = ("alpha", "scalar")
_Roles = Mapping[str, Tensor]


@dataclass(frozen=True)
class Lora:
    """One file's changes: part of the model -> name of the layer's module -> change.

    left_out  how many of its layers have no place in the model, or changes of a kind not known here
    layers    how many it has
    """

    changes: Mapping[str, Mapping[str, Change]]
    left_out: int
    layers: int

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        changes = (change for part in self.changes.values() for change in part.values())
        return sum(tensor.nbytes for one in changes for tensor in one.tensors.values())


# A LoRA with its weights in the UNet and in the text encoders.
WeightedLora = tuple[Lora, float, float]


def load_lora(addon: AddOn, loaded: Loaded) -> Lora:
    """Read the file of ``addon`` for the model ``loaded``, on its device and in its dtype.

    Raises ModelError (``unsupported``) when it is broken or none of its layers fits the model.
    """
    return read_lora(addon.path, loaded.lora_parts, loaded.device, loaded.dtype)


def read_lora(
    path: Path, parts: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype
) -> Lora:
    """The same of any file, for the ``parts`` of a model by their names."""
    from safetensors import SafetensorError, safe_open

    check_safetensors(path)
    gathered: dict[tuple[str, str], dict[str, Tensor]] = defaultdict(dict)
    unknown: set[str] = set()
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {}).get("lora_adapter_metadata") or "{}")
            for name in file.keys():  # noqa: SIM118  it is no mapping
                place = place_of(name)
                if place is not None:
                    gathered[place.part, place.layer][place.role] = file.get_tensor(name)
                elif not name.startswith(BUNDLED):
                    unknown.add(name.removesuffix(".weight").rpartition(".")[0])
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError("unsupported", "it is broken: get the file again.") from error
    tables = {part: _layers(module, part) for part, module in parts.items()}
    changes: dict[str, dict[str, Change]] = {part: {} for part in tables}
    for (part, layer), roles in gathered.items():
        name = tables.get(part, {}).get(layer)
        if name is None:
            continue
        module = parts[part].get_submodule(name)
        try:
            scale = _scale(roles, part, name, said if isinstance(said, dict) else {})
            tensors = _prepared(roles, module)
        except (RuntimeError, ValueError, LookupError):  # a shape or a number that cannot be
            continue
        change = Change({role: t.to(device, dtype) for role, t in tensors.items()}, scale)
        if change.fits(module):
            changes[part][name] = change
    count, layers = sum(map(len, changes.values())), len(gathered) + len(unknown)
    if not count:
        raise ModelError("unsupported", f"none of its {layers} layers fits this model.")
    return Lora(changes, layers - count, layers)


@contextmanager
def lora_applied(loaded: Loaded, loras: Sequence[WeightedLora]) -> Iterator[None]:
    """Let the UNet and the text encoders of ``loaded`` act as with ``loras`` while it lasts."""
    hooks: list[tuple[nn.Module, Hook]] = []
    for name, part in loaded.lora_parts.items():
        together: dict[str, list[tuple[Change, float]]] = defaultdict(list)
        for lora, weight, text_weight in loras:
            factor = weight if name == UNET else text_weight
            if factor:
                for layer, change in lora.changes[name].items():
                    together[layer].append((change, factor))
        for layer, changes in together.items():
            hooks.append((part.get_submodule(layer), _adding(changes)))
    with hooked(hooks):
        yield


@torch.no_grad()
def merge(unet: nn.Module, loras: Sequence[WeightedLora]) -> None:
    """Add ``loras`` to the weights and biases of a UNet for good."""
    # All of them are changes of what the UNet was.
    made: dict[str, Any] = {}
    biases: dict[str, Any] = {}
    for lora, weight, _ in loras:
        for name, change in lora.changes[UNET].items():
            layer = unet.get_submodule(name)
            made[name] = made.get(name, 0) + weight * change.weight(layer)
            bias = change.bias()
            if bias is not None:
                biases[name] = biases.get(name, 0) + weight * bias
    for name, delta in made.items():
        layer = unet.get_submodule(name)
        layer.weight.add_(delta.to(layer.weight.dtype))
        if name in biases:
            bias = biases[name].to(layer.weight)
            layer.bias = nn.Parameter(bias if layer.bias is None else layer.bias + bias, False)


def _adding(changes: Sequence[tuple[Change, float]]) -> Callable[..., Tensor]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        for change, factor in changes:
            output = output + change.added(layer, inputs[0]).to(output.dtype) * factor
        return output

    return hook


def _layers(module: nn.Module, part: str) -> dict[str, str]:
    """What files call a layer -> name of the module, for all that a LoRA can change."""
    table: dict[str, str] = {}
    names = [n for n, m in module.named_modules() if isinstance(m, CHANGEABLE)]
    for name in names:
        table[name.removeprefix("text_model.").replace(".", "_")] = name
    if part == UNET:
        # How many layers a block has, and which blocks attend, their names tell.
        layers = 1 + max(
            (int(n.split(".")[3]) for n in names if n.startswith("down_blocks.0.resnets.")),
            default=0,
        )
        attends = {n.split(".")[1] for n in names if n.startswith("up_blocks.") and ".attent" in n}
        for name in names:
            table.setdefault(_original(name, layers, attends).replace(".", "_"), name)
    return table


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ORIGINAL = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def _original(name: str, layers: int, attends: set[str]) -> str:
    """A UNet's layer by its name in the original code (Rombach et al. 2022).

    ``layers`` in each block; ``attends``: numbers of the up blocks with attention.

    >>> _original("down_blocks.1.attentions.0.proj_in", 2, set())
    'input_blocks.4.1.proj_in'
    >>> _original("up_blocks.0.upsamplers.0.conv", 2, {"0"})
    'output_blocks.2.2.conv'
    >>> _original("mid_block.resnets.1.conv2", 2, set())
    'middle_block.2.out_layers.3'
    """
    if name in _ORIGINAL:
        return _ORIGINAL[name]
    side, *rest = name.split(".")
    if side == "mid_block":
        kind, number, *inner = rest
        block, at = "middle_block", 1 if kind == "attentions" else 2 * int(number)
        return ".".join((block, str(at), *_inner(kind, inner)))
    if side not in ("down_blocks", "up_blocks"):
        # What the original code does not have, such as where LCM's UNet is told the guidance scale.
        return name
    level, kind, number, *inner = rest
    down = side == "down_blocks"
    index = (layers + 1) * int(level) + int(number) + down
    place = {"resnets": 0, "attentions": 1}.get(kind)
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (int(level) + 1)}.0.op"
    if kind == "upsamplers":
        index, place = (layers + 1) * (int(level) + 1) - 1, 2 if level in attends else 1
    block = "input_blocks" if down else "output_blocks"
    return ".".join((block, str(index), str(place), *_inner(kind, inner)))


def _inner(kind: str, inner: Sequence[str]) -> Sequence[str]:
    return (_RESNET.get(inner[0], inner[0]), *inner[1:]) if kind == "resnets" else inner


def _scale(roles: _Roles, part: str, name: str, said: Mapping[str, object]) -> float:
    """What multiplies the product of a layer's tensors: alpha over rank, and LyCORIS' scalar."""
    rank = _rank(roles)
    if rank is None:
        return 1.0
    if "alpha" in roles:
        return float(roles["alpha"]) / rank * float(roles.get("scalar", 1.0))
    # What peft writes beside the tensors.
    patterns = said.get(f"{part}.alpha_pattern")
    alpha = said.get(f"{part}.lora_alpha")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        plain = str(pattern).removeprefix("^").replace("text_model.", "")
        if f".{name.replace('text_model.', '')}".endswith(f".{plain}"):
            alpha = value
    root = bool(said.get(f"{part}.use_rslora"))
    return alpha / (rank**0.5 if root else rank) if isinstance(alpha, int | float) else 1.0


def _prepared(roles: _Roles, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of one layer by the roles of a Change."""
    made = {role: _shaped(t, role, module) for role, t in roles.items() if role not in _NUMBERS}
    if "weight" in made:
        made["ia3"] = made.pop("weight")
        # Without it this is no IA3, and KeyError says so.
        if not bool(roles["on_input"]):
            made.pop("on_input")
    if "oft_blocks" in made:
        blocks = made.pop("oft_blocks")
        if blocks.ndim != 3:
            raise ValueError(blocks.shape)
        # kohya and LyCORIS save the limit of the norm for one output.
        limit = float(roles.get("alpha", 0.0)) * len(module.weight)
        made["turn"] = make_turn(blocks, limit)
    if "magnitude_vector" in made:
        made["magnitude"] = made.pop("magnitude_vector").flatten()
    if "dora_scale" in made:
        made["magnitude"] = made.pop("dora_scale")
    return made


def _shaped(tensor: Tensor, role: str, module: nn.Module) -> Tensor:
    """A convolution of one pixel may have been saved as a matrix."""
    is_matrix = isinstance(module, nn.Conv2d) and role in ("down", "up") and tensor.ndim == 2
    return tensor[..., None, None] if is_matrix else tensor


def _rank(roles: _Roles) -> int | None:
    """The inner size of the product; None where nothing small is multiplied."""
    for role, side in (("down", 0), ("hada_w1_b", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0)):
        if role in roles:
            return roles[role].shape[side]
    if "b1" in roles:
        return min(roles["b1"].shape[:2])
    return None
