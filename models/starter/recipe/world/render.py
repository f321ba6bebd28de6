"""Scene to picture: paint from far to near, then work the paint in the scene's style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from velatura.models.starter.recipe.world import backdrop, built, nature, people, still
from velatura.models.starter.recipe.world.canvas import LABELS, PALETTE, Canvas
from velatura.models.starter.recipe.world.light import light_of
from velatura.models.starter.recipe.world.scene import SKY_OBJECTS, Scene, Thing, horizon
from velatura.models.starter.recipe.world.styles import apply_style

_Painter = Callable[[Canvas, Thing, Scene, np.random.Generator], None]
_SKY: dict[str, _Painter] = {
    "stars": backdrop.paint_stars,
    "sun": backdrop.paint_sun,
    "moon": backdrop.paint_moon,
    "clouds": backdrop.paint_clouds,
    "mountains": backdrop.paint_mountains,
}
# Painter, label, and half the width of the cast shadow as a share of the height.
_STANDING: dict[str, tuple[_Painter, str, float]] = {
    "round tree": (nature.paint_round_tree, "tree", 0.34),
    "pine tree": (nature.paint_pine_tree, "tree", 0.26),
    "flowers": (nature.paint_flowers, "flower", 0.6),
    "house": (built.paint_house, "house", 0.75),
    "boat": (built.paint_boat, "boat", 0.0),
    "bridge": (built.paint_bridge, "bridge", 0.0),
    "lighthouse": (built.paint_lighthouse, "tower", 0.2),
    "figure": (people.paint_figure, "person", 0.22),
    "apple": (still.paint_apple, "food", 0.55),
    "pear": (still.paint_pear, "food", 0.42),
    "orange": (still.paint_orange, "food", 0.55),
    "bowl": (still.paint_bowl, "plate", 0.75),
}
_COLOURS = np.array([PALETTE[name] for name in LABELS], np.uint8)


@dataclass(frozen=True)
class Picture:
    """A painted scene and its exact maps; the maps are None where they were not asked for.

    image: (S, S, 3) uint8 sRGB. depth: (S, S) uint8, nearer is lighter, sky 0.
    segmentation: (S, S, 3) uint8 in PALETTE's colours. line: (S, S) uint8, white on black.
    """

    image: np.ndarray
    depth: np.ndarray | None
    segmentation: np.ndarray | None
    line: np.ndarray | None


def _rng(scene: Scene, *part: int) -> np.random.Generator:
    return np.random.default_rng((abs(scene.seed), *part))


def render(scene: Scene, size: int = 256, maps: bool = True) -> Picture:
    """Paint a scene at size x size pixels; the composition does not depend on the size."""
    canvas = Canvas(size, light_of(scene))
    top = horizon(scene)
    water = scene.ground == "sea"
    backdrop.paint_sky(canvas, scene, top, _rng(scene, 2))
    for i, kind in enumerate(_SKY):
        for thing in scene.things:
            if thing.kind == kind and kind != "mountains":
                _SKY[kind](canvas, thing, scene, _rng(scene, 3, i))
    mountains = [thing for thing in scene.things if thing.kind == "mountains"]
    for thing in mountains:
        backdrop.paint_mountains(canvas, thing, scene, _rng(scene, 3, 9))
    touched = canvas.touched.copy() if mountains else None
    backdrop.paint_ground(canvas, scene, top, _rng(scene, 4))
    if water and touched is not None:
        canvas.touched[:] = touched
        canvas.reflect(top, _rng(scene, 5), 0.4)
    standing = [(i, t) for i, t in enumerate(scene.things) if t.kind not in SKY_OBJECTS]
    if water:
        backdrop.paint_waves(canvas, scene, top, _rng(scene, 6))
    for i, thing in sorted(standing, key=lambda pair: pair[1].y):
        _paint_thing(canvas, thing, scene, top, _rng(scene, 7, i), water)
    image = apply_style(canvas, scene.style, _rng(scene, 8))
    if not maps:
        return Picture(image, None, None, None)
    return Picture(image, canvas.depth, _COLOURS[canvas.label], canvas.line)


def _paint_thing(
    canvas: Canvas, thing: Thing, scene: Scene, top: float, rng: np.random.Generator, water: bool
) -> None:
    paint, label, shadow = _STANDING[thing.kind]
    if scene.ground == "table":
        depth = int(np.clip(110 + 145 * (thing.y - top) / (1 - top), 110, 255))
    else:
        depth = backdrop.ground_depth(thing.y, top)
    if thing.kind == "bridge" and not water:
        built.paint_river(canvas, thing, scene, top)
    if shadow and not water:
        reach = shadow * thing.size
        canvas.shadow(thing.x, thing.y, reach, reach * 0.24)
    far = max(0.0, 1 - (thing.y - top) / (1 - top) / 0.3)
    canvas.at(label, depth, haze=0.22 * far)
    paint(canvas, thing, scene, rng)
    if water:
        canvas.reflect(thing.y, rng)
