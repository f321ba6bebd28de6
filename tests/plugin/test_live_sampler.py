"""Live paints a few-step model in the way that it was made to be sampled."""

from __future__ import annotations

import pytest
from velatura.krita_plugin.state import Settings
from velatura.models.distilled import by_names
from velatura.protocol.style import Style
from velatura.server.worker.live.schedule import LIVE_SAMPLERS


@pytest.mark.parametrize(
    ("model", "sampler"),
    [
        ("my-tcd-model", "TCD"),
        ("dreamshaper_8LCM", "LCM"),
        ("sdxl_lightning_4step", "Euler"),
        ("Hyper-SD15-8steps", "DDIM"),
        ("sd_xl_turbo", "LCM"),
    ],
)
def test_a_few_step_model_brings_its_own_sampler_to_live(model, sampler):
    few = by_names([model])
    assert few is not None
    assert Settings().live_sampler(few.sampler) == sampler
    assert sampler in LIVE_SAMPLERS


def test_other_models_have_lcm_and_a_style_has_the_last_word():
    assert Settings().live_sampler("DPM++ 2M Karras") == "LCM"
    # Of a model that was not made for few steps.
    assert Settings().live_sampler("Euler") == "LCM"
    styled = Settings(style=Style(name="ink", live_sampler="DDIM"))
    assert styled.live_sampler("TCD") == "DDIM"
