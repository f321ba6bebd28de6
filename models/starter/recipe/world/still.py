"""Fruit and a bowl on a table."""

from __future__ import annotations

import numpy as np
from velatura.models.starter.recipe.world.canvas import Canvas, circle, mix
from velatura.models.starter.recipe.world.hues import hue
from velatura.models.starter.recipe.world.scene import Scene, Thing

_GREEN_FRUIT = (136, 178, 58)


def _gloss(canvas: Canvas, x: float, y: float, rx: float, ry: float, body: np.ndarray) -> None:
    """Roundness: the far side falls into shade, the near side carries a highlight."""
    side = canvas.light.side
    shade = circle(x - side * rx * 0.22, y + ry * 0.18, rx * 0.74, ry * 0.78)
    canvas.fill(shade, canvas.shaded(body, 0.45), alpha=0.45, own=True, line=False, solid=False)
    core = circle(x + side * rx * 0.2, y - ry * 0.14, rx * 0.62, ry * 0.64)
    canvas.fill(
        core, mix(body, (255, 250, 220), 0.16), alpha=0.6, own=True, line=False, solid=False
    )
    spot = circle(x + side * rx * 0.38, y - ry * 0.42, rx * 0.17, ry * 0.13)
    canvas.fill(spot, (255, 255, 250), alpha=0.75, line=False, solid=False)


def _stem(canvas: Canvas, x: float, y: float, h: float, leaf: bool) -> None:
    canvas.stroke(
        np.array([(x, y + 0.05 * h), (x + 0.015 * h, y - 0.05 * h), (x + 0.06 * h, y - 0.14 * h)]),
        0.045 * h,
        (92, 64, 42),
        line=True,
    )
    if leaf:
        shape = np.array(
            [
                (x + 0.02 * h, y - 0.02 * h),
                (x + 0.14 * h, y - 0.17 * h),
                (x + 0.36 * h, y - 0.15 * h),
                (x + 0.2 * h, y - 0.02 * h),
            ]
        )
        canvas.fill(shape, (118, 170, 78), (70, 124, 60))


def paint_apple(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, h = thing.x, thing.y, thing.size
    body = np.array(_GREEN_FRUIT if thing.colour == "green" else hue(thing.colour), np.float32)
    turn = np.linspace(0, 2 * np.pi, 44, endpoint=False) - np.pi / 2
    # A circle with a dip at the stem and a smaller one at the foot.
    dip = 1 - 0.17 * np.exp(-(((turn + np.pi / 2) / 0.42) ** 2))
    dip -= 0.17 * np.exp(-(((turn - 3 * np.pi / 2) / 0.42) ** 2))
    dip -= 0.07 * np.exp(-(((turn - np.pi / 2) / 0.3) ** 2))
    wide = 1 - 0.08 * np.sin(turn)
    cy, r = y - 0.45 * h, 0.47 * h
    outline = np.stack([x + r * 1.04 * dip * wide * np.cos(turn), cy + r * dip * np.sin(turn)], 1)
    canvas.fill(outline, body, canvas.shaded(body, 0.4), across=True, own=True)
    _gloss(canvas, x, cy, r, r, body)
    _stem(canvas, x, cy - r * 0.8, h, leaf=True)


def paint_pear(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, h = thing.x, thing.y, thing.size
    body = np.array(_GREEN_FRUIT if thing.colour == "green" else hue(thing.colour), np.float32)
    t = np.linspace(0, 1, 22)
    # Half-widths from the neck (0) to the foot (1).
    half = np.interp(
        t,
        (0, 0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.88, 0.96, 1.0),
        (0.0, 0.09, 0.13, 0.16, 0.22, 0.31, 0.35, 0.3, 0.18, 0.04),
    )
    rows = y - h * 0.95 + t * h * 0.95
    outline = np.concatenate(
        [np.stack([x - half * h, rows], 1), np.stack([x + half * h, rows], 1)[::-1]]
    )
    canvas.fill(outline, body, canvas.shaded(body, 0.4), across=True, own=True)
    _gloss(canvas, x, y - 0.3 * h, 0.33 * h, 0.28 * h, body)
    _stem(canvas, x, y - 0.95 * h, h * 0.8, leaf=False)


def paint_orange(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, h = thing.x, thing.y, thing.size
    body = np.array((244, 138, 28), np.float32)
    r = 0.49 * h
    canvas.fill(
        circle(x, y - r, r, points=36), body, canvas.shaded(body, 0.4), across=True, own=True
    )
    _gloss(canvas, x, y - r, r, r, body)
    pores = []
    for _ in range(22):
        turn, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.8 * r
        pores.append(
            circle(x + reach * np.cos(turn), y - r + reach * np.sin(turn), 0.012 * h, points=6)
        )
    canvas.dabs(pores, canvas.shaded(body, 0.6), alpha=0.5, own=True)
    star = circle(x, y - 1.72 * r, 0.07 * h, 0.035 * h, 10)
    canvas.fill(star, (104, 120, 52), line=False)


def paint_bowl(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, h = thing.x, thing.y, thing.size
    body = np.array(hue(thing.colour), np.float32)
    half = 0.92 * h
    turn = np.linspace(0, np.pi, 24)
    curve = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.8
    side = np.stack([x + half * curve, y - 0.86 * h + 0.8 * h * np.sin(turn) ** 0.9], 1)
    base = np.array(
        [
            (x - 0.36 * h, y - 0.1 * h),
            (x + 0.36 * h, y - 0.1 * h),
            (x + 0.4 * h, y),
            (x - 0.4 * h, y),
        ]
    )
    canvas.fill(base, canvas.shaded(body, 0.6), own=True)
    canvas.fill(
        side, mix(body, (255, 255, 255), 0.08), canvas.shaded(body, 0.7), across=True, own=True
    )
    rim = circle(x, y - 0.86 * h, half, 0.17 * h, 36)
    canvas.fill(rim, mix(body, (255, 255, 255), 0.3), own=True)
    inside = circle(x, y - 0.85 * h, half * 0.9, 0.125 * h, 32)
    canvas.fill(inside, canvas.shaded(body, 1.0) * 0.8, canvas.shaded(body, 0.5), own=True)
    gloss = circle(x + canvas.light.side * 0.48 * h, y - 0.5 * h, 0.07 * h, 0.15 * h, 14)
    canvas.fill(gloss, (255, 255, 250), alpha=0.5, line=False, solid=False)
