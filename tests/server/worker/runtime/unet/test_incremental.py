"""A part that is repainted as a part of the whole comes out as in the whole."""

from __future__ import annotations

import copy
import threading
from itertools import product

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, ControlNetModel
from live_painting import Easel, opened
from painting import scenery
from unet_inputs import HEIGHT, PARTS, WAYS, WHOLE, WIDTH, cut, given, memory_of, part_of
from velatura.models.families.unet.call import Given, plain
from velatura.protocol.messages import Control
from velatura.protocol.region import Rect
from velatura.server.worker.live.unet import model as live_model
from velatura.server.worker.live.unet.parts import times
from velatura.server.worker.runtime.unet.incremental import Incremental, layers_of
from velatura.server.worker.runtime.unet.kept import Memory
from velatura.server.worker.runtime.unet.recorded import Recorded, RecordedParts


@pytest.mark.parametrize("pictures", [1, 2])
@torch.no_grad()
def test_what_did_not_change_comes_out_as_in_the_whole_wherever_the_part_lies(unet, pictures):
    asked = given(unet, HEIGHT, WIDTH, pictures)
    before = copy.deepcopy(unet.state_dict())
    expected = plain(unet)(asked)
    memory = memory_of(unet, asked)
    for make, way in product((plain, Recorded), WAYS):
        run = make(Incremental(unet))
        assert torch.equal(run(asked), expected)
        for rect in (WHOLE, *PARTS):
            made = run(part_of(asked, rect, memory, way))
            assert torch.allclose(made, cut(expected, rect), atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in unet.state_dict().items())


@torch.no_grad()
def test_a_change_is_painted_nearly_as_in_the_whole_and_its_surroundings_are_seen(unet):
    asked = given(unet, HEIGHT, WIDTH)
    run, memory = plain(Incremental(unet)), memory_of(unet, asked)
    run(part_of(asked, WHOLE, memory))
    changed = given(unet, HEIGHT, WIDTH)
    changed.inputs[..., 9:12, 10:13] += 1
    expected = plain(unet)(changed)
    rect = Rect(8, 7, 7, 7)
    part, whole = run(part_of(changed, rect, memory)), cut(expected, rect)
    alone = plain(unet)(Given(cut(changed.inputs, rect), asked.step, asked.prompt, asked.labels))
    assert (part - whole).square().mean() < 0.1 * (alone - whole).square().mean()


@torch.no_grad()
def test_by_number_a_norm_of_large_values_in_half_precision_does_not_overflow():
    whole, rect = Rect(0, 0, 12, 10), Rect(3, 2, 6, 5)
    # Their variance is beyond the largest number of half precision.
    x = 1000 * torch.randn(1, 8, 10, 12, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Sequential(torch.nn.GroupNorm(2, 8))
    expected = net(x)
    net, x = net.half(), x.half()
    memory, part = Memory(layers_of(net, x), whole), Incremental(net)
    for asked in (whole, rect):
        made = part(cut(x, asked), **memory.told_by_number(asked)[0])
        assert torch.allclose(made.float(), cut(expected, asked), atol=1e-2)


@torch.no_grad()
def test_both_ways_to_tell_where_a_part_lies_paint_and_keep_the_same(unet):
    asked = given(unet, HEIGHT, WIDTH)
    run, memories = plain(Incremental(unet)), [memory_of(unet, asked) for _ in WAYS]
    for number, rect in enumerate((WHOLE, *PARTS)):
        asked.inputs.add_(number)
        # Another reach at a border than elsewhere would differ.
        if rect not in (PARTS[0], WHOLE):
            continue
        made = [
            run(part_of(asked, rect, memory, way))
            for memory, way in zip(memories, WAYS, strict=True)
        ]
        assert torch.allclose(*made, atol=1e-4)
    for views, numbers in zip(*(memory._kept for memory in memories), strict=True):
        assert torch.allclose(views, numbers, atol=1e-4)


@torch.no_grad()
def test_by_number_a_part_looks_alike_wherever_it_lies(unet):
    whole = Rect(0, 0, 32, 24)
    asked = given(unet, whole.height, whole.width)
    more = {"encoder_hidden_states": asked.prompt, "added_cond_kwargs": asked.labels}
    memory = Memory(layers_of(unet, asked.inputs, asked.step, **more), whole, 2, 1)
    shapes, addresses = set(), set()
    for place in ((0, 0), (8, 8), (16, 0), (16, 8)):
        first, second = memory.told_by_number(Rect(*place, 16, 16))
        shapes.add(tuple(tuple(one.shape) for one in first["places"]))
        addresses.add(tuple(one.data_ptr() for one in (*first["kept"], *second["kept"])))
    assert len(shapes) == len(addresses) == 1


@torch.no_grad()
def test_parts_that_cover_it_again_and_again_end_where_the_whole_is(unet):
    asked, other = given(unet, HEIGHT, WIDTH), given(unet, HEIGHT, WIDTH)
    other.inputs.mul_(0.5).add_(1)
    run, memory = plain(Incremental(unet)), memory_of(unet, asked)
    run(part_of(asked, WHOLE, memory))
    expected = plain(unet)(other)
    made = torch.zeros_like(expected)
    apart = []
    for _ in range(12):
        for rect in (Rect(0, 0, 24, 10), Rect(0, 10, 24, 9)):
            cut(made, rect).copy_(run(part_of(other, rect, memory)))
        apart.append(float((made - expected).abs().max()))
    assert apart[-1] < 0.02 * apart[0]


@torch.no_grad()
def test_two_threads_may_run_it_at_once(unet):
    asked = given(unet, HEIGHT, WIDTH)
    net, memories = Incremental(unet), [memory_of(unet, asked) for _ in "ab"]
    run, begun, go_on, made = plain(net), threading.Event(), threading.Event(), []

    def pause(*_):
        if threading.current_thread() is thread:
            begun.set()
            go_on.wait(30)

    net.net.conv_in.register_forward_hook(pause)
    thread = threading.Thread(target=lambda: made.append(run(part_of(asked, WHOLE, memories[0]))))
    thread.start()
    begun.wait(30)
    made.append(run(part_of(asked, WHOLE, memories[1])))
    go_on.set()
    thread.join()
    assert torch.equal(*made)


@torch.no_grad()
def test_a_part_smaller_than_a_layers_weights_copies_none_of_them(unet):
    asked = given(unet, HEIGHT, WIDTH)
    run, memory = plain(Incremental(unet)), memory_of(unet, asked)
    run(part_of(asked, WHOLE, memory))
    with torch.profiler.profile(record_shapes=True) as seen:
        run(part_of(asked, Rect(3, 5, 2, 2), memory))
    copied = [event.input_shapes[0] for event in seen.events() if event.name == "aten::copy_"]
    assert not [shape for shape in copied if shape[-2:] == [3, 3] and shape[0] > 4]


@pytest.mark.parametrize("end", ["encoder", "decoder"])
@torch.no_grad()
def test_one_recording_of_an_autoencoders_end_serves_every_part(end):
    widths = {f"{one}_block_out_channels": (8, 8, 8, 8) for one in ("encoder", "decoder")}
    tiny = AutoencoderTiny(**widths).eval()
    net, scale, channels = getattr(tiny, end), *((8, 3) if end == "encoder" else (1, 4))
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, channels, scale * HEIGHT, scale * WIDTH, generator=generator)
    layers = layers_of(net, picture)
    made = []
    for run in (Incremental(net), RecordedParts(Incremental(net))):
        memory = Memory(layers, times(WHOLE, scale))
        for number, part in enumerate((WHOLE, *PARTS)):
            rect = times(part, scale)
            made.append(run(cut(picture, rect) + number, **memory.told(rect)[0]))
    half = len(made) // 2
    for plain_one, recorded in zip(made[:half], made[half:], strict=True):
        assert torch.allclose(plain_one, recorded, atol=1e-6)
    assert len(run._recordings) == 1


@torch.no_grad()
def test_a_controlnet_sees_the_rest_of_its_map(tiny_folder):
    net = ControlNetModel.from_pretrained(tiny_folder / "controlnet-line").eval()
    asked = given(net, HEIGHT, WIDTH)
    drawn = torch.rand(1, 3, 8 * HEIGHT, 8 * WIDTH, generator=torch.Generator().manual_seed(0))
    named = {"encoder_hidden_states": asked.prompt, "return_dict": False}
    down, middle = net(asked.inputs, asked.step, **named, controlnet_cond=drawn)
    memory = Memory(layers_of(net, asked.inputs, asked.step, **named, controlnet_cond=drawn), WHOLE)
    incremental = Incremental(net)
    for rect in (WHOLE, Rect(4, 4, 8, 8)):
        pixels = Rect(8 * rect.x, 8 * rect.y, 8 * rect.width, 8 * rect.height)
        (told,) = memory.told(rect)
        made = incremental(
            cut(asked.inputs, rect), asked.step, **named, controlnet_cond=cut(drawn, pixels), **told
        )
        for part, whole in zip((*made[0], made[1]), (*down, middle), strict=True):
            scale = whole.shape[-1] / WIDTH
            there = Rect(*(round(scale * n) for n in (rect.x, rect.y, rect.width, rect.height)))
            if rect == WHOLE:
                there = Rect(0, 0, whole.shape[-1], whole.shape[-2])
            assert torch.allclose(part, cut(whole, there), atol=1e-4)


@pytest.mark.parametrize("given_map", [True, False])
def test_a_small_change_under_a_control_repaints_a_crop(engine, given_map):
    from painting import as_image

    lines = np.zeros((48, 128), np.uint8)
    lines[:, 60:64] = 255
    control = Control(kind="line", picture=as_image(lines) if given_map else None)
    easel = Easel(opened(128, 48, controls=(control,)), scenery(128, 48), engine)
    easel.key()
    easel.paint()
    before = easel.shown.copy()
    easel.brush(Rect(20, 20, 6, 6))
    result = easel.paint()
    assert result.picture.width <= 32
    changed = (easel.shown != before).any(-1)
    assert changed[20:26, 20:26].mean() > 0.9
    engine.close_live(easel.canvas.job)


def test_where_too_much_would_be_kept_every_picture_is_painted_whole(engine, monkeypatch):
    shown = []
    for most in (live_model._MOST_KEPT, 1000):
        monkeypatch.setattr(live_model, "_MOST_KEPT", most)
        easel = Easel(opened(128, 48), scenery(128, 48), engine)
        easel.key()
        easel.paint()
        easel.brush(Rect(20, 20, 6, 6))
        result = easel.paint()
        assert (result.picture.width == 128) == (most == 1000)
        shown.append(easel.shown)
        engine.close_live(easel.canvas.job)
    assert np.abs(shown[0].astype(int) - shown[1]).mean() < 3
