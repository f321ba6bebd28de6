from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from painting import ask, scenery
from velatura.protocol.messages import ModelInfo
from velatura.protocol.region import Rect, Size
from velatura.server.worker.job.plan import JobPlan, make_plan, steps_run


def a_model(native: int = 512, largest: int = 1024, multiple: int = 8) -> ModelInfo:
    return ModelInfo(
        name="tiny",
        family="sd15",
        native=native,
        multiple=multiple,
        largest=largest,
        actions=("generate", "refine", "fill", "expand"),
        controls=(),
        samplers=("Euler a",),
        sampler="Euler a",
        steps=20,
        guidance=5.0,
    )


def plan_of(width: int, height: int, model: ModelInfo, **request: object) -> JobPlan:
    return make_plan(ask(scenery(width, height), **request), model, Rect(0, 0, width, height))


@pytest.mark.parametrize(
    ("region", "action", "strength", "content", "size"),
    [
        # The native size stays as it is, and so does what is nearly as large.
        ((512, 512), "fill", 1.0, (512, 512), (512, 512)),
        ((540, 500), "fill", 1.0, (540, 500), (544, 504)),
        # What is created has the native area, whatever its shape; the padding does not distort.
        ((1024, 1024), "generate", 1.0, (512, 512), (512, 512)),
        ((1500, 1000), "fill", 1.0, (627, 418), (632, 424)),
        ((100, 100), "fill", 1.0, (512, 512), (512, 512)),
        # What is only refined is not made smaller than need be, nor larger than it is.
        ((1200, 1200), "refine", 0.1, (955, 955), (960, 960)),
        ((1024, 1024), "refine", 0.5, (724, 724), (728, 728)),
        ((700, 700), "refine", 0.2, (700, 700), (704, 704)),
        # No side is longer than the model takes.
        ((1600, 100), "fill", 1.0, (1024, 64), (1024, 64)),
    ],
)
def test_the_model_sees_the_region_at_a_size_that_it_paints_well(
    region: tuple[int, int],
    action: str,
    strength: float,
    content: tuple[int, int],
    size: tuple[int, int],
) -> None:
    plan = plan_of(*region, a_model(), action=action, strength=strength)
    assert (plan.content.width, plan.content.height) == content
    assert (plan.size.width, plan.size.height) == size


def test_a_region_larger_than_the_starter_paints_is_scaled_down() -> None:
    plan = plan_of(300, 200, a_model(native=128, largest=256))
    assert plan.scale < 1
    assert plan.content == Size(157, 105)
    assert plan.size == Size(160, 112)


@given(
    width=st.integers(8, 3000),
    height=st.integers(8, 3000),
    strength=st.floats(0.01, 1),
    multiple=st.sampled_from([8, 16, 64]),
)
def test_sides_are_whole_multiples_and_padding_is_less_than_one(
    width: int, height: int, strength: float, multiple: int
) -> None:
    model = a_model(multiple=multiple)
    request = ask(
        np.zeros((1, 1, 4), np.uint8),
        canvas=Size(4000, 4000),
        region=Rect(0, 0, 1, 1),
        strength=strength,
    )
    # Only the numbers of the region matter; pictures of that size would only cost time.
    object.__setattr__(request, "region", Rect(0, 0, width, height))
    plan = make_plan(request, model, Rect(0, 0, width, height))
    for side, content in (
        (plan.size.width, plan.content.width),
        (plan.size.height, plan.content.height),
    ):
        assert side % multiple == 0
        assert 0 <= side - content < multiple
        assert content <= model.largest


@pytest.mark.parametrize(
    ("steps", "strength", "run"),
    [(20, 1, 20), (20, 0.5, 10), (20, 0.35, 7), (4, 0.2, 1), (150, 0.001, 1), (20, 0, 0)],
)
def test_the_last_part_of_the_steps_runs_and_at_least_one(
    steps: int, strength: float, run: int
) -> None:
    assert steps_run(steps, strength) == run


@pytest.mark.parametrize(
    ("action", "strength", "start"),
    [
        ("generate", 0.3, "noise"),
        ("refine", 1.0, "source"),
        ("fill", 0.9, "source"),
        ("fill", 1.0, "extension"),
        ("expand", 0.5, "extension"),
    ],
)
def test_the_action_chooses_what_the_noise_is_laid_over(
    action: str, strength: float, start: str
) -> None:
    assert plan_of(64, 64, a_model(64, 128), action=action, strength=strength).start == start


def test_guidance_of_one_and_zero_both_mean_none() -> None:
    guided = [plan_of(64, 64, a_model(), guidance=g).guided for g in (0.0, 1.0, 1.5)]
    assert guided == [False, False, True]


def test_a_plan_can_be_printed_and_compared() -> None:
    assert plan_of(64, 64, a_model()) == plan_of(64, 64, a_model())
    assert "content=Size(width=512, height=512)" in repr(plan_of(64, 64, a_model()))
