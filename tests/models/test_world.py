"""The starter model's world: what the pictures, maps and captions promise to training."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from velatura.models.starter.recipe.world import (
    COLOURS,
    GROUNDS,
    OBJECTS,
    PALETTE,
    STYLES,
    TIMES,
    VOCABULARY,
    Scene,
    Thing,
    caption,
    disturb_line,
    labels,
    random_scene,
    render,
)

SEEDS = range(700, 724)


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [random_scene(seed) for seed in range(1500)]


def _scene_with(kind: str, ground: str | None = None, **changes) -> Scene:
    for seed in range(5000):
        scene = random_scene(seed)
        kinds = [thing.kind for thing in scene.things]
        if kind in kinds and ground in (None, scene.ground):
            return dataclasses.replace(scene, **changes)
    raise AssertionError(f"no scene with {kind}")


def test_the_same_seed_gives_the_same_scene_picture_and_caption():
    for seed in SEEDS:
        assert random_scene(seed) == random_scene(seed)
        first, second = render(random_scene(seed), 64), render(random_scene(seed), 64)
        for name in ("image", "depth", "segmentation", "line"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert caption(random_scene(seed), 3) == caption(random_scene(seed), 3)


def test_a_picture_without_maps_is_the_same_picture():
    scene = random_scene(5)
    bare = render(scene, 64, maps=False)
    np.testing.assert_array_equal(bare.image, render(scene, 64).image)
    assert bare.depth is None
    assert bare.segmentation is None
    assert bare.line is None


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_has_the_same_composition_at_every_size(style: str):
    for seed in SEEDS:
        scene = dataclasses.replace(random_scene(seed), style=style)
        small, large = render(scene, 128), render(scene, 256)
        shrunk = cv2.resize(large.image, (128, 128), interpolation=cv2.INTER_AREA)
        a, b = (cv2.GaussianBlur(image, (0, 0), 2).astype(float) for image in (small.image, shrunk))
        assert np.abs(a - b).mean() < 6
        same = (large.segmentation[::2, ::2] == small.segmentation).all(2)
        assert same.mean() > 0.96
        assert np.abs(large.depth[::2, ::2].astype(float) - small.depth).mean() < 5


def test_maps_have_the_public_shapes_and_types():
    picture = render(random_scene(1), 96)
    assert picture.image.shape == picture.segmentation.shape == (96, 96, 3)
    assert picture.depth.shape == picture.line.shape == (96, 96)
    assert {a.dtype for a in vars(picture).values()} == {np.dtype(np.uint8)}


def test_depth_is_black_in_the_sky_and_lighter_towards_the_viewer():
    for seed in SEEDS:
        picture = render(random_scene(seed), 96)
        sky = (picture.segmentation == PALETTE["sky"]).all(2)
        assert sky.any()
        assert picture.depth[sky].max() == 0
        assert picture.depth[~sky].min() > 0
        rows = picture.depth.mean(1)
        assert rows[-1] > rows[72] > rows[0]


def test_a_nearer_thing_is_lighter_in_depth_than_a_farther_one():
    near = Thing("house", "red", 0.25, 0.85, 0.3, 0.8)
    far = Thing("house", "red", 0.75, 0.62, 0.2, 0.1)
    depth = render(Scene("day", "meadow", "flat", (far, near), 3), 128).depth
    assert depth[100, 32] > depth[75, 96] > 0


def test_segmentation_uses_the_palette_only_and_names_what_stands_there():
    known = {tuple(colour) for colour in PALETTE.values()}
    classes = {"house": "house", "boat": "boat", "figure": "person", "pine tree": "tree"}
    for kind, name in classes.items():
        found = render(_scene_with(kind), 128).segmentation.reshape(-1, 3)
        colours, counts = np.unique(found, axis=0, return_counts=True)
        shares = dict(zip(map(tuple, colours.tolist()), counts / counts.sum(), strict=True))
        assert set(shares) <= known
        assert shares[PALETTE[name]] > 0.006


def test_the_line_map_is_white_on_black_and_follows_the_outlines():
    scene = Scene("day", "meadow", "flat", (Thing("boat", "red", 0.5, 0.8, 0.4, 0.6),), 3)
    picture = render(scene, 128)
    assert 0.01 < (picture.line > 127).mean() < 0.2
    boat = (picture.segmentation == PALETTE["boat"]).all(2).astype(np.uint8)
    edge = boat - cv2.erode(boat, np.ones((3, 3), np.uint8))
    drawn = cv2.dilate(picture.line, np.ones((3, 3), np.uint8)) > 127
    assert drawn[edge > 0].mean() > 0.9


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_object_is_composed_and_changes_the_picture(kind: str):
    scene = _scene_with(kind, style="flat")
    without = tuple(thing for thing in scene.things if thing.kind != kind)
    picture = render(scene, 128).image.astype(int)
    plain = render(dataclasses.replace(scene, things=without), 128).image.astype(int)
    changed = np.abs(picture - plain).max(2) > 24
    assert changed.mean() > (0.0015 if kind == "stars" else 0.006)


def test_every_time_ground_style_and_colour_occurs(scenes: list[Scene]):
    assert {scene.time for scene in scenes} == set(TIMES)
    assert {scene.ground for scene in scenes} == set(GROUNDS)
    assert {scene.style for scene in scenes} == set(STYLES)
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.kind for thing in things} == set(OBJECTS)
    assert {thing.colour for thing in things} == {None, *COLOURS}


def test_scenes_differ_from_seed_to_seed(scenes: list[Scene]):
    assert len({dataclasses.replace(scene, seed=0) for scene in scenes}) == len(scenes)


def test_lights_stand_in_their_own_skies_and_boats_only_at_sea(scenes: list[Scene]):
    for scene in scenes:
        kinds = {thing.kind for thing in scene.things}
        assert "sun" not in kinds or scene.time in ("day", "sunset")
        assert not kinds & {"moon", "stars"} or scene.time == "night"
        assert "boat" not in kinds or scene.ground == "sea"


def test_things_of_one_kind_share_their_colour_and_stand_inside_the_picture(scenes: list[Scene]):
    for scene in scenes:
        told = labels(scene)["objects"]
        for thing in scene.things:
            assert told[thing.kind] == thing.colour
            assert 0 <= thing.x <= 1
            assert 0 <= thing.y <= 1


def test_a_figure_carries_eighteen_key_points_inside_its_silhouette():
    scene = _scene_with("figure")
    figure = next(thing for thing in scene.things if thing.kind == "figure")
    assert len(figure.pose) == 18
    alone = dataclasses.replace(scene, things=(figure,))
    person = (render(alone, 256).segmentation == PALETTE["person"]).all(2)
    inside = [person[min(int(y * 256), 255), min(int(x * 256), 255)] for x, y in figure.pose]
    assert sum(inside) >= 16


def test_the_roof_is_painted_in_its_colour():
    means = {}
    for colour in ("red", "blue", "green", "yellow"):
        house = Thing("house", colour, 0.5, 0.82, 0.4, 0.6)
        image = render(Scene("day", "meadow", "flat", (house,), 3), 128).image.astype(int)
        means[colour] = image[56:74, 44:84].reshape(-1, 3).mean(0)
    assert means["red"].argmax() == 0
    assert means["green"].argmax() == 1
    assert means["blue"].argmax() == 2
    assert means["yellow"][:2].min() > means["yellow"][2] + 40


def test_every_caption_is_short_and_within_the_vocabulary(scenes: list[Scene]):
    known = set(VOCABULARY)
    for scene in scenes:
        for seed in range(3):
            words = _words(caption(scene, seed))
            assert 0 < len(words) < 30
            assert set(words) <= known


def test_captions_name_only_what_is_there(scenes: list[Scene]):
    for scene in scenes:
        told = labels(scene)
        text = caption(scene, scene.seed)
        objects = set(told["objects"])
        for kind in set(OBJECTS) - {"figure", "sun", "orange", "moon", "stars"}:
            stem = kind.rstrip("s")
            assert (stem not in _words(text) and f" {kind}" not in text) or kind in objects
        colours = {colour for colour in told["objects"].values() if colour} | {"green", "blue"}
        # A lighthouse is also white, and an orange is a fruit.
        free = {"white"} if "lighthouse" in objects else set()
        free |= {"orange"} if "orange" in objects else set()
        assert set(_words(text)) & set(COLOURS) <= colours | free


def test_places_in_captions_are_true():
    left = Thing("house", "red", 0.2, 0.75, 0.3, 0.5)
    scene = Scene("day", "meadow", "flat", (left,), 3)
    said = [caption(scene, seed) for seed in range(200)]
    assert any("left" in text for text in said)
    assert not any("right" in text or "middle" in text or "centre" in text for text in said)
    tree = Thing("pine tree", None, 0.3, 0.65, 0.4, 0.1)
    pair = dataclasses.replace(scene, things=(tree, left))
    said = [caption(pair, seed) for seed in range(300)]
    assert any("pine tree behind the house" in text for text in said)
    assert any("in front of the pine tree" in text for text in said)
    assert not any("behind the pine tree" in text for text in said)


def test_captions_of_one_scene_vary_in_wording_and_leave_facts_out():
    scene = _scene_with("house", ground="meadow")
    said = {caption(scene, seed) for seed in range(60)}
    assert len(said) > 50
    assert len({len(_words(text)) for text in said}) > 5


def test_a_disturbed_line_map_stays_a_line_map_of_the_same_drawing():
    line = render(random_scene(20), 128).line
    near = cv2.dilate(line, np.ones((11, 11), np.uint8)) > 60
    seen = set()
    for seed in range(40):
        drawn = disturb_line(line, np.random.default_rng(seed))
        assert drawn.shape == line.shape
        assert drawn.dtype == np.uint8
        assert drawn.max() > 100
        assert (drawn[~near] < 60).mean() > 0.99
        seen.add(drawn.tobytes())
    assert len(seen) > 25
