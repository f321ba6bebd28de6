"""Scenes in words: many wordings of the same facts, some of them left out."""

from __future__ import annotations

import random
import re

from velatura.models.starter.recipe.world.scene import COLOURS, OBJECTS, SKY_OBJECTS, Scene, Thing

_STYLE = {
    "flat": (
        "flat illustration",
        "flat drawing",
        "simple illustration",
        "flat colour illustration",
    ),
    "oil": ("oil painting", "painting in oil", "oil on canvas", "oil painting"),
    "watercolour": ("watercolour", "watercolour painting", "watercolor painting", "watercolor"),
    "ink": ("ink drawing", "pen and ink drawing", "ink and wash drawing"),
    "pencil": ("pencil drawing", "coloured pencil drawing", "pencil sketch"),
}
_TIME = {
    "day": ("by day", "in daylight", "on a clear day", "under a blue sky", "during the day"),
    "sunset": ("at sunset", "in the evening light", "at sunset", "under a sunset sky"),
    "night": ("at night", "by night", "under a night sky", "at night"),
    "overcast": (
        "on an overcast day",
        "under a grey sky",
        "under an overcast sky",
        "in grey light",
    ),
}
_GROUND = {
    "meadow": ("on a meadow", "on a green meadow", "in a meadow", "on the meadow"),
    "desert": ("in the desert", "in a sandy desert", "in a desert", "on desert sand"),
    "snow": ("in the snow", "in a snowy landscape", "on snow", "in a field of snow"),
    "sea": ("at sea", "on the sea", "on the water", "at sea"),
    "table": ("on a table", "on a wooden table", "on the table"),
}
_SCENERY = {
    "meadow": ("a meadow", "a green meadow"),
    "desert": ("the desert", "a sandy desert"),
    "snow": ("a snowy landscape", "a field of snow"),
    "sea": ("the sea", "the water"),
    "table": ("a table", "a wooden table"),
}
_SKY = {
    "sun": ("the sun", "the sun in the sky", "the sun shining", "sun"),
    "moon": ("the moon", "the moon in the sky", "moonlight", "a moon"),
    "stars": ("stars", "stars in the sky", "a starry sky", "many stars"),
    "clouds": ("clouds", "clouds in the sky", "a few clouds"),
    "mountains": ("mountains", "mountains in the distance", "mountains behind", "snowy mountains"),
}
_ARTICLE = {"apple": "an", "orange": "an"}
_PLURAL = {"round tree": "round trees", "pine tree": "pine trees", "boat": "boats"}
_PLAIN = {"figure": ("figure", "person", "figure"), "boat": ("boat", "sailing boat")}
_COLOURED = {
    "house": ("{a} {kind} with a {colour} roof", "a {colour} roofed {kind}"),
    "boat": ("{a} {kind} with a {colour} sail", "{a} {kind} with {colour} sails"),
    "lighthouse": ("a {colour} and white {kind}", "a {colour} {kind}"),
    "flowers": ("{colour} {kind}",),
    "figure": ("{a} {kind} in a {colour} coat", "{a} {kind} wearing {colour}"),
}
_COLOURED_PLURAL = {"boat": "{count} {kind} with {colour} sails"}
_SIDE = {
    "left": ("on the left", "to the left", "on the left side"),
    "right": ("on the right", "to the right", "on the right side"),
    "middle": ("in the middle", "in the middle", "in the centre"),
}
_RELATION = {
    "behind": ("behind the {other}",),
    "front": ("in front of the {other}",),
    "left": ("left of the {other}", "to the left of the {other}"),
    "right": ("right of the {other}", "to the right of the {other}"),
}
_COUNT = {2: "two", 3: "three", 4: "four"}
_JOINS = ("with", "and", "of", "a", "an", "the", "over")
_MOST_WORDS = 29


def _spoken(*tables) -> set[str]:
    words: set[str] = set()
    for table in tables:
        values = table.values() if isinstance(table, dict) else table
        for value in values:
            for text in (value,) if isinstance(value, str) else value:
                words.update(re.sub(r"\{\w+\}", " ", text).split())
    return words


VOCABULARY: tuple[str, ...] = tuple(
    sorted(
        _spoken(_STYLE, _TIME, _GROUND, _SCENERY, _SKY, _PLURAL, _PLAIN, _COLOURED, _SIDE)
        | _spoken(_RELATION, _COUNT, _JOINS, _COLOURED_PLURAL)
        | {word for name in (*OBJECTS, *COLOURS) for word in name.split()}
    )
)


def _side(thing: Thing) -> str:
    return "left" if thing.x < 0.38 else "right" if thing.x > 0.62 else "middle"


def _noun(rng: random.Random, group: list[Thing], coloured: bool) -> tuple[str, str]:
    """(noun phrase, bare noun) of things of one kind."""
    kind, colour = group[0].kind, group[0].colour
    bare = rng.choice(_PLAIN.get(kind, (kind,)))
    if len(group) > 1:
        count = _COUNT[len(group)] if rng.random() < 0.8 else ""
        plural = _PLURAL[kind]
        if colour and coloured:
            pattern = _COLOURED_PLURAL.get(kind, "{count} {colour} {kind}")
            return pattern.format(count=count, colour=colour, kind=plural).strip(), plural
        return f"{count} {plural}".strip(), plural
    article = _ARTICLE.get(bare, "a")
    if kind == "flowers":
        return (f"{colour} flowers" if coloured else "flowers"), "flowers"
    if colour and coloured:
        pattern = rng.choice(_COLOURED.get(kind, ("{a} {colour} {kind}",)))
        first = "an" if colour == "orange" and pattern.startswith("{a} {colour}") else article
        if pattern.startswith("{a} {colour}") and colour != "orange":
            first = "a"
        phrase = pattern.format(a=first, colour=colour, kind=bare)
        return phrase.replace("a orange", "an orange"), bare
    return f"{article} {bare}", bare


def _place(rng: random.Random, thing: Thing, named: list[tuple[Thing, str]]) -> str:
    """Where a thing is: by another thing that was named, or by the picture's side."""
    relations = []
    for other, noun in named:
        dx, dn = thing.x - other.x, thing.near - other.near
        if abs(dx) < 0.22 and abs(dn) > 0.15:
            relations.append(("behind" if dn < 0 else "front", noun))
        elif abs(dx) > 0.22:
            relations.append(("left" if dx < 0 else "right", noun))
    if relations and rng.random() < 0.5:
        relation, noun = rng.choice(relations)
        return rng.choice(_RELATION[relation]).format(other=noun)
    return rng.choice(_SIDE[_side(thing)])


def _with_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def caption(scene: Scene, seed: int) -> str:
    """One way to say what the scene shows: lower case, under 30 words, true but not complete."""
    rng = random.Random(f"caption {scene.seed} {seed}")
    while True:
        text = _say(rng, scene)
        if len(text.replace(",", " ").split()) <= _MOST_WORDS:
            return text


def _say(rng: random.Random, scene: Scene) -> str:
    groups: dict[str, list[Thing]] = {}
    for thing in scene.things:
        if thing.kind not in SKY_OBJECTS:
            groups.setdefault(thing.kind, []).append(thing)
    order = list(groups.values())
    rng.shuffle(order)
    sky = [thing.kind for thing in scene.things if thing.kind in SKY_OBJECTS]
    rng.shuffle(sky)
    sky = [rng.choice(_SKY[kind]) for kind in sky if rng.random() < 0.85]

    phrases, named = [], []
    for i, group in enumerate(order):
        if i and rng.random() < 0.1:
            continue
        noun, bare = _noun(rng, group, rng.random() < 0.9)
        place = ""
        if len(group) == 1 and group[0].kind != "bridge" and rng.random() < 0.6:
            place = _place(rng, group[0], named)
        phrases.append((noun, place))
        if len(group) == 1:
            named.append((group[0], bare))

    style = rng.choice(_STYLE[scene.style]) if rng.random() < 0.9 else ""
    time = rng.choice(_TIME[scene.time]) if rng.random() < 0.93 else ""
    if not phrases or rng.random() < 0.12:
        subject = rng.choice(_SCENERY[scene.ground])
        rest = [" ".join(filter(None, phrase)) for phrase in phrases]
    else:
        ground = rng.choice(_GROUND[scene.ground]) if rng.random() < 0.93 else ""
        (noun, place), *others = phrases
        subject = " ".join(filter(None, (noun, ground, place)))
        rest = [" ".join(filter(None, phrase)) for phrase in others]
    rest += sky

    form = rng.random()
    if form < 0.55:
        head = f"{_with_article(style)} of {subject}" if style else subject
        if style and rng.random() < 0.6:
            head = f"{style} of {subject}"
        head = f"{head} {time}".strip()
        if rest and rng.random() < 0.4:
            head = f"{head} with {rest[0]}"
            rest = rest[1:]
        return ", ".join((head, *rest))
    if form < 0.8:
        parts = [subject, *rest, time]
        if rng.random() < 0.5:
            parts = [f"{subject} {time}".strip(), *rest]
        return ", ".join(filter(None, (*parts, style)))
    parts = [f"{subject} {time}".strip(), *rest]
    if len(parts) > 1 and rng.random() < 0.5:
        parts[-2:] = [f"{parts[-2]} and {parts[-1]}"]
    return ", ".join(filter(None, (style, *parts)))
