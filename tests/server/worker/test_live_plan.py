"""The arithmetic of live pictures: scales, crops around changes, steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from live_painting import opened
from painting import scenery
from velatura.models.families.denoiser import Prediction, Step, denoised_by
from velatura.models.samplers import make_scheduler
from velatura.protocol.messages import ACTIONS, ModelInfo
from velatura.protocol.region import Rect, Size
from velatura.server.worker.live.plan import (
    crop_around,
    make_live_plan,
    see,
    show,
    source_rect,
    to_model_rect,
)
from velatura.server.worker.live.schedule import (
    LIVE_SAMPLERS,
    CanvasNoiseSchedule,
    LiveSteps,
    kept_noise,
    noise_curve,
    step_times,
)


def model(native: int = 512) -> ModelInfo:
    return ModelInfo(
        name="tiny",
        family="sd15",
        native=native,
        multiple=8,
        largest=2 * native,
        actions=ACTIONS,
        controls=(),
        samplers=("LCM",),
        sampler="LCM",
        steps=4,
        guidance=1.0,
    )


@pytest.mark.parametrize(
    ("area", "native", "shrink", "grow", "size"),
    [
        ((512, 512), 512, 1, 1, (512, 512)),
        ((1024, 1024), 512, 2, 1, (512, 512)),
        ((600, 500), 512, 1, 1, (600, 504)),
        ((8000, 8000), 512, 13, 1, (616, 616)),
        ((1023, 700), 512, 2, 1, (512, 352)),
        ((200, 100), 512, 1, 3, (600, 304)),
        ((3000, 100), 512, 3, 1, (1000, 40)),
        ((1, 1), 512, 1, 512, (512, 512)),
    ],
)
def test_a_canvas_is_seen_at_about_the_size_that_the_model_paints_best(
    area, native, shrink, grow, size
):
    plan = make_live_plan(Size(*area), model(native))
    assert (plan.shrink, plan.grow) == (shrink, grow)
    assert (plan.size.width, plan.size.height) == size


@pytest.mark.parametrize("native", [128, 512, 1024])
def test_a_change_of_5_percent_costs_a_quarter_wherever_it_is(native):
    plan = make_live_plan(Size(native, native), model(native))
    side = int(native * 0.05**0.5)
    for x in range(0, native - side, native // 16 - 1):
        crop = crop_around(Rect(x, native - side - x, side, side), plan)
        assert crop.rect.width * crop.rect.height <= 0.25 * native**2


@pytest.mark.parametrize("native", [64, 128, 512])
def test_a_crop_holds_its_change_with_room_and_fades_to_nothing_inside_the_picture(native):
    plan = make_live_plan(Size(2 * native, native // 2 + 8), model(native))
    rng = np.random.default_rng(3)
    width, height = plan.size.width, plan.size.height
    crops = 0
    for _ in range(200):
        x, y = int(rng.integers(0, width - 2)), int(rng.integers(0, height - 2))
        rect = Rect(
            x, y, int(rng.integers(1, width - x)), min(height - y, int(rng.integers(1, 40)))
        )
        crop = crop_around(rect, plan)
        assert Rect(0, 0, width, height).contains(crop.rect)
        assert crop.rect.contains(rect)
        assert not any(n % 8 for n in (crop.rect.x, crop.rect.y, crop.rect.width, crop.rect.height))
        assert crop.shown.shape == (crop.rect.height, crop.rect.width)
        if crop.whole:
            continue
        crops += 1
        inside = crop.shown[
            rect.y - crop.rect.y : rect.bottom - crop.rect.y,
            rect.x - crop.rect.x : rect.right - crop.rect.x,
        ]
        assert inside.min() == 1
        # Where the crop ends and the picture goes on, what is new is hardly seen.
        step = 1 / 8
        if crop.rect.x > 0:
            assert crop.shown[:, 0].max() <= step
        if crop.rect.right < width:
            assert crop.shown[:, -1].max() <= step
        if crop.rect.y > 0:
            assert crop.shown[0].max() <= step
        if crop.rect.bottom < height:
            assert crop.shown[-1].max() <= step
    assert crops > 20


def test_a_large_change_repaints_everything():
    plan = make_live_plan(Size(512, 512), model())
    assert crop_around(Rect(50, 50, 400, 400), plan).whole
    assert crop_around(None, plan).whole


@pytest.mark.parametrize("area", [(512, 512), (1023, 700), (1300, 1301), (201, 99)])
def test_changed_rectangles_are_seen_and_shown_as_parts_of_the_whole(area):
    plan = make_live_plan(Size(*area), model())
    before = scenery(*area)
    all_of_it = Rect(0, 0, *area)
    whole = Rect(0, 0, plan.size.width, plan.size.height)
    seen = see(before, all_of_it, whole, plan)
    shown = np.random.default_rng(0).integers(0, 256, seen.shape).astype(np.uint8)
    _, canvas = show(shown, whole, plan)
    assert canvas.shape == (area[1], area[0], 4)
    rng = np.random.default_rng(1)
    for _ in range(20):
        x, y = int(rng.integers(0, area[0])), int(rng.integers(0, area[1]))
        change = Rect(
            x, y, int(rng.integers(1, area[0] - x + 1)), int(rng.integers(1, area[1] - y + 1))
        )
        after = before.copy()
        after[change.y : change.bottom, change.x : change.right, :3] ^= 0x55
        rect = to_model_rect(change, plan)
        source = source_rect(rect, plan)
        part = after[source.y : source.bottom, source.x : source.right]
        seen_part = seen.copy()
        seen_part[rect.y : rect.bottom, rect.x : rect.right] = see(part, source, rect, plan)
        # Vectorised resampling rounds by where a pixel lies in the array.
        assert np.abs(seen_part.astype(int) - see(after, all_of_it, whole, plan)).max() <= 1
        new = shown.copy()
        new[rect.y : rect.bottom, rect.x : rect.right] ^= 0x33
        place, pixels = show(new, rect, plan)
        pasted = canvas.copy()
        pasted[place.y : place.bottom, place.x : place.right] = pixels
        assert np.abs(pasted.astype(int) - show(new, whole, plan)[1]).max() <= 1


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("strength", [0.001, 0.4, 1.0])
def test_steps_fall_from_the_strength_to_near_nothing(steps, strength):
    times = step_times(steps, strength, 1000)
    assert len(times) == steps
    assert times[0] == max(1, round(1000 * strength) - 1)
    assert list(times) == sorted(times, reverse=True)
    assert times[-1] >= 1


@pytest.mark.parametrize("sampler", ["TCD", "DDIM"])
def test_a_step_leads_where_the_published_sampler_of_its_name_leads(sampler):
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    schedule = make_scheduler(sampler, config)
    schedule.set_timesteps(4)
    curve, _ = noise_curve(config)
    noisy, predicted = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(1))
    now, following = (int(step) for step in schedule.timesteps[:2])
    theirs = schedule.step(
        predicted, schedule.timesteps[0], noisy, generator=torch.Generator().manual_seed(1)
    ).prev_sample
    steps = [
        Step(at, 2, torch.tensor(time), *curve(time)) for at, time in enumerate((now, following))
    ]
    kept = kept_noise(curve, following, LIVE_SAMPLERS[sampler])
    clean = denoised_by("epsilon", noisy, predicted, steps[0])
    canvas = CanvasNoiseSchedule(
        LiveSteps(steps, [kept]), torch.cat([torch.zeros_like(drawn), drawn])
    )
    ours = canvas.advance(noisy, steps[0], Prediction(predicted, clean))
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_lcm_draws_all_of_its_noise_anew():
    assert kept_noise(lambda _: (0.9, 0.4), 500, LIVE_SAMPLERS["LCM"]) == 0


def test_the_starters_four_steps_are_those_it_was_distilled_at():
    assert step_times(4, 0.4, 1000) == (399, 299, 199, 99)
    assert opened().strength == 0.4
