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
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from velatura.models.addon import AddOn
from velatura.models.errors import ModelError
from velatura.models.hooks import Hook, hooked
from velatura.models.loras import FIRST_ENCODER, SECOND_ENCODER, UNET, place_of
from velatura.models.weights import check_safetensors

if TYPE_CHECKING:
    from velatura.models.families.base import Loaded

# A layer's change by its name: what is added to its output for an input, and to its weight.
_Roles = Mapping[str, Tensor]


@dataclass(frozen=True)
class Change:
    """What one layer's weight is changed by: ``scale`` times a product of small tensors.

    tensors: by role. A LoRA's ``down`` (rank, in, ...) and ``up`` (out, rank, ...), with ``mid`` for
    convolutions by Tucker's form; LoHa's ``hada_...``, LoKr's ``lokr_...``.
    """

    tensors: _Roles
    scale: float

    def added(self, layer: nn.Module, values: Tensor) -> Tensor:
        """What the change makes of the layer's input ``values``, to be added to its output."""
        if "down" not in self.tensors:
            return self.scale * _run(layer, values, self._product(layer))
        values = values.to(self.tensors["down"].dtype)
        if isinstance(layer, nn.Linear):
            down, up = (self.tensors[role].flatten(1) for role in ("down", "up"))
            return functional.linear(functional.linear(values, down), up) * self.scale
        if "mid" in self.tensors:
            inner = functional.conv2d(values, self.tensors["down"])
            inner = _run(layer, inner, self.tensors["mid"])
        else:
            inner = _run(layer, values, self.tensors["down"])
        return functional.conv2d(inner, self.tensors["up"]) * self.scale

    def weight(self, layer: nn.Module) -> Tensor:
        """The same as a change of the layer's weight, in its shape; float32."""
        return self.scale * self._product(layer, torch.float32)

    def _product(self, layer: nn.Module, dtype: torch.dtype | None = None) -> Tensor:
        t = {role: tensor.to(dtype or tensor.dtype) for role, tensor in self.tensors.items()}
        if "down" in t:
            made = t["up"].flatten(1) @ t["down"].flatten(1)
            if "mid" in t:
                made = torch.einsum("or,rskl,si->oikl", _flat(t["up"]), t["mid"], _flat(t["down"]))
        elif "hada_w1_a" in t:
            made = _factor(t, "hada_t1", "hada_w1") * _factor(t, "hada_t2", "hada_w2")
        else:
            one, two = _whole(t, "lokr_w1", "lokr_t1"), _whole(t, "lokr_w2", "lokr_t2")
            made = torch.kron(one.reshape(*one.shape, *[1] * (two.ndim - one.ndim)), two)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        return made.reshape(weight.shape)


@dataclass(frozen=True)
class Lora:
    """One file's changes: part of the model -> name of the layer's module -> change.

    ``left_out`` of its layers have no place in the model.
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
Worn = tuple[Lora, float, float]


def load_lora(addon: AddOn, loaded: Loaded) -> Lora:
    """Read the file of ``addon`` for the model ``loaded``, on its device and in its dtype.

    Raises ModelError (``unsupported``) when it is broken or none of its layers fits the model.
    """
    return read_lora(addon.path, parts_of(loaded), loaded.device, loaded.dtype)


def read_lora(
    path: Path, parts: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype
) -> Lora:
    """The same of any file, for the ``parts`` of a model by their names."""
    from safetensors import SafetensorError, safe_open

    check_safetensors(path)
    gathered: dict[tuple[str, str], dict[str, Tensor]] = defaultdict(dict)
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {}).get("lora_adapter_metadata") or "{}")
            for name in file.keys():  # noqa: SIM118  it is no mapping
                place = place_of(name)
                if place is not None:
                    gathered[place.part, place.layer][place.role] = file.get_tensor(name)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError("unsupported", "it is broken: get the file again.") from error
    tables = {part: _layers(module, part) for part, module in parts.items()}
    changes: dict[str, dict[str, Change]] = {part: {} for part in tables}
    for (part, layer), roles in gathered.items():
        name = tables.get(part, {}).get(layer)
        if name is None:
            continue
        module = parts[part].get_submodule(name)
        scale = _scale(roles, part, name, said if isinstance(said, dict) else {})
        tensors = {
            role: _shaped(tensor, role, module).to(device, dtype)
            for role, tensor in roles.items()
            if tensor.ndim > 1
        }
        if _fits(change := Change(tensors, scale), module):
            changes[part][name] = change
    count = sum(map(len, changes.values()))
    if not count:
        raise ModelError("unsupported", f"none of its {len(gathered)} layers fits this model.")
    return Lora(changes, len(gathered) - count, len(gathered))


def parts_of(loaded: Loaded) -> dict[str, nn.Module]:
    """The parts of a model that a LoRA can change."""
    parts = {
        UNET: loaded.unet,
        FIRST_ENCODER: loaded.text_encoder,
        SECOND_ENCODER: loaded.text_encoder_2,
    }
    return {name: part for name, part in parts.items() if part is not None}


@contextmanager
def worn(loaded: Loaded, loras: Sequence[Worn]) -> Iterator[None]:
    """While it lasts, the UNet and the text encoders of ``loaded`` act as with ``loras``."""
    hooks: list[tuple[nn.Module, Hook]] = []
    for name, part in parts_of(loaded).items():
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
def merge(unet: nn.Module, loras: Sequence[Worn]) -> None:
    """Add ``loras`` to the weights of a UNet for good."""
    for lora, weight, _ in loras:
        for name, change in lora.changes[UNET].items():
            layer = unet.get_submodule(name)
            assert isinstance(layer.weight, Tensor)
            layer.weight.add_((weight * change.weight(layer)).to(layer.weight.dtype))


def _adding(changes: Sequence[tuple[Change, float]]) -> Callable[..., Tensor]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        for change, factor in changes:
            output = output + change.added(layer, inputs[0]).to(output.dtype) * factor
        return output

    return hook


def _layers(module: nn.Module, part: str) -> dict[str, str]:
    """What files call a layer -> name of the module, for all that a LoRA can change."""
    table: dict[str, str] = {}
    names = [n for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
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
    "conv1": "in_layers.2",
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
    """What multiplies the product of a layer's tensors: alpha over rank."""
    rank = _rank(roles)
    if rank is None:
        return 1.0
    if "alpha" in roles:
        return float(roles["alpha"]) / rank
    # What peft writes beside the tensors.
    patterns = said.get(f"{part}.alpha_pattern")
    alpha = said.get(f"{part}.lora_alpha")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        plain = str(pattern).removeprefix("^").replace("text_model.", "")
        if f".{name.replace('text_model.', '')}".endswith(f".{plain}"):
            alpha = value
    root = bool(said.get(f"{part}.use_rslora"))
    return alpha / (rank**0.5 if root else rank) if isinstance(alpha, int | float) else 1.0


def _shaped(tensor: Tensor, role: str, module: nn.Module) -> Tensor:
    """A convolution of one pixel may have been saved as a matrix."""
    is_matrix = isinstance(module, nn.Conv2d) and role in ("down", "up") and tensor.ndim == 2
    return tensor[..., None, None] if is_matrix else tensor


def _rank(roles: _Roles) -> int | None:
    """The inner size of the product; None where nothing small is multiplied."""
    for role, side in (("down", 0), ("hada_w1_b", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0)):
        if role in roles:
            return roles[role].shape[side]
    return None


def _fits(change: Change, layer: nn.Module) -> bool:
    """Whether the tensors are all there and of shapes that this layer can take."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    try:
        with torch.device("meta"):
            meta = {role: torch.empty_like(t, device="meta") for role, t in change.tensors.items()}
            bare = Change(meta, change.scale)
            made = bare._product(_Shape(weight))
    except (KeyError, RuntimeError, IndexError):
        return False
    return made.shape == weight.shape and (
        "down" not in meta or meta["down"].shape[1] == weight.shape[1]
    )


class _Shape(nn.Module):
    """A layer's weight as a shape alone."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = torch.empty_like(weight, device="meta")


def _run(layer: nn.Module, values: Tensor, weight: Tensor) -> Tensor:
    """What the layer would do with this weight and no bias."""
    values = values.to(weight.dtype)
    if isinstance(layer, nn.Conv2d):
        return functional.conv2d(values, weight, None, layer.stride, layer.padding, layer.dilation)
    return functional.linear(values, weight.flatten(1))


def _flat(tensor: Tensor) -> Tensor:
    return tensor.flatten(1)


def _factor(t: _Roles, core: str, sides: str) -> Tensor:
    """One of LoHa's two factors: a product of two matrices, of three in Tucker's form."""
    one, two = t[f"{sides}_a"], t[f"{sides}_b"]
    if core not in t:
        return one @ two.flatten(1)
    return torch.einsum("rskl,ro,si->oikl", t[core], one, two).flatten(1)


def _whole(t: _Roles, name: str, core: str) -> Tensor:
    """One of LoKr's two factors, whole or as a product itself."""
    if name in t:
        return t[name]
    one, two = t[f"{name}_a"], t[f"{name}_b"]
    if core in t:
        return torch.einsum("rskl,ro,si->oikl", t[core], one, two)
    return one @ two.flatten(1)
