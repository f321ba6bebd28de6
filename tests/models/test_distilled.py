"""Models that were made to paint in a few steps are known, and offered with numbers that suit them."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from checkpoints import edit, make_sd2, put_unet
from ldm import full_size, save_sparse
from velatura.models import distilled
from velatura.models.families import single
from velatura.models.library import Library
from velatura.models.samplers import SAMPLERS
from velatura.models.starter.recipe.tiny import make_tiny


@pytest.fixture(scope="module")
def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    return {name: full_size(single.CONFIGS / name) for name in ("sd15", "sd2", "sdxl")}


def test_names_tell_what_a_model_was_distilled_by() -> None:
    failed, tried = doctest.testmod(distilled)
    assert tried > 2
    assert failed == 0


@pytest.mark.parametrize(
    ("family", "name", "sampler", "steps"),
    [
        ("sd15", "dreamshaper_8LCM", "LCM", 6),
        ("sd15", "Hyper-SD15-8steps", "DDIM SGM Uniform", 8),
        ("sdxl", "sd_xl_turbo_1.0_fp16", "Euler a SGM Uniform", 4),
        ("sdxl", "sdxl_lightning_2step", "Euler SGM Uniform", 2),
        ("sdxl", "juggernautXL_v9Rdphoto2Lightning", "Euler SGM Uniform", 4),
        ("sd15", "hyperrealism_v3", "DPM++ 2M Karras", 20),
    ],
)
def test_a_single_file_is_offered_with_its_own_numbers(
    tmp_path: Path, shapes, family: str, name: str, sampler: str, steps: int
) -> None:
    save_sparse(tmp_path / "models" / f"{name}.safetensors", shapes[family])
    (info,) = Library([tmp_path / "models"], starter=tmp_path / "none").models()
    assert (info.family, info.sampler, info.steps) == (family, sampler, steps)
    assert sampler in SAMPLERS
    few = sampler != "DPM++ 2M Karras"
    assert (info.guidance == 1) == few
    assert ("made to paint in" in info.words) == few


def test_a_makers_title_tells_it_too(tmp_path: Path, shapes) -> None:
    title = {"modelspec.title": "My Model Lightning 8 steps"}
    save_sparse(tmp_path / "models" / "a.safetensors", shapes["sdxl"], title)
    (info,) = Library([tmp_path / "models"], starter=tmp_path / "none").models()
    assert (info.sampler, info.steps) == ("Euler SGM Uniform", 8)


def test_sd_turbo_predicts_noise_at_512_whatever_its_parents_mark(tmp_path: Path, shapes) -> None:
    for name in ("sd_turbo", "other"):
        save_sparse(tmp_path / "models" / f"{name}.safetensors", shapes["sd2"] | {"v_pred": ()})
    library = Library([tmp_path / "models"], starter=tmp_path / "none")
    assert {info.name: info.native for info in library.models()} == {"other": 768, "sd_turbo": 512}
    assert library.snapshot().entry("sd_turbo").found.schedule == {}


@pytest.mark.parametrize(
    ("changes", "sampler"),
    [
        ({"_class_name": "LCMScheduler"}, "LCM"),
        ({"_class_name": "TCDScheduler"}, "TCD"),
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"},
            "Euler SGM Uniform",
        ),
        (
            {
                "_class_name": "EulerDiscreteScheduler",
                "timestep_spacing": "trailing",
                "prediction_type": "v_prediction",
            },
            "DPM++ 2M Karras",
        ),
    ],
)
def test_a_folders_scheduler_tells_it(tmp_path: Path, changes, sampler: str) -> None:
    folder = make_sd2(tmp_path / "models" / "mine")
    edit(folder / "scheduler" / "scheduler_config.json", **changes)
    (info,) = Library([tmp_path / "models"], starter=tmp_path / "none").models()
    assert info.sampler == sampler


def test_a_unet_that_is_told_the_guidance_is_lcms_own(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "models" / "mine")
    put_unet(folder, time_cond_proj_dim=8)
    (info,) = Library([tmp_path / "models"], starter=tmp_path / "none").models()
    assert (info.sampler, info.guidance) == ("LCM", 8)
