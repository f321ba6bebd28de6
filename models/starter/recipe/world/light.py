"""The light of each time of day."""

from __future__ import annotations

import numpy as np
from velatura.models.starter.recipe.world.canvas import Light, mix
from velatura.models.starter.recipe.world.scene import Scene

_WHITE = (1.0, 1.0, 1.0)
# Two moods for each time of day: a scene lies somewhere between them.
_MOODS: dict[str, tuple[tuple, tuple]] = {
    "day": (
        ((70, 140, 214), (138, 192, 236), (214, 234, 244)),
        ((96, 166, 224), (164, 212, 238), (236, 240, 232)),
    ),
    "sunset": (
        ((76, 66, 134), (222, 108, 112), (255, 192, 112)),
        ((116, 92, 158), (240, 138, 96), (255, 214, 138)),
    ),
    "night": (
        ((10, 14, 44), (24, 34, 82), (52, 68, 120)),
        ((16, 22, 58), (34, 44, 98), (70, 78, 132)),
    ),
    "overcast": (
        ((142, 150, 160), (172, 178, 184), (206, 208, 208)),
        ((158, 162, 166), (184, 186, 188), (214, 212, 206)),
    ),
}
_TINT = {
    "day": _WHITE,
    "sunset": (0.98, 0.8, 0.72),
    "night": (0.47, 0.52, 0.77),
    "overcast": (0.84, 0.86, 0.89),
}
_SHADOW = {
    "day": (0.66, 0.7, 0.86),
    "sunset": (0.62, 0.54, 0.74),
    "night": (0.55, 0.6, 0.78),
    "overcast": (0.78, 0.8, 0.84),
}
_GLOW = {
    "day": (255, 248, 214),
    "sunset": (255, 214, 140),
    "night": (206, 216, 246),
    "overcast": (226, 228, 230),
}
_CAST = {"day": 0.3, "sunset": 0.34, "night": 0.3, "overcast": 0.14}


def light_of(scene: Scene) -> Light:
    """The light of a scene: its mood from the seed, its side from the sun or moon."""
    rng = np.random.default_rng((abs(scene.seed), 1))
    share = float(rng.random())
    zenith, middle, haze = (
        tuple(mix(a, b, share)) for a, b in zip(*_MOODS[scene.time], strict=True)
    )
    side = 1 if rng.random() < 0.5 else -1
    for thing in scene.things:
        if thing.kind in ("sun", "moon"):
            side = 1 if thing.x > 0.5 else -1
    return Light(
        zenith=zenith,
        middle=middle,
        haze=haze,
        tint=_TINT[scene.time],
        shadow=_SHADOW[scene.time],
        glow=_GLOW[scene.time],
        cast=_CAST[scene.time],
        side=side,
    )
