"""Checkpoints that were distilled to paint in a few steps without guidance, and their first numbers.

LCM (Luo et al. 2023), SDXL Turbo (Sauer et al. 2023), SDXL-Lightning (Lin et al. 2024), Hyper-SD (Ren
et al. 2024), TCD (Zheng et al. 2024). Their weights look like any other's, so what they are called
must tell, or what their scheduler was saved as.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

_MOST_STEPS = 16
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# What may follow "hyper" where it means Hyper-SD: "hyperrealistic" is a style.
_AFTER_HYPER = frozenset({"", "sd", "sdxl", "xl", "v", "vae", "baked", "bakedvae"})
# Of LCM's own UNets, which are told the guidance scale itself.
_TOLD_GUIDANCE = 8.0


@dataclass(frozen=True)
class FewSteps:
    """How a distilled model paints best. ``kind`` is the method's name in lower case."""

    kind: str
    steps: int
    guidance: float
    sampler: str


_KINDS = {
    one.kind: one
    for one in (
        FewSteps("lcm", 6, 1.0, "LCM"),
        FewSteps("turbo", 4, 1.0, "Euler a SGM Uniform"),
        FewSteps("lightning", 4, 1.0, "Euler SGM Uniform"),
        FewSteps("hyper", 8, 1.0, "DDIM SGM Uniform"),
        FewSteps("tcd", 4, 1.0, "TCD"),
    )
}


def by_names(names: Iterable[str]) -> FewSteps | None:
    """What the first of ``names`` that says so says of a model.

    >>> by_names(["dreamshaper_8LCM"]).sampler, by_names(["sdxl_lightning_8step"]).steps
    ('LCM', 8)
    >>> by_names(["Hyper-SDXL-1steps"]).kind, by_names(["SDXLTurbo"]).kind
    ('hyper', 'turbo')
    >>> by_names(["hyperRealism_v3", "turbovision", "juggernautXL_v9"]) is None
    True
    """
    for name in names:
        words = [word.lower() for word in _WORDS.findall(name)]
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word not in _KINDS:
                continue
            plain = following.isdigit() or following in _AFTER_HYPER
            if word != "hyper" or plain:
                return _with_steps(_KINDS[word], words)
    return None


def of_file(path: Path, metadata: Mapping[str, str]) -> FewSteps | None:
    """The same of a single file, by its name and its maker's title."""
    return by_names((path.stem, metadata.get("modelspec.title", "")))


def of_folder(
    path: Path, index: Mapping[str, Any], unet: Mapping[str, Any], scheduler: Mapping[str, Any]
) -> FewSteps | None:
    """The same of a diffusers folder, from its config files too."""
    if unet.get("time_cond_proj_dim") is not None:
        return replace(_KINDS["lcm"], guidance=_TOLD_GUIDANCE)
    # In a cache of the Hub the repository's name is farther up.
    repository = next((p for p in path.parts if p.startswith("models--")), "")
    found = by_names((path.name, repository, str(index.get("_name_or_path", ""))))
    if found is not None:
        return found
    saved = str(scheduler.get("_class_name", ""))
    if saved in ("LCMScheduler", "TCDScheduler"):
        return _KINDS[saved.removesuffix("Scheduler").lower()]
    # Models that predict v begin at the last step too, for another reason.
    begins_last = scheduler.get("timestep_spacing") == "trailing"
    if begins_last and scheduler.get("prediction_type", "epsilon") == "epsilon":
        kinds = {"EulerAncestralDiscreteScheduler": "turbo", "EulerDiscreteScheduler": "lightning"}
        return _KINDS[kinds[saved]] if saved in kinds else None
    return None


def _with_steps(kind: FewSteps, words: list[str]) -> FewSteps:
    for number, unit in pairwise(words):
        if unit in ("step", "steps") and number.isdigit() and 1 <= int(number) <= _MOST_STEPS:
            return replace(kind, steps=int(number))
    return kind
