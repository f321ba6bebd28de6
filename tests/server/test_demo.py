"""The demo says it holds only when it holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from velatura.protocol.messages import ACTIONS, ModelInfo
from velatura.protocol.png_text import read_text
from velatura.server.demo.checks import failures, line_agreement, over
from velatura.server.demo.paintings import own_world, photograph, tasks
from velatura.server.demo.run import main

STARTER = ModelInfo(
    name="starter",
    family="sd15",
    native=128,
    multiple=8,
    largest=256,
    actions=ACTIONS,
    controls=("line",),
    samplers=("Euler a",),
    sampler="Euler a",
    steps=20,
    guidance=4.0,
)


@pytest.fixture(params=[own_world, photograph])
def painting(request):
    return request.param()


@pytest.fixture
def held(painting):
    """(tasks, layers, canvases after, agreement) of results that hold."""
    todo = {task.key: task for task in tasks(painting, STARTER)}
    rng = np.random.default_rng(1)
    layers = {}
    for key, task in todo.items():
        layer = np.dstack(
            [
                rng.integers(0, 256, (*task.canvas.shape[:2], 3), np.uint8),
                np.full(task.canvas.shape[:2], 255, np.uint8),
            ]
        )
        if key == "fill":
            layer[..., 3] = painting.selection
        if key == "expand":
            layer[..., 3] = 255 - task.canvas[..., 3]
        if key == "refine-40":
            layer[..., :3] = task.canvas[..., :3] // 2 + 60
        layers[key] = layer
    after = {key: over(task.canvas, layers[key], 0, 0) for key, task in todo.items()}
    return todo, layers, after, {"controlled": 0.7, "uncontrolled": 0.3}


def test_results_that_hold_give_no_sentence(painting, held):
    assert failures(painting, *held) == []


def test_one_changed_pixel_outside_the_selection_is_found(painting, held):
    y, x = np.argwhere(painting.selection == 0)[0]
    held[2]["fill"][y, x, 1] ^= 1
    assert any("1 pixels outside the selection" in line for line in failures(painting, *held))


def test_one_changed_pixel_of_the_painted_part_is_found_after_expand(painting, held):
    held[2]["expand"][3, 3, 0] ^= 1
    assert any("1 painted pixels changed" in line for line in failures(painting, *held))


def test_a_part_left_empty_is_found(painting, held):
    held[2]["expand"][5, -1, 3] = 0
    assert any("still empty" in line for line in failures(painting, *held))


def test_a_fill_that_changed_less_than_a_weak_refine_is_found(painting, held):
    held[2]["fill"] = held[0]["fill"].canvas.copy()
    assert any("fill changed the inside by 0.0" in line for line in failures(painting, *held))


def test_a_guide_without_influence_is_found(painting, held):
    held[3]["controlled"] = held[3]["uncontrolled"]
    assert any("agrees with its guide" in line for line in failures(painting, *held))


def test_a_layer_of_another_size_is_found(painting, held):
    held[1]["generate"] = held[1]["generate"][:-1]
    assert any(line.split(": ")[1] == "generate" for line in failures(painting, *held))


def test_the_selection_is_soft_and_leaves_most_of_the_picture_alone(painting):
    values = np.unique(painting.selection)
    assert {0, 255} <= set(values)
    assert len(values) > 50
    assert (painting.selection == 0).mean() > 0.5


def test_the_guided_and_the_unguided_picture_differ_in_the_guide_alone(painting):
    todo = {task.key: task.request for task in tasks(painting, STARTER)}
    guided, plain = todo["controlled"], todo["uncontrolled"]
    assert guided.controls
    assert replace(guided, job=plain.job, controls=()) == plain


def test_line_agreement_is_one_for_itself_and_allows_two_pixels():
    lines = np.zeros((64, 64), np.uint8)
    lines[20] = 255
    assert line_agreement(lines, lines) == pytest.approx(1)
    assert line_agreement(lines, np.roll(lines, 2, 0)) == pytest.approx(1)
    assert line_agreement(lines, np.roll(lines, 3, 0)) == 0
    assert line_agreement(lines, np.full_like(lines, 255)) < 0.2


def test_compositing_leaves_what_is_not_covered_bit_for_bit():
    rng = np.random.default_rng(2)
    canvas = rng.integers(0, 256, (40, 30, 4), np.uint8)
    canvas[..., 3] = 255
    layer = np.zeros((10, 10, 4), np.uint8)
    layer[2:5, 2:5] = (10, 20, 30, 255)
    result = over(canvas, layer, 4, 6)
    assert (result[8:11, 6:9] == (10, 20, 30, 255)).all()
    result[8:11, 6:9] = canvas[8:11, 6:9]
    assert (result == canvas).all()


@pytest.mark.slow
def test_the_demo_holds_with_the_starter_and_writes_what_it_says(tmp_path):
    """The whole path with the trained model: server, worker, five things on two paintings."""
    assert main(tmp_path) == 0
    with Image.open(tmp_path / "contact-sheet.png") as sheet:
        assert sheet.width > 1000
    for name in ("own-world", "photograph"):
        written = {path.name for path in (tmp_path / name).iterdir()}
        assert {"before.png", "selection.png", "fill-after.png", "expand-after.png"} <= written
        said = read_text((tmp_path / name / "fill-after.png").read_bytes())
        assert said.recipe["action"] == "fill"
        assert "Steps: " in said.parameters
