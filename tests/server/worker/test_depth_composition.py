"""Depth-to-image with the starter: at strength 1 things stand where the depth has them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from painting import as_image, ask, painted
from velatura.models.depth import weighed
from velatura.models.library import Library
from velatura.models.starter.recipe.world import Picture, caption, random_scene, render
from velatura.protocol.messages import Control
from velatura.server.worker.engine import Engine

SIDE = 128
SCENES = 8
PLACES = ("left", "right", "middle", "behind", "front")
# A depth map and its mirror image that differ less have nothing to say about places.
ONE_SIDED = 4


def scenes() -> Iterator[tuple[str, Picture]]:
    """Scenes that training never saw, each with a prompt that names no place."""
    for number in itertools.count(940_000_000):
        scene = random_scene(number)
        texts = [caption(scene, 4 * number + wording) for wording in range(12)]
        silent = [text for text in texts if not any(place in text for place in PLACES)]
        picture = render(scene, size=SIDE)
        depth = picture.depth.astype(float)
        if silent and np.abs(depth - depth[:, ::-1]).mean() > ONE_SIDED:
            yield silent[0], picture


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Library([]), torch.device("cpu"), torch.float32, "CPU")


def followed(engine: Engine, weight: float) -> float:
    """Mean of how much more a picture is like its scene than like the scene's mirror image.

    Of correlations along the rows alone: that sky is above the ground says nothing about places.
    """

    def across(picture: np.ndarray) -> np.ndarray:
        rgb = picture[..., :3].astype(float)
        return (rgb - rgb.mean(1, keepdims=True)).ravel()

    def like(made: np.ndarray, scene: np.ndarray) -> float:
        return float(np.corrcoef(across(made), across(scene))[0, 1])

    white = np.full((SIDE, SIDE, 4), 255, np.uint8)
    gains = []
    for text, picture in itertools.islice(scenes(), SCENES):
        made = painted(
            engine,
            ask(
                white,
                action="generate",
                model="starter depth",
                prompt=text,
                steps=20,
                guidance=4.0,
                controls=(Control(kind="depth", picture=as_image(picture.depth), weight=weight),),
            ),
        )
        gains.append(like(made, picture.image) - like(made, picture.image[:, ::-1]))
    return float(np.mean(gains))


def test_things_stand_where_the_depth_has_them(engine: Engine) -> None:
    # On 24 scenes: 0.01 at influence 0, 0.10 at 1, 0.21 at 1.5, 0.27 at 2.
    assert followed(engine, 2.0) > max(0.15, followed(engine, 0.0) + 0.1)


def test_below_1_the_relief_is_lower_and_above_1_guidance_acts_on_it() -> None:
    depth = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)
    for weight, avoided, wanted in ((0, 0, 0), (0.5, 0.5, 0.5), (1, 1, 1), (1.5, 0, 1), (2, -1, 1)):
        assert torch.equal(weighed(depth, weight), torch.cat([avoided * depth, wanted * depth]))
