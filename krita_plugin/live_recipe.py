"""The recipe of a layer that was kept from live painting. Plain values."""

from __future__ import annotations

from dataclasses import replace

from ..protocol import messages as m
from ..protocol.region import Rect, Size
from .live_area import LiveChoice
from .recipe import Recipe, Selected
from .state import Settings

_MARK = "live"


def live_recipe(
    asked: m.LiveOpen,
    settings: Settings,
    choice: LiveChoice,
    canvas: Size,
    region: Rect,
    source: str | None,
    selection: bytes | None,
) -> Recipe:
    """``asked`` painted it; ``settings`` are the docker's. selection: Gray8 of the region.

    Reopened it is a Refine with the same words, strength, seed and guides: an ordinary job has no
    earlier frames to hold on to, so its pixels differ.
    """
    return Recipe(
        action="refine" if selection is None else "refine_selection",
        settings=replace(
            settings,
            prompt=asked.prompt,
            negative=asked.negative,
            strength=round(100 * asked.strength),
            paint_from=choice.paint_from,
            variants=1,
            seed=asked.seed,
            model=asked.model,
        ),
        canvas=canvas,
        region=region,
        seed=asked.seed,
        source=source,
        selection=None if selection is None else Selected(region, selection),
        server={
            _MARK: True,
            "model": asked.model,
            "steps": asked.steps,
            "sampler": asked.sampler,
            "guidance": asked.guidance,
        },
    )


def is_live(recipe: Recipe | None) -> bool:
    return recipe is not None and bool(recipe.server.get(_MARK))
