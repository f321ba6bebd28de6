"""A figure in a coloured coat, built on its pose's key points."""

from __future__ import annotations

import numpy as np
from velatura.models.starter.recipe.world.canvas import Canvas, circle, mix
from velatura.models.starter.recipe.world.hues import hue
from velatura.models.starter.recipe.world.scene import Scene, Thing

_SKIN = ((236, 190, 156), (204, 148, 110), (142, 96, 70))
_HAIR = ((70, 48, 36), (36, 30, 34), (196, 148, 84), (150, 74, 40))


def _limb(a: np.ndarray, b: np.ndarray, wide: float, thin: float) -> np.ndarray:
    """A tapered limb with round ends."""
    along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
    turn = np.arctan2(along[1], along[0])
    start = turn + np.linspace(np.pi / 2, 3 * np.pi / 2, 7)
    end = turn + np.linspace(-np.pi / 2, np.pi / 2, 7)
    return np.concatenate(
        [
            a + wide * np.stack([np.cos(start), np.sin(start)], 1),
            b + thin * np.stack([np.cos(end), np.sin(end)], 1),
        ]
    )


def paint_figure(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    p = np.array(thing.pose, np.float64)
    h = thing.size
    coat = np.array(hue(thing.colour), np.float32)
    skin = _SKIN[int(rng.integers(len(_SKIN)))]
    hair = _HAIR[int(rng.integers(2 if skin == _SKIN[2] else len(_HAIR)))]
    trousers = ((62, 66, 86), (96, 74, 58), (80, 84, 80))[int(rng.integers(3))]
    nose, neck, r_hip, l_hip = p[0], p[1], p[8], p[11]
    for hip, knee, ankle in ((p[8], p[9], p[10]), (p[11], p[12], p[13])):
        canvas.fill(_limb(hip, knee, 0.065 * h, 0.05 * h), trousers, line=False)
        canvas.fill(
            _limb(knee, ankle, 0.05 * h, 0.04 * h), canvas.shaded(trousers, 0.4), line=False
        )
        toe = ankle + np.array((0.045 * h * np.sign(ankle[0] - neck[0]), 0.0))
        canvas.fill(_limb(ankle, toe, 0.035 * h, 0.03 * h), (58, 44, 40), line=False)
        for a, b, wide, thin in ((hip, knee, 0.065, 0.05), (knee, ankle, 0.05, 0.04)):
            limb = _limb(a, b, wide * h, thin * h)
            canvas.draw(limb[6:8])
            canvas.draw(np.stack([limb[-1], limb[0]]))
    sleeve = canvas.shaded(coat, 0.4)
    for shoulder, elbow, wrist in ((p[2], p[3], p[4]), (p[5], p[6], p[7])):
        canvas.fill(circle(*wrist, 0.038 * h, points=12), skin)
        canvas.fill(
            _limb(elbow, wrist + (elbow - wrist) * 0.15, 0.047 * h, 0.04 * h), sleeve, own=True
        )
        canvas.fill(_limb(shoulder, elbow, 0.058 * h, 0.047 * h), sleeve, own=True, line=False)
    hem = (r_hip[1] + l_hip[1]) / 2 + 0.1 * h
    middle = (r_hip[0] + l_hip[0]) / 2
    body = np.array(
        [
            neck - h * np.array((0.04, 0.01)),
            p[2] + (-0.035 * h * np.sign(neck[0] - p[2][0]), -0.01 * h),
            (middle + 0.16 * h * np.sign(p[2][0] - neck[0]), hem),
            (middle + 0.16 * h * np.sign(p[5][0] - neck[0]), hem),
            p[5] + (-0.035 * h * np.sign(neck[0] - p[5][0]), -0.01 * h),
            neck + h * np.array((0.04, -0.01)),
        ]
    )
    if p[2][0] > p[5][0]:
        body[[0, 5]] = body[[5, 0]]
    canvas.fill(
        body, mix(coat, (255, 255, 255), 0.08), canvas.shaded(coat, 0.4), across=True, own=True
    )
    head = nose + np.array((0.0, 0.005 * h))
    canvas.fill(circle(head[0], head[1] - 0.012 * h, 0.098 * h, 0.1 * h), hair)
    canvas.fill(circle(head[0], head[1] + 0.02 * h, 0.075 * h, 0.078 * h), skin, line=False)
    dots = [circle(*p[i] + (0.0, 0.035 * h), 0.011 * h, points=8) for i in (14, 15)]
    canvas.dabs(dots, (40, 32, 32))
