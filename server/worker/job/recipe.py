"""The recipe that every result carries."""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

from velatura.models.families.base import Loaded
from velatura.protocol.messages import Generate
from velatura.server.worker.job.plan import JobPlan, passes
from velatura.server.worker.prompt.encode import whole

_PACKAGES = ("velatura", "torch", "diffusers")


def make_recipe(request: Generate, plan: JobPlan, loaded: Loaded | None) -> dict[str, Any]:
    """What it takes to paint it again: the request's numbers and what painted it.

    Prompt and negative prompt are whole, with the words of the style that stands beside them.
    """
    numbers = ("action", "model", "prompt", "negative", "strength", "steps", "guidance", "sampler",
               "clip_skip", "detail", "soft_edge", "keep_outline")  # fmt: skip
    recipe: dict[str, Any] = {name: getattr(request, name) for name in numbers}
    recipe["prompt"], recipe["negative"] = whole(request)
    if request.style is not None:
        recipe["style"] = asdict(request.style)
    recipe["canvas"], recipe["region"] = asdict(request.canvas), asdict(request.region)
    recipe["controls"] = [
        {
            "kind": c.kind,
            "weight": c.weight,
            "start": c.start,
            "end": c.end,
            "derived": c.picture is None,
        }
        for c in request.controls
    ]
    recipe["size"], recipe["steps_run"] = asdict(plan.size), plan.run
    recipe["passes"] = [
        {
            "part": asdict(one.part),
            "size": asdict(one.size),
            "scale": round(one.scale, 4),
            "steps_run": one.run,
            "tiles": len(one.tiles),
        }
        for one in passes(plan)
    ]
    if loaded is not None:
        recipe |= {
            "digest": loaded.digest,
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "device": str(loaded.device),
            "machine": platform.machine(),
            "versions": dict(_versions()),
        }
    return recipe


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in _PACKAGES)
