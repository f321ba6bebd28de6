"""Skies, what hangs in them, mountains, and the grounds."""

from __future__ import annotations

import cv2
import numpy as np
from velatura.models.starter.recipe.world.canvas import Canvas, circle, mix, noise
from velatura.models.starter.recipe.world.scene import Scene, Thing

_GROUND_LABEL = {
    "meadow": "grass",
    "desert": "sand",
    "snow": "earth",
    "sea": "sea",
    "table": "table",
}
_NEAR = {
    "meadow": (150, 182, 92),
    "desert": (232, 186, 116),
    "snow": (240, 243, 250),
    "table": (176, 118, 72),
}
_FAR = {
    "meadow": (172, 198, 118),
    "desert": (242, 208, 150),
    "snow": (226, 234, 246),
    "table": (196, 140, 90),
}
_SEA = {
    "day": ((116, 186, 214), (28, 98, 150)),
    "sunset": ((240, 160, 116), (82, 60, 112)),
    "night": ((48, 66, 116), (12, 20, 50)),
    "overcast": ((150, 164, 170), (84, 104, 116)),
}


def ground_depth(y: float, horizon: float) -> int:
    """Depth of the ground at height y: the disparity of a plane grows linearly to the viewer."""
    return int(np.clip(40 + 215 * (y - horizon) / (1.0 - horizon), 40, 255))


def paint_sky(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    """Paint the sky's gradient over the whole canvas."""
    size, light = canvas.size, canvas.light
    canvas.at("sky", 0, thing=False)
    place = (np.arange(size, dtype=np.float32) + 0.5) / size / horizon
    stops = np.array([light.zenith, light.middle, light.haze], np.float32)
    column = np.stack([np.interp(place, (0.0, 0.6, 1.0), stops[:, c]) for c in range(3)], 1)
    canvas.rgb[:] = column[:, None]
    if scene.time == "overcast":
        veil = cv2.blur(noise(rng, size, 7), (max(3, size // 5), max(3, size // 24)))
        canvas.rgb += veil[..., None] * 9
    for thing in scene.things:
        if thing.kind == "sun":
            radius = 0.34 if scene.time == "day" else 0.5
            canvas.glow(thing.x, thing.y, radius, light.glow, 0.45)
        if thing.kind == "moon":
            canvas.glow(thing.x, thing.y, 0.24, (120, 140, 200), 0.4)


def paint_sun(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    canvas.at("sky", 0)
    radius = thing.size / 2
    if scene.time == "sunset":
        core, rim = (255, 232, 150), (255, 128, 72)
    else:
        core, rim = (255, 244, 170), (255, 206, 74)
    canvas.fill(
        circle(thing.x, thing.y, radius * 1.28),
        canvas.light.glow,
        alpha=0.35,
        shine=True,
        line=False,
    )
    canvas.fill(circle(thing.x, thing.y, radius), core, rim, shine=True)


def paint_moon(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    canvas.at("sky", 0)
    radius = thing.size / 2
    full = rng.random() < 0.5
    if full:
        canvas.fill(circle(thing.x, thing.y, radius), (250, 246, 222), (226, 224, 206), shine=True)
        for dx, dy, r in ((-0.3, -0.2, 0.24), (0.3, 0.25, 0.2), (0.15, -0.4, 0.13)):
            spot = circle(thing.x + dx * radius, thing.y + dy * radius, r * radius)
            canvas.fill(spot, (206, 204, 192), shine=True, line=False)
        return
    turn = np.linspace(-np.pi / 2, np.pi / 2, 18)
    outer = np.stack([np.cos(turn), np.sin(turn)], 1)
    inner = np.stack([0.45 * np.cos(turn[::-1]), np.sin(turn[::-1])], 1)
    crescent = np.concatenate([outer, inner]) * radius
    if canvas.light.side < 0:
        crescent[:, 0] *= -1
    lean = rng.uniform(-0.4, 0.4)
    rotate = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    canvas.fill(
        crescent @ rotate.T + (thing.x, thing.y), (252, 246, 214), (240, 232, 196), shine=True
    )


def paint_stars(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    canvas.at("sky", 0)
    points = rng.uniform((0.03, 0.03), (0.97, 0.46), (34, 2))
    sizes = rng.uniform(0.006, 0.013, 34)
    sizes[:7] *= 1.7
    spike = np.tile([1.0, 0.34], 4)
    turn = np.arange(8) * np.pi / 4
    shape = np.stack([spike * np.cos(turn), spike * np.sin(turn)], 1)
    for point, size in zip(points, sizes, strict=True):
        canvas.fill(point + shape * size, (255, 250, 226), shine=True, line=False)


def paint_clouds(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    canvas.at("sky", 0)
    light = canvas.light
    tops = {
        "day": ((255, 255, 255), (206, 222, 238)),
        "sunset": ((255, 206, 176), (196, 116, 136)),
        "night": ((86, 98, 146), (48, 58, 104)),
        "overcast": ((196, 200, 204), (122, 130, 140)),
    }
    lit, dark = tops[scene.time]
    places = [(thing.x, thing.y, thing.size)]
    for _ in range(int(rng.integers(1, 3))):
        x = (thing.x + rng.uniform(0.32, 0.62)) % 1.0
        if any(abs(x - disc.x) < 0.26 for disc in scene.things if disc.kind in ("sun", "moon")):
            continue
        places.append((x, thing.y + rng.uniform(-0.08, 0.1), thing.size * rng.uniform(0.5, 0.75)))
    for x, y, height in places:
        width = height * rng.uniform(1.9, 2.5)
        lobes = 5
        centres = np.linspace(-0.36, 0.36, lobes) * width
        radii = np.array([0.28, 0.42, 0.52, 0.42, 0.28]) * height * rng.uniform(0.85, 1.15, lobes)
        grid = np.linspace(-0.5 * width, 0.5 * width, 56)
        inside = radii[None, :] ** 2 - (grid[:, None] - centres[None, :]) ** 2
        rise = np.sqrt(np.maximum(inside, 0)).max(1) * 1.25
        keep = rise > 0
        outline = np.concatenate(
            [
                np.stack([x + grid[keep], y + height * 0.25 - rise[keep]], 1),
                np.stack(
                    [
                        x + grid[keep][::-1],
                        y
                        + height * 0.25
                        + 0.07 * height * np.sqrt(np.maximum(rise[keep][::-1], 0)),
                    ],
                    1,
                ),
            ]
        )
        canvas.fill(outline, mix(lit, light.middle, 0.05), mix(dark, light.middle, 0.1), shine=True)


def paint_mountains(canvas: Canvas, thing: Thing, scene: Scene, rng: np.random.Generator) -> None:
    canvas.at("mountain", 28, haze=0.34 if scene.time != "night" else 0.12)
    base = thing.y
    rock = {
        "day": (110, 126, 158),
        "sunset": (132, 94, 128),
        "night": (110, 122, 160),
        "overcast": (120, 128, 138),
    }[scene.time]
    count = int(rng.integers(3, 5))
    offsets = np.linspace(-0.42, 0.42, count) + rng.uniform(-0.05, 0.05, count)
    heights = thing.size * rng.uniform(0.5, 0.78, count)
    peaks = [(thing.x + dx, h) for dx, h in zip(offsets, heights, strict=True)]
    peaks.append((thing.x, thing.size))
    for x, height in peaks:
        half = height * rng.uniform(0.9, 1.2)
        steps = np.linspace(0, 1, 7)
        rough = rng.uniform(-0.035, 0.035, (2, 7)) * np.array([0, 1, 1, 1, 1, 1, 0]) * height
        left = np.stack([x - half * (1 - steps), base - height * steps + rough[0]], 1)
        right = np.stack([x + half * steps, base - height * (1 - steps) + rough[1]], 1)
        outline = np.concatenate([left, right[1:]])
        canvas.fill(outline, rock, mix(rock, canvas.light.haze, 0.35))
        top = np.array([x, base - height])
        shade_side = -canvas.light.side
        crest = np.stack(
            [
                x + shade_side * half * np.array([0.0, 0.1, 0.06, 0.22, 0.2]),
                base - height * np.array([1.0, 0.78, 0.6, 0.36, 0.0]),
            ],
            1,
        )
        slope = right if shade_side > 0 else left[::-1]
        dark = np.concatenate([crest, slope[::-1]])
        canvas.fill(
            dark, canvas.shaded(rock), canvas.shaded(rock, 0.6), line=False, solid=False, alpha=0.8
        )
        cap = 0.32
        cut_l, cut_r = x - half * cap, x + half * cap
        y_cap = base - height * (1 - cap)
        zigzag = np.array(
            [
                (cut_l * 0.92 + x * 0.08, y_cap - 0.04 * height),
                (x - half * 0.16, y_cap - 0.1 * height),
                (x - half * 0.07, y_cap + 0.03 * height),
                (x + half * 0.05, y_cap - 0.09 * height),
                (x + half * 0.15, y_cap + 0.02 * height),
                (cut_r * 0.92 + x * 0.08, y_cap - 0.05 * height),
            ]
        )
        snow = np.concatenate([top[None], zigzag])
        canvas.fill(snow, (246, 248, 255), (226, 232, 246), line=False)
        canvas.draw(zigzag)
        # The cap has covered the peak's own outline.
        canvas.draw(np.concatenate([left[-3:], right[1:3]]))
        half_snow = (
            np.concatenate([top[None], zigzag[3:]])
            if shade_side > 0
            else np.concatenate([top[None], zigzag[:4]])
        )
        canvas.fill(half_snow, canvas.shaded((246, 248, 255)), line=False, solid=False, alpha=0.7)


def _band(rng: np.random.Generator, top: float, height: float, waves: float) -> np.ndarray:
    """A wavy band from a ridge line down to the picture's lower edge."""
    x = np.linspace(-0.02, 1.02, 40)
    phase = rng.uniform(0, 2 * np.pi, 3)
    ridge = (
        np.sin(x * waves * np.pi + phase[0])
        + 0.45 * np.sin(x * waves * 2.3 * np.pi + phase[1])
        + 0.2 * np.sin(x * waves * 5 * np.pi + phase[2])
    )
    y = top - height * (ridge / 1.65 * 0.5 + 0.5)
    return np.concatenate([np.stack([x, y], 1), [[1.02, 1.02], [-0.02, 1.02]]])


def _grade_depth(canvas: Canvas, horizon: float, before: np.ndarray) -> None:
    """Give the ground painted since `before` the depth of a plane."""
    size = canvas.size
    y = (np.arange(size) + 0.5) / size
    plane = np.clip(40 + 215 * (y - horizon) / (1 - horizon), 40, 255).astype(np.uint8)
    new = before & (canvas.touched > 127)
    canvas.depth[:] = np.where(new, plane[:, None], canvas.depth)


def paint_ground(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    """Paint everything from the horizon down that is not a thing."""
    if scene.ground == "sea":
        return _paint_sea(canvas, scene, horizon, rng)
    if scene.ground == "table":
        return _paint_table(canvas, scene, horizon, rng)
    name = scene.ground
    near, far = np.array(_NEAR[name], np.float32), np.array(_FAR[name], np.float32)
    everywhere = np.ones_like(canvas.label, bool)
    canvas.at("hill" if name == "meadow" else _GROUND_LABEL[name], 40, haze=0.3, thing=False)
    hill = mix(far, (96, 140, 110), 0.5) if name == "meadow" else mix(far, near, 0.4)
    canvas.fill(_band(rng, horizon + 0.01, 0.07, 1.6), hill, far)
    canvas.at(_GROUND_LABEL[name], 60, thing=False)
    canvas.fill(_band(rng, horizon + 0.03, 0.02, 1.2), far, near)
    _grade_depth(canvas, horizon, everywhere)
    middle = _band(rng, horizon + 0.2 + rng.uniform(-0.03, 0.05), 0.06, rng.uniform(0.8, 1.5))
    front = _band(rng, horizon + 0.4, 0.1, rng.uniform(0.7, 1.3))
    if name == "desert":
        shade = canvas.shaded(near, 0.55)
        canvas.fill(middle, mix(near, (255, 220, 150), 0.3), shade, line=False, solid=False)
        canvas.draw(middle[:40])
        canvas.fill(front, mix(near, (255, 226, 160), 0.3), mix(near, shade, 0.6), line=False)
        canvas.draw(front[:40])
        _ripples(canvas, horizon, rng, canvas.shaded(near, 0.5))
    elif name == "snow":
        shade = (204, 216, 238)
        canvas.fill(middle, (248, 250, 255), shade, line=False, solid=False)
        canvas.draw(middle[:40])
        canvas.fill(front, (252, 253, 255), mix(shade, near, 0.4), line=False, solid=False)
        canvas.draw(front[:40])
    else:
        canvas.fill(middle, mix(near, (196, 208, 110), 0.3), near, line=False, solid=False)
        canvas.fill(front, mix(near, (110, 160, 74), 0.45), (96, 146, 70), line=False, solid=False)
        canvas.draw(middle[:40])
        _tufts(canvas, horizon, rng)
    _grade_depth(canvas, horizon, everywhere)
    return None


def _tufts(canvas: Canvas, horizon: float, rng: np.random.Generator) -> None:
    light, dark = [], []
    for _ in range(46):
        y = horizon + (1 - horizon) * (0.12 + 0.86 * rng.random())
        x = rng.random()
        scale = 0.012 + 0.04 * (y - horizon)
        for lean in (-0.5, 0.0, 0.5):
            tip = (x + lean * scale * 0.7, y - scale * (1.2 - abs(lean) * 0.5))
            blade = np.array([(x - scale * 0.12, y), (x + scale * 0.12, y), tip])
            (light if lean < 0 else dark).append(blade)
    canvas.dabs(dark, (84, 134, 62), alpha=0.65)
    canvas.dabs(light, (186, 206, 108), alpha=0.55)


def _ripples(canvas: Canvas, horizon: float, rng: np.random.Generator, colour) -> None:
    dabs = []
    for _ in range(26):
        y = horizon + (1 - horizon) * (0.3 + 0.68 * rng.random())
        reach = (y - horizon) * rng.uniform(0.2, 0.5)
        dabs.append(circle(rng.random(), y, reach, 0.0035 + 0.006 * (y - horizon), 12))
    canvas.dabs(dabs, colour, alpha=0.22)


def _paint_sea(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    canvas.at("sea", 40, thing=False)
    far, near = (np.array(c, np.float32) for c in _SEA[scene.time])
    far = mix(far, canvas.light.haze, 0.3)
    edge = np.array([(-0.02, horizon), (1.02, horizon), (1.02, 1.02), (-0.02, 1.02)])
    canvas.fill(edge, far, near, shine=True)
    _grade_depth(canvas, horizon, np.ones_like(canvas.label, bool))


def paint_waves(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    """Wave glints, and the glitter below sun or moon, over the water and its reflections."""
    far, near = (np.array(c, np.float32) for c in _SEA[scene.time])
    bright, dark = [], []
    for i in range(64):
        depth = rng.random() ** 1.4
        y = horizon + (1 - horizon) * (0.03 + 0.95 * depth)
        reach = (0.012 + 0.075 * depth) * rng.uniform(0.5, 1.2)
        wave = circle(rng.random(), y, reach, 0.0022 + 0.0065 * depth, 10)
        (bright if i % 2 else dark).append(wave)
    canvas.dabs(dark, near * 0.9, alpha=0.35, shine=True)
    canvas.dabs(bright, mix(far, (255, 255, 255), 0.25), alpha=0.5, shine=True)
    for thing in scene.things:
        if thing.kind not in ("sun", "moon"):
            continue
        glitter = []
        for _ in range(46):
            depth = rng.random()
            y = horizon + (1 - horizon) * (0.01 + 0.85 * depth)
            spread = thing.size * (0.22 + 0.5 * depth)
            x = thing.x + rng.normal(0, spread * 0.6)
            glitter.append(
                circle(
                    x, y, (0.012 + 0.03 * depth) * rng.uniform(0.6, 1.4), 0.003 + 0.006 * depth, 10
                )
            )
        glow = (255, 236, 168) if thing.kind == "sun" else (226, 230, 246)
        canvas.dabs(glitter, glow, alpha=0.8, shine=True)


def _paint_table(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    canvas.at("hill", 36, haze=0.4, thing=False)
    hills = mix((120, 160, 120), canvas.light.haze, 0.2)
    canvas.fill(_band(rng, horizon - 0.02, 0.1, 1.5), hills, mix(hills, (170, 190, 150), 0.4))
    canvas.at("table", 90)
    near, far = np.array(_NEAR["table"], np.float32), np.array(_FAR["table"], np.float32)
    top = np.array([(-0.02, horizon), (1.02, horizon), (1.02, 1.02), (-0.02, 1.02)])
    canvas.fill(top, far, near)
    size = canvas.size
    y = (np.arange(size) + 0.5) / size
    plane = np.clip(110 + 145 * (y - horizon) / (1 - horizon), 110, 255).astype(np.uint8)
    inside = canvas.touched > 127
    canvas.depth[:] = np.where(inside, plane[:, None], canvas.depth)
    seam = canvas.shaded(near, 0.8) * 0.86
    # Planks run towards a vanishing point above the table.
    for i in range(-4, 6):
        x_far, x_near = 0.5 + (i - 0.5) * 0.17, 0.5 + (i - 0.5) * 0.3
        canvas.stroke(np.array([(x_far, horizon), (x_near, 1.02)]), 0.006, seam, solid=False)
        canvas.draw(np.array([(x_far, horizon), (x_near, 1.02)]), ink=150)
    rim = np.array(
        [(-0.02, horizon), (1.02, horizon), (1.02, horizon + 0.014), (-0.02, horizon + 0.014)]
    )
    canvas.fill(rim, mix(far, (255, 236, 200), 0.4), line=False, solid=False)
    grain = []
    for _ in range(30):
        y_grain = horizon + (1 - horizon) * (0.08 + 0.9 * rng.random())
        grain.append(circle(rng.random(), y_grain, rng.uniform(0.02, 0.07), 0.0025, 8))
    canvas.dabs(grain, seam, alpha=0.35)
