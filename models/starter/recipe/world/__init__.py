"""The starter model's world: little scenes that are composed, painted and described from a seed.

`random_scene` composes, `render` paints with exact depth, segmentation and line maps, `caption`
puts the scene into words, and `labels` says what an honest judge may be asked about it.
Everything is a pure function of its arguments.
"""

from velatura.models.starter.recipe.world.canvas import PALETTE
from velatura.models.starter.recipe.world.caption import VOCABULARY, caption
from velatura.models.starter.recipe.world.line import disturb_line
from velatura.models.starter.recipe.world.render import Picture, render
from velatura.models.starter.recipe.world.scene import (
    COLOURS,
    GROUNDS,
    OBJECTS,
    STYLES,
    TIMES,
    Scene,
    Thing,
    box,
    labels,
    random_scene,
)

__all__ = [
    "COLOURS",
    "GROUNDS",
    "OBJECTS",
    "PALETTE",
    "STYLES",
    "TIMES",
    "VOCABULARY",
    "Picture",
    "Scene",
    "Thing",
    "box",
    "caption",
    "disturb_line",
    "labels",
    "random_scene",
    "render",
]
