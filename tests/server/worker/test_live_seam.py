"""A stroke on a canvas of the starter's: what is repainted around it is not to be seen as a rectangle."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from live_painting import Easel, opened
from velatura.models import library
from velatura.models.starter.recipe.world import caption, random_scene, render
from velatura.protocol.region import Rect
from velatura.server.worker.engine import Engine

SIDE = 152
# x, y, the number of the scene.
STROKES = ((70, 20, 0), (30, 60, 1), (84, 84, 2), (12, 96, 3), (60, 60, 4), (96, 20, 5))


@pytest.fixture(scope="module")
def painted():
    """For each stroke where the new pixels lie, and the pictures: before, after it, and painted anew."""
    engine = Engine(library.Library([]), torch.device("cpu"), torch.float32, "CPU")
    made = []
    for x, y, number in STROKES:
        scene = random_scene(960_000_000 + number)
        rgb = cv2.resize(render(scene, 128, maps=False).image, (SIDE, SIDE))
        picture = np.dstack([rgb, np.full((SIDE, SIDE), 255, np.uint8)])
        words = {"model": "starter", "prompt": caption(scene, 0), "strength": 0.4}
        easel = Easel(opened(SIDE, SIDE, **words), picture, engine)
        easel.key()
        easel.paint()
        before = easel.shown[..., :3].astype(float)
        easel.brush(Rect(x, y, 34, 10), (200, 60, 40, 255))
        part = easel.paint()
        again = Easel(opened(SIDE, SIDE, **words), easel.picture, engine)
        again.key()
        again.paint()
        place = Rect(part.x, part.y, part.picture.width, part.picture.height)
        made.append((place, before, easel.shown[..., :3].astype(float), again.shown[..., :3]))
        for one in (easel, again):
            engine.close_live(one.canvas.job)
    return made


def _step(picture: np.ndarray, place: Rect) -> float:
    """Mean colour step across the border of ``place``, of 255."""
    rows, columns = slice(place.y, place.bottom), slice(place.x, place.right)
    steps = [
        *(np.abs(picture[rows, x] - picture[rows, x - 1]) for x in (place.x, place.right)),
        *(np.abs(picture[y, columns] - picture[y - 1, columns]) for y in (place.y, place.bottom)),
    ]
    return float(np.mean([step.mean() for step in steps]))


def test_no_step_at_any_rectangle_around_the_stroke_is_larger_than_in_a_whole_picture(painted):
    worst = []
    for place, _, part, whole in painted:
        rings = [
            Rect(place.x + by, place.y + by, place.width - 2 * by, place.height - 2 * by)
            for by in range(8)
        ]
        worst.append(max(_step(part, ring) - _step(whole.astype(float), ring) for ring in rings))
    assert np.mean(worst) < 1


def test_the_part_is_as_light_and_as_coloured_as_in_a_whole_picture(painted):
    shifts, changes = [], []
    for place, before, part, whole in painted:
        inside = (slice(place.y, place.bottom), slice(place.x, place.right))
        shifts.append(np.abs((part - whole)[inside].mean((0, 1))).max())
        changes.append(np.abs((whole - before)[inside].mean((0, 1))).max())
    assert np.mean(shifts) < 0.35 * np.mean(changes)


def test_the_stroke_is_answered_as_in_a_whole_picture_and_the_rest_stays_as_it_was(painted):
    along = of = 0.0
    for place, before, part, whole in painted:
        away = np.abs(part - before).max(-1) > 0
        away[place.y : place.bottom, place.x : place.right] = False
        assert not away.any()
        along += float(((part - before) * (whole - before)).sum())
        of += float(((whole - before)[place.y : place.bottom, place.x : place.right] ** 2).sum())
    assert along > 0.7 * of
