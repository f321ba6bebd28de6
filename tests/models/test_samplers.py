"""The sampler table."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
from ldm import full_size, save_sparse
from velatura.models.errors import ModelError
from velatura.models.families.single import CONFIGS
from velatura.models.library import Library
from velatura.models.samplers import SAMPLERS, make_scheduler, samplers_for

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


def sample(sampler: str, config: dict, target: torch.Tensor, steps: int = 20) -> torch.Tensor:
    """What the sampler arrives at with a model that always sees ``target`` in the noise."""
    scheduler = make_scheduler(sampler, config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(target.shape, generator=generator) * scheduler.init_noise_sigma
    levels = scheduler.alphas_cumprod
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(latents, t)
        low = int(t)
        high = min(low + 1, len(levels) - 1)
        noise = (1 - levels) / levels
        sigma = (
            noise[low].sqrt() + (noise[high].sqrt() - noise[low].sqrt()) * (float(t) - low)
        ).item()
        # A level of no signal at all has no finite noise; it lies on a whole step.
        alpha = levels[low].item() if low == float(t) else 1 / (1 + sigma**2)
        epsilon = (seen - alpha**0.5 * target) / (1 - alpha) ** 0.5
        predicted = alpha**0.5 * epsilon - (1 - alpha) ** 0.5 * target
        output = predicted if config["prediction_type"] == "v_prediction" else epsilon
        takes_noise = "generator" in inspect.signature(scheduler.step).parameters
        extra = {"generator": generator} if takes_noise else {}
        latents = scheduler.step(output, t, latents, **extra).prev_sample
    return latents


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_every_sampler_arrives_at_the_picture_that_the_model_sees(sampler, prediction):
    target = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    result = sample(sampler, {**SCHEDULE, "prediction_type": prediction}, target)
    # DDIM and LCM land on the first training step, which still holds 3 % of noise.
    assert (result - target).abs().mean() < 0.05


ZERO_SNR = {**SCHEDULE, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize("sampler", samplers_for(ZERO_SNR))
def test_every_sampler_honours_a_terminal_signal_to_noise_ratio_of_zero(sampler, steps):
    scheduler = make_scheduler(sampler, ZERO_SNR)
    scheduler.set_timesteps(steps)
    # The first step sees no signal, so it is the very last one of training.
    assert scheduler.timesteps[0] >= 998
    assert scheduler.alphas_cumprod[-1] < 1e-7
    between = make_scheduler("Euler", ZERO_SNR).alphas_cumprod[:-1]
    assert torch.allclose(scheduler.alphas_cumprod[:-1], between, atol=1e-6)
    target = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert (sample(sampler, ZERO_SNR, target, steps) - target).abs().mean() < 0.05


def test_a_sampler_that_cannot_is_not_offered_for_such_a_model(tmp_path):
    refused = set(SAMPLERS) - set(samplers_for(ZERO_SNR))
    assert refused == {"Euler Beta", "DPM++ 2M Beta", "DPM++ 2M SDE Beta", "Heun Beta"}
    assert samplers_for(SCHEDULE) == tuple(SAMPLERS)
    told = full_size(CONFIGS / "sdxl") | {"v_pred": (0,), "ztsnr": (0,)}
    save_sparse(tmp_path / "noob.safetensors", told)
    (info,) = Library([tmp_path], starter=tmp_path / "none").models()
    assert (info.sampler, info.samplers) == ("Euler", samplers_for(ZERO_SNR))


def test_a_painters_choice_is_not_changed_by_the_sampler_that_the_checkpoint_was_saved_with():
    saved = {
        **SCHEDULE,
        "_class_name": "DPMSolverMultistepScheduler",
        "use_karras_sigmas": True,
        "algorithm_type": "sde-dpmsolver++",
        "timestep_spacing": "trailing",
        "steps_offset": 1,
    }
    for name in SAMPLERS:
        here, there = make_scheduler(name, SCHEDULE), make_scheduler(name, saved)
        here.set_timesteps(8)
        there.set_timesteps(8)
        assert torch.equal(here.timesteps, there.timesteps)
        assert {k: v for k, v in here.config.items() if k[0] != "_"} == {
            k: v for k, v in there.config.items() if k[0] != "_"
        }


def test_karras_changes_the_noise_levels():
    plain, karras = (make_scheduler(name, SCHEDULE) for name in ("DPM++ 2M", "DPM++ 2M Karras"))
    plain.set_timesteps(10)
    karras.set_timesteps(10)
    assert not torch.allclose(plain.sigmas, karras.sigmas)


def test_a_few_step_model_begins_at_the_last_training_step_unless_the_painter_chose_a_spacing():
    for name in SAMPLERS:
        few, plain = (make_scheduler(name, SCHEDULE, trailing=t) for t in (True, False))
        for scheduler in (few, plain):
            scheduler.set_timesteps(4)
        if "Karras" in name or "Exponential" in name or "Beta" in name:
            assert torch.equal(few.timesteps, plain.timesteps)
        assert float(few.timesteps[0]) > 990, name


@pytest.mark.parametrize("name", ["", "euler", "../Euler", "Euler\nDDIM"])
def test_an_unknown_sampler_gets_the_list_of_those_that_there_are(name):
    with pytest.raises(ModelError) as caught:
        make_scheduler(name, SCHEDULE)
    assert caught.value.field == "sampler"
    assert caught.value.code == "unsupported"
    assert all(known in caught.value.message for known in SAMPLERS)
    assert "\n" not in caught.value.message


def test_the_table_is_read_without_torch():
    code = "import sys, velatura.models.samplers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta_start", "0.00085"),
        ("beta_start", 0),
        ("beta_end", float("nan")),
        ("beta_end", 1e300),
        ("beta_schedule", "cosine-ish"),
        ("beta_schedule", ["linear"]),
        ("num_train_timesteps", 0),
        ("num_train_timesteps", 10**4000),
        ("num_train_timesteps", 999.5),
        ("num_train_timesteps", True),
        ("trained_betas", []),
        ("trained_betas", [0.1, "x"]),
        ("trained_betas", {"a": 1}),
        ("prediction_type", "guess"),
        ("prediction_type", None),
        ("rescale_betas_zero_snr", "yes"),
    ],
)
def test_a_scheduler_config_that_cannot_be_right_is_told_with_its_field(name, value):
    with pytest.raises(ModelError) as refused:
        make_scheduler("Euler a", {name: value})
    assert refused.value.code == "unsupported"
    assert f"{name} must be" in refused.value.message
    assert len(refused.value.message) < 300
