"""Prompts that name everything a scene is labelled with, for measuring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STYLE = {
    "flat": "flat illustration",
    "oil": "oil painting",
    "watercolour": "watercolour",
    "ink": "ink drawing",
    "pencil": "pencil drawing",
}
_TIME = {
    "day": "by day",
    "sunset": "at sunset",
    "night": "at night",
    "overcast": "under a grey sky",
}
_GROUND = {
    "meadow": "on a meadow",
    "desert": "in the desert",
    "snow": "in the snow",
    "sea": "at sea",
    "table": "on a wooden table",
}
_SKY = {
    "sun": "the sun",
    "moon": "the moon",
    "stars": "stars",
    "clouds": "clouds",
    "mountains": "mountains",
}
_COLOURED = {
    "house": "a house with a {colour} roof",
    "boat": "a boat with a {colour} sail",
    "lighthouse": "a {colour} and white lighthouse",
    "figure": "a figure in a {colour} coat",
    "flowers": "{colour} flowers",
}


_SEVERAL = {
    "round tree": "{number} {colour} round trees",
    "pine tree": "{number} {colour} pine trees",
    "boat": "{number} boats with {colour} sails",
}
_NUMBERS = {2: "two", 3: "three", 4: "four"}


def full_prompt(label: Mapping[str, Any], numbers: Mapping[str, int] | None = None) -> str:
    """Labels of a scene, as `world.labels` gives them, in words that leave nothing out.

    `numbers`: how many there are of a kind, where that is to be said too.
    """
    numbers = numbers or {}
    standing = [
        _noun(k, c, numbers.get(k, 1)) for k, c in label["objects"].items() if k not in _SKY
    ]
    sky = [_SKY[k] for k in label["objects"] if k in _SKY]
    first = f"{' and '.join(standing)} " if standing else ""
    scene = f"{first}{_GROUND[label['ground']]} {_TIME[label['time']]}"
    return ", ".join([_STYLE[label["style"]], scene, *sky])


def _noun(kind: str, colour: str | None, number: int) -> str:
    if number > 1 and kind in _SEVERAL:
        several = _SEVERAL[kind] if colour or kind != "boat" else "{number} boats"
        told = several.format(number=_NUMBERS[number], colour=colour or "")
        return " ".join(told.split())
    if colour is None:
        return "flowers" if kind == "flowers" else f"{_article(kind)} {kind}"
    return _COLOURED.get(kind, f"{_article(colour)} {{colour}} {kind}").format(colour=colour)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
