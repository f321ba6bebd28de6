"""What a scene is, and how one is composed from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

TIMES = ("day", "sunset", "night", "overcast")
GROUNDS = ("meadow", "desert", "snow", "sea", "table")
STYLES = ("flat", "oil", "watercolour", "ink", "pencil")
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "white")
SKY_OBJECTS = ("sun", "moon", "stars", "clouds", "mountains")
FRUIT = ("apple", "pear", "orange", "bowl")
OBJECTS = (
    *SKY_OBJECTS,
    "round tree",
    "pine tree",
    "house",
    "boat",
    "bridge",
    "lighthouse",
    "flowers",
    "figure",
    *FRUIT,
)

# Which colours a thing may have: the roof of a house, the sail of a boat, the stripes of a
# lighthouse, the coat of a figure. A thing that is not listed has its natural colour only.
COLOURS_OF: dict[str, tuple[str | None, ...]] = {
    "round tree": (None, None, None, "orange", "red", "yellow"),
    "house": ("red", "blue", "green", "yellow", "orange", "purple"),
    "boat": ("red", "blue", "green", "yellow", "orange", "purple", "white"),
    "lighthouse": ("red", "red", "blue", "green"),
    "flowers": ("red", "yellow", "white", "purple", "orange", "blue"),
    "figure": ("red", "blue", "green", "yellow", "orange", "purple", "white"),
    "apple": ("red", "green", "yellow"),
    "pear": ("green", "yellow"),
    "bowl": ("white", "blue", "red", "green", "purple"),
}

# Kinds and weights of what stands on each ground.
_ON: dict[str, dict[str, float]] = {
    "meadow": {
        "house": 4,
        "round tree": 3,
        "pine tree": 2.5,
        "flowers": 3.2,
        "figure": 2.5,
        "bridge": 0.9,
        "lighthouse": 1,
    },
    "desert": {"house": 3, "figure": 3, "round tree": 2, "flowers": 1, "pine tree": 1},
    "snow": {"house": 3.5, "pine tree": 4, "figure": 2.5, "lighthouse": 1, "bridge": 0.7},
    "sea": {"boat": 5, "lighthouse": 2, "bridge": 0.9},
    "table": {"apple": 3, "pear": 2.5, "orange": 2.5, "bowl": 2.5},
}

# Height in picture units for a thing at middle distance.
_HEIGHT = {
    "round tree": 0.38,
    "pine tree": 0.42,
    "house": 0.31,
    "boat": 0.36,
    "bridge": 0.2,
    "lighthouse": 0.52,
    "flowers": 0.22,
    "figure": 0.36,
    "apple": 0.24,
    "pear": 0.31,
    "orange": 0.23,
    "bowl": 0.22,
}

# Half the width as a share of the height, to keep things in the picture and in sight.
_HALF_WIDTH = {
    "round tree": 0.36,
    "pine tree": 0.27,
    "house": 0.68,
    "boat": 0.42,
    "bridge": 0.0,
    "lighthouse": 0.16,
    "flowers": 0.8,
    "figure": 0.2,
    "apple": 0.5,
    "pear": 0.36,
    "orange": 0.5,
    "bowl": 0.92,
}

# Stances of the figure as OpenPose-18 key points: x right, y up, in units of its height, from
# the point between its feet. Order: nose, neck, right shoulder, elbow, wrist, left shoulder,
# elbow, wrist, right hip, knee, ankle, left hip, knee, ankle, right eye, left eye, ears.
_HEAD = ((-0.02, 0.92), (0.02, 0.92), (-0.05, 0.91), (0.05, 0.91))
_TORSO = ((0.0, 0.89), (0.0, 0.79), (-0.11, 0.78), (0.11, 0.78), (-0.07, 0.46), (0.07, 0.46))
_ARMS = {
    "down": ((-0.15, 0.62), (-0.15, 0.46), (0.15, 0.62), (0.15, 0.46)),
    "waving": ((-0.24, 0.86), (-0.22, 1.03), (0.15, 0.62), (0.15, 0.46)),
    "raised": ((-0.22, 0.9), (-0.27, 1.06), (0.22, 0.9), (0.27, 1.06)),
    "swinging": ((-0.17, 0.63), (-0.28, 0.54), (0.17, 0.62), (0.1, 0.47)),
    "akimbo": ((-0.25, 0.65), (-0.1, 0.53), (0.25, 0.65), (0.1, 0.53)),
}
_LEGS = {
    "standing": ((-0.07, 0.24), (-0.08, 0.02), (0.07, 0.24), (0.08, 0.02)),
    "walking": ((-0.11, 0.25), (-0.2, 0.03), (0.1, 0.25), (0.14, 0.0)),
    "wide": ((-0.12, 0.24), (-0.15, 0.01), (0.12, 0.24), (0.15, 0.01)),
}

Pose = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Thing:
    """One thing in a scene; all lengths in picture units (0..1 of the picture's side).

    x, y: the foot's middle for what stands on the ground, the centre for what hangs in the sky
    (for mountains: the peak's x and the foot's y). size: the height. near: 0 (at the horizon or
    beyond) to 1 (at the lower edge). colour: one of COLOURS, or None for the natural colour.
    pose: 18 (x, y) key points in OpenPose order and picture units, for a figure only.
    """

    kind: str
    colour: str | None
    x: float
    y: float
    size: float
    near: float
    pose: Pose | None = None


@dataclass(frozen=True)
class Scene:
    """A composition. The seed decides what the fields leave open (hills, leaves, brush strokes)."""

    time: str
    ground: str
    style: str
    things: tuple[Thing, ...]
    seed: int


def horizon(scene: Scene) -> float:
    """Height of the horizon (or of the table's far edge) from the top, in picture units."""
    return _horizon(scene.seed, scene.ground)


def _horizon(seed: int, ground: str) -> float:
    share = random.Random(f"horizon {seed}").random()
    return 0.56 + 0.06 * share if ground == "table" else 0.5 + 0.12 * share


def foot(seed: int, ground: str, near: float) -> float:
    """The y at which a thing of this nearness stands, in picture units."""
    top = _horizon(seed, ground)
    return top + (0.06 + 0.84 * near) * (1.0 - top)


def _pose(rng: random.Random, x: float, y: float, size: float) -> Pose:
    arms = _ARMS[rng.choice(tuple(_ARMS))]
    legs = _LEGS[rng.choice(tuple(_LEGS))]
    nose, neck, r_shoulder, l_shoulder, r_hip, l_hip = _TORSO
    points = (
        *(nose, neck, r_shoulder, *arms[:2], l_shoulder, *arms[2:]),
        *(r_hip, *legs[:2], l_hip, *legs[2:], *_HEAD),
    )
    side = rng.choice((-1, 1))
    if side < 0:
        # A mirrored body swaps left and right, so that the names stay true.
        swap = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
        points = tuple((-points[i][0], points[i][1]) for i in swap)
    return tuple((x + dx * size, y - dy * size) for dx, dy in points)


def _thing(
    rng: random.Random, seed: int, ground: str, kind: str, colour: str | None, x: float, near: float
) -> Thing:
    y = foot(seed, ground, near)
    size = _HEIGHT[kind] * (0.72 + 0.62 * near) * rng.uniform(0.94, 1.1)
    if kind == "boat":
        size *= rng.uniform(0.85, 1.05)
    size = min(size, y - 0.04)
    margin = min(0.9 * _HALF_WIDTH[kind] * size, 0.3)
    x = min(max(x, margin), 1 - margin)
    pose = _pose(rng, x, y, size) if kind == "figure" else None
    return Thing(kind, colour, x, y, size, near, pose)


def _colour(rng: random.Random, kind: str, ground: str) -> str | None:
    choices = COLOURS_OF.get(kind, (None,))
    if kind == "flowers" and ground == "desert":
        choices = tuple(c for c in choices if c not in ("yellow", "orange"))
    if kind == "figure" and ground == "snow":
        choices = tuple(c for c in choices if c != "white")
    return rng.choice(choices)


def _pick(rng: random.Random, weights: dict[str, float], count: int) -> list[str]:
    left, picked = dict(weights), []
    for _ in range(min(count, len(left))):
        kind = rng.choices(tuple(left), tuple(left.values()))[0]
        picked.append(kind)
        del left[kind]
    return picked


def _sky(rng: random.Random, time: str, ground: str, seed: int) -> list[Thing]:
    top = _horizon(seed, ground)
    things = []
    x = rng.choice((rng.uniform(0.14, 0.36), rng.uniform(0.64, 0.86)))
    if rng.random() < 0.4:
        height = rng.uniform(0.2, 0.32)
        things.append(
            Thing("mountains", None, rng.uniform(0.2, 0.8), top + 0.015, height, 0.0, None)
        )
    if time == "night":
        if rng.random() < 0.65:
            size = rng.uniform(0.12, 0.17)
            things.append(Thing("moon", None, x, rng.uniform(0.13, 0.24), size, 0.0))
        if rng.random() < 0.6:
            things.append(Thing("stars", None, 0.5, 0.25, 0.5, 0.0))
    if time == "day" and rng.random() < 0.55:
        size = rng.uniform(0.12, 0.16)
        things.append(Thing("sun", None, x, rng.uniform(0.13, 0.22), size, 0.0))
    if time == "sunset" and rng.random() < 0.65:
        # Not behind the mountains, or nobody could see it.
        low = top - rng.uniform(0.1, 0.24)
        if things and abs(x - things[0].x) < 0.45:
            low = top - things[0].size - rng.uniform(0.02, 0.07)
        things.append(Thing("sun", None, x, low, rng.uniform(0.15, 0.2), 0.0))
    if rng.random() < (0.3 if time == "night" else 0.45):
        centre = 1.0 - x + rng.uniform(-0.08, 0.08)
        things.append(
            Thing("clouds", None, centre, rng.uniform(0.14, 0.26), rng.uniform(0.12, 0.17), 0.0)
        )
    return things


def _standing(rng: random.Random, ground: str, seed: int) -> list[Thing]:
    count = rng.choices((1, 2, 3, 4), (0.28, 0.42, 0.22, 0.08))[0]
    if ground in ("sea", "table"):
        count = min(count, 3)
    kinds = _pick(rng, _ON[ground], count)
    if ground == "table" and "bowl" in kinds:
        # The bowl is the widest: it is placed first, where there is most room.
        kinds.sort(key=lambda kind: kind != "bowl")
    things = []
    places = [0.2, 0.5, 0.8]
    rng.shuffle(places)
    if "bridge" in kinds:
        kinds.remove("bridge")
        near = rng.uniform(0.1, 0.22)
        things.append(_thing(rng, seed, ground, "bridge", None, rng.uniform(0.44, 0.56), near))
        places = [0.15, 0.85] if rng.random() < 0.5 else [0.85, 0.15]
        kinds = kinds[:2]
    for i, kind in enumerate(kinds):
        colour = _colour(rng, kind, ground)
        low, high = (0.3, 0.62) if ground == "table" else (0.15, 0.7)
        if kind == "flowers":
            low, high = 0.62, 0.88
        if kind in ("lighthouse", "house"):
            high = 0.5
        crossing = bool(things) and things[0].kind == "bridge"
        if (
            things
            and not crossing
            and ground != "table"
            and (i >= len(places) or rng.random() < 0.25)
        ):
            # Behind or in front of the first thing, far enough aside to be seen.
            first = things[-1]
            x = first.x + rng.choice((-1, 1)) * rng.uniform(0.15, 0.21)
            x = min(max(x, 0.12), 0.88)
            near = first.near + (-0.3 if first.near > 0.42 else 0.3)
            if kind == "flowers":
                near = max(near, 0.65)
            near = min(max(near, 0.05), 0.9)
        else:
            x = places[i % len(places)] + rng.uniform(-0.06, 0.06)
            near = rng.uniform(low, high)
        things.append(_thing(rng, seed, ground, kind, colour, x, near))
        if kind in ("round tree", "pine tree", "boat") and len(kinds) <= 2 and rng.random() < 0.3:
            for _ in range(rng.choice((1, 1, 2))):
                aside = x + rng.choice((-1, 1)) * rng.uniform(0.2, 0.36)
                if 0.1 < aside < 0.9 and all(abs(aside - t.x) > 0.19 for t in things):
                    closer = min(max(near + rng.uniform(-0.15, 0.15), 0.05), 0.75)
                    things.append(_thing(rng, seed, ground, kind, colour, aside, closer))
    return things


def box(thing: Thing) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a thing in picture units; about so for what has no outline of its own."""
    if thing.kind in ("sun", "moon", "stars", "clouds"):
        high = thing.size / 2
        wide = 1.1 * thing.size if thing.kind == "clouds" else high
        return thing.x - wide, thing.y - high, thing.x + wide, thing.y + high
    if thing.kind == "bridge":
        half = 0.3
    else:
        half = thing.size * (1.0 if thing.kind == "mountains" else _HALF_WIDTH[thing.kind])
    return thing.x - half, thing.y - thing.size, thing.x + half, thing.y


def _in_sight(things: list[Thing]) -> bool:
    """Whether no thing is hidden by more than about a third by another one in front of it."""
    solid = [thing for thing in things if thing.kind in (*_HALF_WIDTH, "sun", "moon")]
    for thing in solid:
        x0, y0, x1, y1 = box(thing)
        area = (x1 - x0) * (y1 - y0)
        covered = 0.0
        for other in solid:
            if other is thing or other.y <= thing.y or other.kind == "bridge":
                continue
            u0, v0, u1, v1 = box(other)
            wide, high = min(x1, u1) - max(x0, u0), min(y1, v1) - max(y0, v0)
            covered += max(wide, 0.0) * max(high, 0.0)
        if covered > 0.36 * area:
            return False
    return True


def random_scene(seed: int) -> Scene:
    """The scene of this seed (any integer); the same seed always gives the same scene."""
    rng = random.Random(f"scene {seed}")
    time = rng.choice(TIMES)
    ground = rng.choices(GROUNDS, (0.28, 0.15, 0.19, 0.24, 0.14))[0]
    style = rng.choices(STYLES, (0.3, 0.3, 0.16, 0.12, 0.12))[0]
    sky = _sky(rng, time, ground, seed)
    if ground == "table":
        sky = [thing for thing in sky if thing.kind != "mountains" or rng.random() < 0.5]
    things = _standing(rng, ground, seed)
    while not _in_sight([*sky, *things]):
        things = _standing(rng, ground, seed)
    things.sort(key=lambda thing: thing.near)
    return Scene(time, ground, style, (*sky, *things), seed)


def labels(scene: Scene) -> dict:
    """What is true of the scene and can be seen in its picture.

    {"time", "ground", "style": names; "objects": {kind: colour or None}}; things of one kind
    share their colour.
    """
    objects = {thing.kind: thing.colour for thing in scene.things}
    return {"time": scene.time, "ground": scene.ground, "style": scene.style, "objects": objects}
