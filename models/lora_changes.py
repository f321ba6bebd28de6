"""The arithmetic of a LoRA and its relatives: what one layer's weight W is changed by.

====================  ========================================================================
LoRA, LoCon           scale * up @ down (Hu et al. 2021); with ``mid`` in Tucker's form
LoHa, LoKr            products of two pairs by Hadamard (Hyeon-Woo et al. 2021) and Kronecker
                      (Yeh et al. 2023)
GLoRA                 b2 @ b1 + W @ a2 @ a1, or both factors the other way round (Chavan et al. 2023)
OFT                   R @ W with orthogonal blocks R of a Cayley transform (Qiu et al. 2023)
IA3                   W times a vector (Liu et al. 2022)
full, norms           a difference of weights and biases
DoRA                  any of these and then W in its new direction with a magnitude of its own
                      (Liu et al. 2024)
====================  ========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Layers whose weights a change may be for.
CHANGEABLE = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)
# The roles of a LoRA, which acts without the product of its matrices.
_PLAIN = {"down", "up", "mid", "up_bias", "diff_b"}
_TINY = 1e-8
_Roles = Mapping[str, Tensor]


@dataclass(frozen=True)
class Change:
    """What one layer's weight and bias are changed by.

    tensors  by role: a LoRA's ``down`` (rank, in, ...) and ``up`` (out, rank, ...), with ``mid`` for
             convolutions in Tucker's form; LoHa's ``hada_...``, LoKr's ``lokr_...``, GLoRA's
             ``a1 a2 b1 b2``, OFT's ``turn`` (blocks, size, size) and ``rescale``, IA3's ``ia3`` with
             ``on_input``, ``diff`` and ``diff_b``, ``w_norm`` and ``b_norm``, DoRA's ``magnitude``
    scale    multiplies a product of small tensors
    """

    tensors: _Roles
    scale: float

    def added(self, layer: nn.Module, values: Tensor) -> Tensor:
        """Return what the change adds to the layer's output for its input ``values``."""
        if "down" in self.tensors and self.tensors.keys() <= _PLAIN:
            made = self._through_both(layer, values)
        else:
            made = _run(layer, values, self._delta(layer))
        bias = self._bias()
        if bias is None:
            return made
        if isinstance(layer, nn.Conv2d | nn.GroupNorm):
            bias = bias.reshape(-1, *[1] * (made.ndim - 2))
        return made + bias

    def weight(self, layer: nn.Module) -> Tensor:
        """Return the same as a change of the layer's weight, in its shape; float32."""
        return self._delta(layer, torch.float32)

    def bias(self) -> Tensor | None:
        """Return the change of the layer's bias (out,), float32; None where there is none."""
        bias = self._bias()
        return None if bias is None else bias.float()

    def fits(self, layer: nn.Module) -> bool:
        """Whether the tensors are all there and of shapes that this layer can take."""
        bare = Change({k: t.to("meta") for k, t in self.tensors.items()}, self.scale)
        shape = _Shape(layer)
        try:
            made, bias = bare._delta(shape), bare._bias()
        except (KeyError, RuntimeError, IndexError):
            return False
        down = bare.tensors.get("down")
        return (
            made.shape == shape.weight.shape
            and (bias is None or bias.shape == shape.weight.shape[:1])
            and (down is None or down.shape[1] == shape.weight.shape[1])
        )

    def _through_both(self, layer: nn.Module, values: Tensor) -> Tensor:
        """``up`` of ``down`` of the values, without the product of both."""
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

    def _delta(self, layer: nn.Module, dtype: torch.dtype | None = None) -> Tensor:
        t = {role: tensor.to(dtype or tensor.dtype) for role, tensor in self.tensors.items()}
        weight = layer.weight
        assert isinstance(weight, Tensor)
        like = next(iter(t.values()))
        base = weight.detach().to(like.dtype)
        made = self._plain_delta(t, base)
        if "magnitude" not in t:
            return made
        whole = base + made
        return whole * _ratio(t["magnitude"], whole) - base

    def _plain_delta(self, t: _Roles, weight: Tensor) -> Tensor:
        """The sum of all forms that the tensors are of. Raises KeyError where one is not whole."""
        made = []
        if "down" in t or "up" in t:
            up, down = t["up"].flatten(1), t["down"].flatten(1)
            if "mid" in t:
                made.append(self.scale * torch.einsum("or,rskl,si->oikl", up, t["mid"], down))
            else:
                made.append(self.scale * (up @ down))
        if any(role.startswith("hada_") for role in t):
            one, two = _factor(t, "hada_t1", "hada_w1"), _factor(t, "hada_t2", "hada_w2")
            made.append(self.scale * one * two)
        if any(role.startswith("lokr_") for role in t):
            one, two = _whole(t, "lokr_w1", "lokr_t1"), _whole(t, "lokr_w2", "lokr_t2")
            one = one.reshape(*one.shape, *[1] * (two.ndim - one.ndim))
            made.append(self.scale * torch.kron(one, two))
        if "b1" in t or "a1" in t:
            made.append(self.scale * _glora(t, weight))
        if "turn" in t:
            made.append(_turned(t, weight))
        if "ia3" in t:
            over = _over_inputs if "on_input" in t else _over_outputs
            made.append(weight * over(t["ia3"].flatten(), weight))
        made += [t[role] for role in ("diff", "w_norm") if role in t]
        if not made and self._bias() is None:
            raise KeyError("weight")
        return sum((one.reshape(weight.shape) for one in made), torch.zeros_like(weight))

    def _bias(self) -> Tensor | None:
        t = self.tensors
        if "up_bias" in t:
            return self.scale * t["up_bias"].flatten()
        bias = t.get("diff_b", t.get("b_norm"))
        return None if bias is None else bias.flatten()


def make_turn(blocks: Tensor, constraint: float) -> Tensor:
    """Return R - I of OFT's blocks (blocks, size, size), float32, for their skew-symmetric part.

    ``constraint``: the most that its norm may be; 0 for no limit.
    """
    skew = blocks.float() - blocks.float().transpose(-1, -2)
    if constraint > 0:
        norm = skew.norm() + _TINY
        skew = skew * (norm.clamp(max=constraint) / norm)
    eye = torch.eye(skew.shape[-1])
    return (eye + skew) @ torch.linalg.inv(eye - skew) - eye


class _Shape(nn.Module):
    """A layer's weight as a shape alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer.weight, Tensor)
        self.weight = torch.empty_like(layer.weight, device="meta")


def _run(layer: nn.Module, values: Tensor, weight: Tensor) -> Tensor:
    """Run the layer with this weight and no bias."""
    values = values.to(weight.dtype)
    if isinstance(layer, nn.Conv2d):
        return functional.conv2d(values, weight, None, layer.stride, layer.padding, layer.dilation)
    if isinstance(layer, nn.GroupNorm):
        return functional.group_norm(values, layer.num_groups, weight, None, layer.eps)
    if isinstance(layer, nn.LayerNorm):
        return functional.layer_norm(values, layer.normalized_shape, weight, None, layer.eps)
    return functional.linear(values, weight.flatten(1))


def _over_outputs(vector: Tensor, weight: Tensor) -> Tensor:
    return vector.reshape(-1, *[1] * (weight.ndim - 1))


def _over_inputs(vector: Tensor, weight: Tensor) -> Tensor:
    return vector.reshape(1, -1, *[1] * (weight.ndim - 2))


def _ratio(magnitude: Tensor, whole: Tensor) -> Tensor:
    """DoRA's magnitude over the norm of the weight: for each output, or for each input.

    peft saves a vector, one number for each output; LyCORIS a shape that says which it is.
    """
    if magnitude.ndim == 1 or magnitude.shape[0] == whole.shape[0]:
        norm = whole.float().flatten(1).norm(dim=1)
        return _over_outputs((magnitude.flatten() / norm).to(whole.dtype), whole)
    norm = whole.float().transpose(0, 1).flatten(1).norm(dim=1)
    return _over_inputs((magnitude.flatten() / norm).to(whole.dtype), whole)


def _turned(t: _Roles, weight: Tensor) -> Tensor:
    """What OFT adds: its blocks mix the outputs, ``rescale`` (out,) multiplies them."""
    blocks, size, _ = t["turn"].shape
    parts = weight.reshape(blocks, size, -1)
    turned = torch.einsum("knm,kni->kmi", t["turn"], parts).reshape(weight.shape)
    if "rescale" not in t:
        return turned
    return (turned + weight) * _over_outputs(t["rescale"].flatten(), weight) - weight


def _glora(t: _Roles, weight: Tensor) -> Tensor:
    flat = weight.flatten(1)
    a1, a2, b1, b2 = (t[role].flatten(1) for role in ("a1", "a2", "b1", "b2"))
    if b2.shape[1] == b1.shape[0] and b2.shape[0] == flat.shape[0] and b1.shape[1] == flat.shape[1]:
        return b2 @ b1 + flat @ a2 @ a1
    return b1 @ b2 + flat @ a1 @ a2


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
