from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from painting import ask, scenery
from test_plan import a_model
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import Words
from velatura.models.library import Library
from velatura.models.samplers import SAMPLERS, make_scheduler
from velatura.protocol.region import Rect
from velatura.server.worker.errors import Cancelled, JobError
from velatura.server.worker.job.denoise import InitLatents, check_sampler, denoise
from velatura.server.worker.job.plan import JobPlan, make_plan
from velatura.server.worker.prompt.encode import embed
from velatura.server.worker.prompt.language import parse
from velatura.server.worker.sample.schedule import noise_level, renoise

SIDE = 64


@pytest.fixture(scope="module")
def loaded(tiny_folder) -> Loaded:
    library = Library([], starter=tiny_folder)
    return library.load("tiny", torch.device("cpu"), torch.float32, lambda *_: None)


def plan_of(strength: float = 1.0, steps: int = 6) -> JobPlan:
    request = ask(scenery(SIDE, SIDE), action="refine", strength=strength, steps=steps)
    return make_plan(request, a_model(SIDE, SIDE), Rect(0, 0, SIDE, SIDE))


def run(
    loaded: Loaded,
    mask: torch.Tensor | None,
    *,
    sampler: str = "Euler",
    strength: float = 1.0,
    steps: int = 6,
    seed: int = 3,
    on_step=lambda *_: None,
    **options: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the source's latents, the finished ones). ``options``: of the scheduler."""
    denoiser = loaded.denoiser
    source = denoiser.encode(scenery(SIDE, SIDE)[..., :3].astype(np.float32) / 255)
    words = Words(embed(parse("a red house"), loaded), embed(parse(""), loaded), 3.0)
    scheduler = make_scheduler(sampler, loaded.scheduler_config)
    vars(scheduler).update(options)
    init = InitLatents(source, source, mask)
    plan = plan_of(strength, steps)
    return source, denoise(denoiser, plan, scheduler, init, words, (), seed, on_step)


def columns(values: list[float]) -> torch.Tensor:
    return torch.tensor(values).repeat(8, 1)[None, None]


# Those that can hold what is outside a mask; of each solver the first, its schedules differ in the
# numbers alone.
HOLDING = [name for name, one in SAMPLERS.items() if one.anywhere]
SOLVERS = {SAMPLERS[name].scheduler: name for name in reversed(HOLDING)}.values()


# Samplers of one solver differ in their noise levels only: what begins in the middle needs one of each.
@pytest.mark.parametrize(
    ("sampler", "strength"), [*((one, 1.0) for one in HOLDING), *((one, 0.4) for one in SOLVERS)]
)
def test_where_the_mask_is_zero_the_latents_are_the_sources(
    loaded: Loaded, sampler: str, strength: float
) -> None:
    source, made = run(loaded, columns([0] * 4 + [1] * 4), sampler=sampler, strength=strength)
    assert torch.equal(made[..., :4], source[..., :4])
    assert (made[..., 4:] != source[..., 4:]).all()


@pytest.mark.parametrize("sampler", SOLVERS)
def test_a_gradient_mask_gives_monotone_change(loaded: Loaded, sampler: str) -> None:
    mask = columns([0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1])
    total = torch.zeros(8)
    for seed in range(4):
        source, made = run(loaded, mask, sampler=sampler, steps=12, seed=seed)
        total += (made - source).abs().mean((0, 1, 2))
    assert total[0] == 0
    # Random weights wander: what must rise are the means over neighbours.
    means = total.unfold(0, 3, 1).mean(-1)
    assert (means.diff() > 0).all(), total


@pytest.mark.parametrize("sampler", SOLVERS)
def test_a_full_mask_is_no_mask(loaded: Loaded, sampler: str) -> None:
    _, with_mask = run(loaded, columns([1] * 8), sampler=sampler)
    # A corrector starts again from the latents before the blend, and would undo it.
    corrected = {"disable_corrector": list(range(6))} if sampler == "UniPC" else {}
    _, without = run(loaded, None, sampler=sampler, **corrected)
    assert torch.equal(with_mask, without)


@pytest.mark.parametrize("name", ["sd15", "sd2", "sdxl", "sdxl v"])
def test_what_a_step_predicts_is_the_picture_that_the_last_one_arrives_at(
    families: dict[str, Path], name: str
) -> None:
    library = Library([], starter=families[name])
    loaded = library.load("tiny", torch.device("cpu"), torch.float32, lambda *_: None)
    predicted: list[torch.Tensor] = []
    # Euler's last step goes to what was predicted; previews show the same of the others.
    _, made = run(loaded, None, on_step=lambda _, one: predicted.append(one))
    assert len(predicted) == 6
    assert torch.allclose(predicted[-1], made, atol=1e-4)
    assert not torch.allclose(predicted[0], made, atol=1e-2)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_noise_levels_fall_from_step_to_step_to_nothing(loaded: Loaded, sampler: str) -> None:
    scheduler = make_scheduler(sampler, loaded.scheduler_config)
    scheduler.set_timesteps(6)
    levels = [noise_level(scheduler, i) for i in range(len(scheduler.timesteps) + 1)]
    sigmas = [sigma for _, sigma in levels]
    assert sigmas == sorted(sigmas, reverse=True)
    assert levels[-1] == (1.0, 0.0)
    assert sigmas[0] > 0.9
    for alpha, sigma in levels:
        assert alpha**2 + sigma**2 == pytest.approx(1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_renoise_is_what_the_scheduler_itself_would_do(loaded: Loaded, sampler: str) -> None:
    scheduler = make_scheduler(sampler, loaded.scheduler_config)
    scheduler.set_timesteps(6)
    x0, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    theirs = scheduler.add_noise(x0, noise, scheduler.timesteps[3:4])
    assert torch.allclose(renoise(x0, noise, scheduler, 3), theirs, atol=1e-5)


def test_a_sampler_with_noise_of_its_own_draws_it_by_the_seed(loaded: Loaded) -> None:
    one, again, other = (
        run(loaded, None, sampler="DPM++ SDE Karras", seed=seed)[1]
        for seed in (2**32 + 6, 2**32 + 6, 3)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_sampler_that_cannot_hold_is_refused_with_those_that_can(strength: float) -> None:
    with pytest.raises(JobError) as caught:
        check_sampler("PLMS", plan_of(strength))
    assert (caught.value.code, caught.value.field) == ("unsupported", "sampler")
    assert all(name in caught.value.message for name in HOLDING)
    assert len(caught.value.message) < 1000
    request = ask(scenery(SIDE, SIDE), action="generate")
    check_sampler("PLMS", make_plan(request, a_model(SIDE, SIDE), Rect(0, 0, SIDE, SIDE)))


def test_a_step_that_raises_ends_the_run_at_once(loaded: Loaded) -> None:
    steps = []

    def stop(done: int, _: object) -> None:
        steps.append(done)
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(loaded, None, on_step=stop)
    assert steps == [1, 2]


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "LCM"])
def test_steps_are_counted_as_the_painter_asked(loaded: Loaded, sampler: str) -> None:
    steps: list[int] = []
    run(loaded, None, sampler=sampler, strength=0.5, on_step=lambda done, _: steps.append(done))
    assert steps == [1, 2, 3]


def test_the_prediction_of_the_last_step_is_the_finished_picture(loaded: Loaded) -> None:
    seen: list[torch.Tensor] = []
    _, made = run(loaded, None, on_step=lambda _, denoised: seen.append(denoised))
    assert torch.allclose(seen[-1], made, atol=1e-3)
    assert (seen[0] - made).abs().mean() > (seen[-2] - made).abs().mean()


def test_steps_beyond_what_the_sampler_can_are_one_sentence(loaded: Loaded) -> None:
    with pytest.raises(JobError, match="steps") as caught:
        run(loaded, None, sampler="LCM", steps=60)
    assert (caught.value.code, caught.value.field) == ("invalid_field", "steps")
