"""What a model family is: how to recognise it, how to load it, at which sizes it paints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velatura.models.distilled import FewSteps
from velatura.models.families.denoiser import Denoiser
from velatura.models.weights import Header

if TYPE_CHECKING:
    import torch
    from velatura.models.depth import EstimateDepth
    from velatura.models.enlarger import Enlarger

ReportProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class Found:
    """What detection read from a folder's config files or a single file's header.

    native    side in pixels of the pictures it was trained on
    parts     sub-folders whose weights it loads; none for a single file
    extra     what the UNet takes beside the latents: "" nothing, "inpaint" the mask and the masked
              picture (9 channels), "depth" a depth map (5 channels)
    shape     what a ControlNet must share with the UNet: block channels, then the width of the
              text embedding
    schedule  what a single file itself says of its noise schedule, as in a scheduler config
    few       how it paints where it was distilled to do so in a few steps
    """

    native: int
    parts: tuple[str, ...]
    extra: str
    shape: tuple[int, ...]
    schedule: Mapping[str, Any] = field(default_factory=dict)
    few: FewSteps | None = None


@dataclass(kw_only=True)
class Loaded:
    """A model in memory, ready to paint. Its parts are in eval mode and need no gradients.

    A family's own kind of it holds the parts.

    find_digest       gives ``digest``, once it is known
    native            side in pixels of the pictures it was trained on
    scheduler_config  the folder's ``scheduler_config.json``
    enlarger          what enlarges its pictures beyond the size that it paints at, where the folder
                      has one (``upscaler-x4.safetensors``)
    estimate_depth    makes the depth map of a picture, where a depth model brings what it needs
    extra             what the network takes beside the latents, as in Found
    few_steps         it was distilled to paint in a few steps, from the last training step on
    """

    name: str
    family: Family
    find_digest: Callable[[], str]
    native: int
    scheduler_config: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    extra: str = ""
    few_steps: bool = False
    enlarger: Enlarger | None = None
    estimate_depth: EstimateDepth | None = None

    @cached_property
    def denoiser(self) -> Denoiser:
        """What sampling sees of it, by plain calls of its network."""
        # A copy, which shares the parts: a circle would keep them in memory until Python looks for it.
        return self.family.make_denoiser(replace(self), None)

    @property
    def network(self) -> torch.nn.Module | None:
        """The module whose passes may be accelerated; None where none is known how to."""
        return None

    @property
    def lora_parts(self) -> Mapping[str, torch.nn.Module]:
        """The modules that a LoRA can change, by the names that LoRAs give them."""
        return {}

    def live_copy(self, few_step: Path | None, loras: Sequence[Any]) -> Loaded:
        """Copy it with few-step weights, if there are any, and LoRAs in its network's weights.

        Everything but the network is shared. Raises ModelError (``unsupported``) where the weights
        do not fit.
        """
        return self

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of its weights: the same on every machine.

        Reading them takes seconds, beside the loading: only ask where it is written down.
        """
        return self.find_digest()


@dataclass(frozen=True)
class Family:
    """One architecture. Sizes are sides in pixels of the picture that the model sees.

    multiple  sides must be multiples of it
    largest   the longest side worth sending through any model of the family
    actions   what it can do, of the protocol's ACTIONS
    pads      the token that fills prompts up, for each text encoder; single files do not say it
    clip_layer  the layer of the text encoder, counted from its end, that it was trained to read:
              1 the last, 2 the last but one
    detect    (folder, name of the UNet's sub-folder) -> Found, or None when it is another
              family's; reads config files only and raises ModelError when they are broken
    detect_file  the same for the header of a single file
    load      (name, path, found, device, dtype, progress) -> Loaded, with an empty digest; raises
              ModelError with one sentence when a part is broken
    distil    what was found in a single file of a distilled model -> what is true of it
    make_denoiser  (loaded, an accelerated pass of its network or None) -> its denoiser
    """

    name: str
    multiple: int
    largest: int
    actions: tuple[str, ...]
    steps: int
    guidance: float
    sampler: str
    pads: tuple[str, ...]
    clip_layer: int
    detect: Callable[[Path, str], Found | None]
    detect_file: Callable[[Header], Found | None]
    load: Callable[[str, Path, Found, torch.device, torch.dtype, ReportProgress], Loaded]
    make_denoiser: Callable[[Loaded, Callable[..., torch.Tensor] | None], Denoiser]
    distil: Callable[[Found], Found] = lambda found: found
