"""The quick forms of a UNet's pass give what diffusers' own call gives."""

from __future__ import annotations

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from painting import ask, make_tiny_engine, painted, rectangle, scenery
from unet_inputs import given
from velatura.models.families.unet.call import Given, plain
from velatura.protocol.messages import Control
from velatura.protocol.region import Rect
from velatura.server.worker.runtime.accelerate import accelerate
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.unet.recorded import Recorded


def test_one_recording_gives_the_same_bits_for_every_size_and_step(unet):
    recorded = accelerate(unet, Accelerations())
    assert isinstance(recorded, Recorded)
    with torch.no_grad():
        for size in ((8, 8), (6, 6), (7, 12), (9, 10)):
            one = given(unet, *size)
            later = Given(one.inputs, torch.tensor(5), one.prompt, one.labels)
            for asked in (one, later):
                assert torch.equal(recorded(asked), plain(unet)(asked))
    assert len(recorded._recordings) == 1


def test_guided_and_longer_prompts_are_recorded_too(unet):
    recorded = accelerate(unet, Accelerations())
    with torch.no_grad():
        guided = given(unet, 6, 8, pictures=2)
        assert torch.equal(recorded(guided), plain(unet)(guided))
        longer = Given(guided.inputs, guided.step, torch.cat([guided.prompt] * 2, 1), guided.labels)
        assert torch.equal(recorded(longer), plain(unet)(longer))


def test_what_controls_add_is_part_of_the_pass(tiny_folder):
    unet = UNet2DConditionModel.from_pretrained(tiny_folder / "unet").eval()
    net = ControlNetModel.from_pretrained(tiny_folder / "controlnet-line").eval()
    recorded = accelerate(unet, Accelerations())
    with torch.no_grad():
        for size in ((8, 8), (6, 7), (8, 8)):
            one = given(unet, *size)
            down, middle = net(
                one.inputs,
                one.step,
                encoder_hidden_states=one.prompt,
                controlnet_cond=torch.rand(1, 3, 8 * size[0], 8 * size[1]),
                return_dict=False,
            )
            steered = Given(one.inputs, one.step, one.prompt, {}, (*down, middle))
            assert torch.equal(recorded(steered), plain(unet)(steered))
            assert not torch.equal(recorded(steered), recorded(one))
    assert len(recorded._recordings) == 2


def test_a_large_model_is_not_recorded():
    with torch.device("meta"):
        large = UNet2DConditionModel(block_out_channels=(320, 640, 640, 640))
    assert not isinstance(accelerate(large, Accelerations()), Recorded)


@pytest.mark.parametrize(
    "more",
    [{}, {"controls": (Control(kind="canny"),)}, {"detail": "full"}],
    ids=["plain", "guided", "in two passes"],
)
def test_later_jobs_are_replayed_and_paint_the_same_pixels(tiny_folder, more):
    engine = make_tiny_engine(tiny_folder)
    picture = scenery(160, 128)
    request = ask(picture, rectangle(160, 128, Rect(20, 20, 110, 90)), guidance=4.0, **more)
    first = painted(engine, request)
    (model,) = (engine._shelf.peek(key) for key in engine._shelf if key[0] == "model")
    assert model.denoiser() is not model.loaded.denoiser
    for _ in range(2):
        assert (painted(engine, request) == first).all()
    assert model.denoiser()._run._recordings
