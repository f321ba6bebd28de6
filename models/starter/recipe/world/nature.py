"""Trees and flowers."""

from __future__ import annotations

import numpy as np
from velatura.models.starter.recipe.world.canvas import Canvas, circle, mix
from velatura.models.starter.recipe.world.hues import hue
from velatura.models.starter.recipe.world.scene import Scene, Thing

_BARK = (112, 78, 56)


def _crown(rng: np.random.Generator, x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """A scalloped outline, as a child draws a tree's crown."""
    lobes = int(rng.integers(7, 10))
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    phase = rng.uniform(0, np.pi)
    reach = 0.86 + 0.16 * np.abs(np.sin(turn * lobes / 2 + phase))
    reach *= 1 + 0.05 * np.sin(turn * 2 + phase)
    return np.stack([x + rx * reach * np.cos(turn), y + ry * reach * np.sin(turn)], 1)


def paint_round_tree(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, size = thing.x, thing.y, thing.size
    side = canvas.light.side
    leaf = np.array((88, 146, 70) if thing.colour is None else hue(thing.colour), np.float32)
    if thing.colour is None:
        leaf = leaf + rng.uniform(-10, 10, 3).astype(np.float32)
    trunk = np.array(
        [
            (x - 0.075 * size, y),
            (x - 0.035 * size, y - 0.1 * size),
            (x - 0.035 * size, y - 0.45 * size),
            (x + 0.035 * size, y - 0.45 * size),
            (x + 0.035 * size, y - 0.1 * size),
            (x + 0.075 * size, y),
        ]
    )
    canvas.fill(trunk, _BARK, canvas.shaded(_BARK), across=True)
    cy, rx, ry = y - 0.645 * size, 0.34 * size, 0.355 * size
    crown = _crown(rng, x, cy, rx, ry)
    own = thing.colour is not None
    canvas.fill(crown, mix(leaf, (255, 250, 190), 0.12), canvas.shaded(leaf, 0.75), own=own)
    shade = circle(x - side * 0.1 * size, cy + 0.1 * size, rx * 0.72, ry * 0.6)
    canvas.fill(shade, canvas.shaded(leaf, 0.8), alpha=0.5, own=own, line=False, solid=False)
    dabs, darker = [], []
    for _ in range(26):
        turn, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.8
        dx, dy = np.cos(turn) * reach, np.sin(turn) * reach
        towards = dx * side - dy
        dab = circle(x + dx * rx, cy + dy * ry, 0.035 * size, 0.026 * size, 8)
        (dabs if towards > rng.uniform(-0.2, 0.5) else darker).append(dab)
    canvas.dabs(dabs, mix(leaf, (255, 248, 170), 0.32), alpha=0.6, own=own)
    canvas.dabs(darker, canvas.shaded(leaf, 0.9) * 0.9, alpha=0.5, own=own)


def paint_pine_tree(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, size = thing.x, thing.y, thing.size
    needle = np.array((44, 100, 76), np.float32) + rng.uniform(-8, 8, 3).astype(np.float32)
    trunk = np.array(
        [
            (x - 0.035 * size, y),
            (x - 0.03 * size, y - 0.2 * size),
            (x + 0.03 * size, y - 0.2 * size),
            (x + 0.035 * size, y),
        ]
    )
    canvas.fill(trunk, _BARK, canvas.shaded(_BARK), across=True)
    tiers = 4
    for i in range(tiers):
        share = i / tiers
        low = y - size * (0.12 + 0.6 * share)
        high = y - size * (0.12 + 0.6 * share + 0.28 + 0.04 * (tiers - i) / tiers)
        if i == tiers - 1:
            high = y - size
        half = size * (0.27 - 0.17 * share)
        hem = np.linspace(-1, 1, 9)
        sag = 0.018 * size * (1 - hem**2) + np.where(np.arange(9) % 2, -0.012 * size, 0.0)
        skirt = np.stack([x + half * hem, low + sag], 1)
        tip = np.array([[x, high]])
        left = np.array([[x - half * 0.4, low - (low - high) * 0.42]])
        right = np.array([[x + half * 0.4, low - (low - high) * 0.42]])
        tier = np.concatenate([skirt, right, tip, left])
        canvas.fill(
            tier, mix(needle, (190, 220, 140), 0.18), canvas.shaded(needle, 0.9), across=True
        )
        if scene.ground == "snow":
            drift = np.concatenate([skirt[1:-1] - (0, 0.035 * size), skirt[1:-1][::-1]])
            drift[:7, 1] -= 0.012 * size
            inner = np.array([[x + half * 0.34, low - (low - high) * 0.46], [x, high]])
            lit = np.concatenate([inner, [[x - half * 0.34, low - (low - high) * 0.46]]])
            canvas.fill(lit, (244, 248, 255), line=False, solid=False, alpha=0.9)


def paint_flowers(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, size = thing.x, thing.y, thing.size
    petal = np.array(hue(thing.colour), np.float32)
    heart = (250, 206, 70) if thing.colour not in ("yellow", "orange") else (116, 70, 40)
    count = int(rng.integers(6, 9))
    spread = np.linspace(-0.85, 0.85, count) + rng.uniform(-0.08, 0.08, count)
    order = rng.permutation(count)
    stems, leaves, heads = [], [], []
    for i in order:
        lift = size * rng.uniform(0.55, 0.95) * (1 - 0.25 * abs(spread[i]))
        head = np.array([x + spread[i] * size * 0.8, y - lift])
        root = np.array([x + spread[i] * size * 0.55, y])
        bend = (head + root) / 2 + (0.02 * size, 0)
        stems.append(np.array([root, bend, head]))
        side = rng.choice((-1, 1))
        middle = root * 0.55 + head * 0.45
        leaf = np.array(
            [
                root,
                middle + size * np.array((side * 0.05, 0.05)),
                middle + size * np.array((side * 0.12, -0.12)),
                middle + size * np.array((side * 0.02, -0.02)),
            ]
        )
        leaves.append(leaf)
        heads.append(head)
    for stem, leaf in zip(stems, leaves, strict=True):
        canvas.stroke(stem, 0.028 * size, (72, 124, 62), line=False)
        canvas.fill(leaf, (104, 156, 76), (66, 118, 60), line=False)
        canvas.draw(stem)
    for head in heads:
        radius = size * rng.uniform(0.125, 0.16)
        turn = rng.uniform(0, 2 * np.pi)
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        reach = radius * (0.66 + 0.42 * np.abs(np.cos((angle + turn) * 2.5)))
        bloom = head + np.stack([reach * np.cos(angle), reach * 0.92 * np.sin(angle)], 1)
        canvas.fill(bloom, mix(petal, (255, 255, 255), 0.1), canvas.shaded(petal, 0.35), own=True)
        canvas.fill(circle(*head, radius * 0.34, points=12), heart, own=True, line=False)
