"""Call a ControlNet-Union as an ordinary ControlNet, for some of its kinds at once.

diffusers' own pipelines for a union give all its controls one weight and one range of steps, and
take no other net beside it; here each control has its own, beside any other net.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ControlNetUnionModel
from velatura.models.control_nets import UNION_MODES

_CHANNELS = 3


class UnionNet(torch.nn.Module):
    """A ControlNet-Union asked for some ``kinds`` at once, each with its own weight.

    Its condition holds the maps of all kinds, one after the other along the channels.
    """

    def __init__(
        self, net: ControlNetUnionModel, kinds: Sequence[str], weights: Sequence[float]
    ) -> None:
        super().__init__()
        self.net = net
        self._modes = [UNION_MODES[kind] for kind in kinds]
        self._weights = list(weights)

    @property
    def config(self) -> Any:
        return self.net.config

    def forward(
        self,
        sample: torch.Tensor,
        timestep: Any,
        encoder_hidden_states: torch.Tensor,
        controlnet_cond: torch.Tensor,
        conditioning_scale: float = 1.0,
        *_: Any,
        added_cond_kwargs: dict[str, torch.Tensor] | None = None,
        **__: Any,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        kinds = torch.zeros(len(sample), self.net.config.num_control_type)
        kinds[:, self._modes] = 1
        down, middle = self.net(
            sample,
            timestep,
            encoder_hidden_states,
            controlnet_cond=list(controlnet_cond.split(_CHANNELS, dim=1)),
            control_type=kinds.to(sample),
            control_type_idx=self._modes,
            conditioning_scale=[weight * conditioning_scale for weight in self._weights],
            added_cond_kwargs=added_cond_kwargs,
            return_dict=False,
        )
        return down, middle


def is_union(net: torch.nn.Module) -> bool:
    """Tell whether one net serves many kinds of control."""
    return isinstance(net, ControlNetUnionModel)
