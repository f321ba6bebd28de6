"""House, boat, bridge and lighthouse."""

from __future__ import annotations

import numpy as np
from velatura.models.starter.recipe.world.canvas import Canvas, circle, mix
from velatura.models.starter.recipe.world.hues import hue
from velatura.models.starter.recipe.world.scene import Scene, Thing

_PLASTER = (240, 228, 204)
_LAMP = (255, 214, 112)
_PANE = (96, 124, 150)


def _box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _window(canvas: Canvas, scene: Scene, outline: np.ndarray) -> None:
    if scene.time in ("night", "sunset"):
        canvas.fill(outline, _LAMP, (255, 178, 80), shine=True, solid=False)
    else:
        canvas.fill(outline, _PANE, (140, 170, 190), solid=False)


def paint_house(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    """A gable in the light and a long side under a broad roof, seen from the corner."""
    x, y, h = thing.x, thing.y, thing.size
    roof = np.array(hue(thing.colour), np.float32)
    flip = 1 if rng.random() < 0.5 else -1
    wall_top, ridge = y - 0.5 * h, y - h

    def at(*points: tuple[float, float]) -> np.ndarray:
        return np.array([(x + flip * dx * h, py) for dx, py in points])

    gable_lit = flip * canvas.light.side < 0
    bright, dim = _PLASTER, canvas.shaded(_PLASTER, 0.7)
    gable = at((-0.62, y - 0.01), (-0.12, y), (-0.12, wall_top), (-0.37, ridge), (-0.62, wall_top))
    side = at((-0.12, y), (0.64, y - 0.02), (0.64, wall_top), (-0.12, wall_top))
    chimney = at(
        (0.26, ridge - 0.1 * h), (0.37, ridge - 0.1 * h), (0.37, wall_top), (0.26, wall_top)
    )
    canvas.fill(chimney, (170, 104, 84), canvas.shaded((170, 104, 84)), across=True)
    if scene.ground == "snow" or rng.random() < 0.3:
        for i in range(3):
            puff = circle(
                x + flip * (0.32 + 0.05 * i) * h,
                ridge - (0.16 + 0.1 * i) * h,
                (0.05 + 0.02 * i) * h,
            )
            canvas.fill(puff, (226, 228, 232), alpha=0.55 - 0.12 * i, line=False, solid=False)
    canvas.fill(side, dim if gable_lit else bright, canvas.shaded(_PLASTER, 0.9))
    canvas.fill(gable, bright if gable_lit else dim, mix(bright, dim, 0.4))
    slope = at(
        (-0.37, ridge), (0.5, ridge), (0.72, wall_top + 0.05 * h), (-0.06, wall_top + 0.05 * h)
    )
    lit_roof = mix(roof, (255, 255, 255), 0.08)
    canvas.fill(slope, lit_roof, canvas.shaded(roof, 0.35), own=True)
    for share in (0.33, 0.66):
        rows = slope[0] * (1 - share) + slope[3] * share, slope[1] * (1 - share) + slope[2] * share
        canvas.stroke(
            np.array(rows), 0.014 * h, canvas.shaded(roof, 0.6), own=True, solid=False, line=False
        )
    eave = at(
        (-0.37, ridge),
        (-0.37, ridge + 0.1 * h),
        (-0.67, wall_top + 0.09 * h),
        (-0.7, wall_top + 0.02 * h),
    )
    canvas.fill(eave, canvas.shaded(roof, 0.6), own=True)
    eave = at(
        (-0.37, ridge),
        (-0.37, ridge + 0.1 * h),
        (-0.1, wall_top + 0.09 * h),
        (-0.06, wall_top + 0.02 * h),
    )
    canvas.fill(eave, canvas.shaded(roof, 0.5), own=True)
    door = at((0.16, y - 0.01), (0.32, y - 0.015), (0.32, y - 0.34 * h), (0.16, y - 0.34 * h))
    canvas.fill(door, (118, 76, 52), (92, 58, 44), solid=False)
    for dx in (-0.03, 0.43):
        pane = at(
            (dx, y - 0.2 * h),
            (dx + 0.13, y - 0.2 * h),
            (dx + 0.13, y - 0.36 * h),
            (dx, y - 0.36 * h),
        )
        _window(canvas, scene, pane)
    pane = at(
        (-0.45, y - 0.24 * h), (-0.29, y - 0.24 * h), (-0.29, y - 0.45 * h), (-0.45, y - 0.45 * h)
    )
    _window(canvas, scene, pane)
    if scene.ground == "snow":
        drift = at(
            (-0.37, ridge - 0.02 * h),
            (0.5, ridge - 0.02 * h),
            (0.53, ridge + 0.06 * h),
            (-0.35, ridge + 0.07 * h),
        )
        canvas.fill(drift, (248, 250, 255), line=False, solid=False)


def paint_boat(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, h = thing.x, thing.y, thing.size
    sail = np.array(hue(thing.colour), np.float32)
    flip = 1 if rng.random() < 0.5 else -1

    def at(*points: tuple[float, float]) -> np.ndarray:
        return np.array([(x + flip * dx * h, y - dy * h) for dx, dy in points])

    hull = at((-0.4, 0.17), (0.46, 0.2), (0.38, 0.07), (0.28, 0.0), (-0.24, 0.0), (-0.34, 0.06))
    wood = (126, 78, 52) if rng.random() < 0.6 else (74, 84, 104)
    canvas.stroke(at((0.02, 0.15), (0.02, 1.0)), 0.03 * h, (104, 76, 56))
    # The wind fills the sails: their free edges are bowed.
    bow = np.linspace(0, 1, 8)
    edge = [(-0.02 - 0.4 * t - 0.05 * np.sin(np.pi * t), 0.97 - 0.72 * t) for t in bow]
    main = at((-0.01, 0.97), *edge[1:], (-0.01, 0.25))
    canvas.fill(main, mix(sail, (255, 255, 255), 0.1), canvas.shaded(sail, 0.3), own=True)
    edge = [(0.05 + 0.36 * t + 0.04 * np.sin(np.pi * t), 0.86 - 0.6 * t) for t in bow]
    jib = at((0.05, 0.86), *edge[1:], (0.06, 0.28))
    canvas.fill(jib, mix(sail, (255, 255, 255), 0.04), canvas.shaded(sail, 0.5), own=True)
    canvas.fill(hull, wood, canvas.shaded(wood))
    stripe = at((-0.39, 0.15), (0.45, 0.18), (0.435, 0.145), (-0.38, 0.12))
    canvas.fill(stripe, (240, 232, 214), line=False, solid=False)


def paint_bridge(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    """A stone bridge of three arches; on land a river comes from under it to the viewer."""
    x, y, h = thing.x, thing.y, thing.size
    half = 0.64 if scene.ground == "sea" else 0.36
    stone = np.array((176, 160, 140), np.float32)
    arches = 5 if scene.ground == "sea" else 3
    deck = np.linspace(-1.0, 1.0, 25)
    rise = 0.75 * h + 0.25 * h * (1 - deck**2)
    if scene.ground == "sea":
        rise = np.full(25, 0.92 * h)
    crown = np.stack([x + deck * half, y - rise], 1)
    outline = np.concatenate([crown, [[x + half, y], [x - half, y]]])
    holes = []
    pitch = 2 * half * 0.92 / arches
    for i in range(arches):
        cx = x - half * 0.92 + pitch * (i + 0.5)
        turn = np.linspace(np.pi, 2 * np.pi, 14)
        lift = (
            0.62 * h if scene.ground == "sea" else 0.6 * h * (1 - 0.22 * abs(i - (arches - 1) / 2))
        )
        arch = np.stack([cx + pitch * 0.39 * np.cos(turn), y + 0.002 + lift * np.sin(turn)], 1)
        holes.append(arch)
    canvas.fill(
        outline, mix(stone, (255, 244, 220), 0.2), canvas.shaded(stone, 0.8), holes=tuple(holes)
    )
    joints = []
    for _ in range(int(36 * half / 0.4)):
        jx, jy = x + rng.uniform(-0.95, 0.95) * half, y - rng.uniform(0.66, 0.84) * h
        joints.append(_box(jx, jy, jx + 0.03, jy + 0.007))
    canvas.dabs(joints, canvas.shaded(stone, 0.7), alpha=0.4)
    parapet = np.concatenate([crown, (crown + np.array((0, 0.09 * h)))[::-1]])
    canvas.fill(parapet, mix(stone, (255, 248, 230), 0.4), solid=False)


def paint_river(canvas: Canvas, thing: Thing, scene: Scene, horizon: float) -> None:
    """The water under a bridge on land, drawn before the bridge."""
    t = np.linspace(0, 1, 14)
    y = thing.y - 0.03 + t * (1.03 - thing.y + 0.03)
    middle = thing.x + 0.05 * np.sin(t * 3.0) * (1 if thing.x < 0.5 else -1)
    wide = 0.25 - 0.05 * t
    bank = np.concatenate([np.stack([middle - wide, y], 1), np.stack([middle + wide, y], 1)[::-1]])
    depth = int(np.clip(40 + 215 * (thing.y - horizon) / (1 - horizon), 40, 255))
    canvas.at("river", depth)
    canvas.fill(bank, mix((116, 176, 206), canvas.light.haze, 0.25), (52, 116, 164))
    size = canvas.size
    rows = (np.arange(size) + 0.5) / size
    plane = np.clip(40 + 215 * (rows - horizon) / (1 - horizon), 40, 255).astype(np.uint8)
    canvas.depth[:] = np.where(canvas.touched > 127, plane[:, None], canvas.depth)
    ripples = []
    for i in range(16):
        k = 1 + i % 12
        ripples.append(
            circle(
                middle[k] + 0.15 * np.sin(i * 5.1), y[k] + 0.02 * np.cos(i * 3.0), 0.05, 0.004, 10
            )
        )
    canvas.dabs(ripples, (206, 228, 238), alpha=0.5)


def paint_lighthouse(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    x, y, h = thing.x, thing.y, thing.size
    colour = np.array(hue(thing.colour), np.float32)
    side = canvas.light.side
    if scene.ground == "sea":
        label_depth = canvas.near
        canvas.at("rock", label_depth)
        turn = np.linspace(np.pi, 2 * np.pi, 16)
        rough = 1 + rng.uniform(-0.14, 0.14, 16)
        rock = np.stack(
            [x + 0.3 * h * np.cos(turn) * rough, y + 0.02 * h + 0.15 * h * np.sin(turn) * rough], 1
        )
        canvas.fill(rock, (134, 124, 118), canvas.shaded((104, 98, 98)))
        before = canvas.touched.copy()
        canvas.at("tower", label_depth)
        canvas.touched[:] = before
    foot, top = y - (0.1 * h if scene.ground == "sea" else 0.0), y - 0.76 * h
    low, high = 0.135 * h, 0.085 * h
    lamp_y = y - 0.84 * h
    if scene.time == "night":
        for direction in (-1, 1):
            beam = np.array(
                [
                    (x, lamp_y - 0.012),
                    (x + direction * 0.8, lamp_y - 0.13),
                    (x + direction * 0.8, lamp_y + 0.05),
                    (x, lamp_y + 0.012),
                ]
            )
            canvas.fill(beam, (255, 238, 170), alpha=0.3, shine=True, line=False, solid=False)
    bands = 5
    for i in range(bands):
        y0, y1 = foot + (top - foot) * i / bands, foot + (top - foot) * (i + 1) / bands
        w0 = low + (high - low) * i / bands
        w1 = low + (high - low) * (i + 1) / bands
        paint = colour if i % 2 == 0 else np.array((246, 242, 232), np.float32)
        band = np.array([(x - w0, y0), (x + w0, y0), (x + w1, y1), (x - w1, y1)])
        canvas.fill(
            band,
            mix(paint, (255, 255, 255), 0.1),
            canvas.shaded(paint, 0.75),
            across=True,
            own=True,
        )
    gallery = _box(x - 0.13 * h, top - 0.025 * h, x + 0.13 * h, top)
    canvas.fill(gallery, (92, 86, 90))
    lantern = _box(x - 0.06 * h, top - 0.12 * h, x + 0.06 * h, top - 0.025 * h)
    if scene.time in ("night", "sunset"):
        canvas.fill(lantern, (255, 244, 190), (255, 214, 110), shine=True)
    else:
        canvas.fill(lantern, (206, 222, 230))
    cap = np.array([(x - 0.085 * h, top - 0.115 * h), (x, y - h), (x + 0.085 * h, top - 0.115 * h)])
    canvas.fill(
        cap, mix(colour, (255, 255, 255), 0.06), canvas.shaded(colour, 0.7), across=True, own=True
    )
    door = _box(x - 0.035 * h, foot - 0.1 * h, x + 0.035 * h, foot)
    canvas.fill(door, (84, 60, 50), line=False, solid=False)
    pane = circle(x + side * 0.01 * h, foot + (top - foot) * 0.5, 0.022 * h, 0.03 * h, 12)
    canvas.fill(
        pane,
        _LAMP if scene.time == "night" else (70, 80, 96),
        shine=scene.time == "night",
        line=False,
        solid=False,
    )
