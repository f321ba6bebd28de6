"""Prepared passes: eager until warm, made in a thread of their own, and never waited for."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from live_painting import Easel, opened
from lora_files import make_lora, parts_of
from painting import ask, make_tiny_engine, painted, rectangle, scenery
from velatura.models.families.unet.call import Given, plain
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol.messages import Control, LiveSettings
from velatura.protocol.region import Rect
from velatura.server.worker.live.unet import model as live_model
from velatura.server.worker.residency import loaded_model
from velatura.server.worker.runtime.cuda_graphs import compiled
from velatura.server.worker.runtime.static_inputs import Captured, rehearsal
from velatura.server.worker.runtime.switches import COMPILED
from velatura.server.worker.runtime.unet.incremental import Incremental, layers_of
from velatura.server.worker.runtime.unet.kept import Memory
from velatura.server.worker.runtime.warmup import Stage, Warmed, load_weights, shape_of


@pytest.fixture
def counters():
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    return counters


@pytest.fixture(scope="module")
def unet(tiny_folder):
    return UNet2DConditionModel.from_pretrained(tiny_folder / "unet").eval().requires_grad_(False)


def given(unet, height: int, width: int, batch: int = 1) -> Given:
    generator = torch.Generator().manual_seed(height)
    inputs = torch.randn(batch, 4, height, width, generator=generator)
    prompt = torch.randn(batch, 40, unet.config.cross_attention_dim, generator=generator)
    return Given(inputs, torch.tensor(399), prompt)


class Small(torch.nn.Module):
    """Called as a UNet is, and compiled in a second."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, sample, timestep, encoder_hidden_states, return_dict):
        return (self.layer(sample) * timestep + encoder_hidden_states.mean(),)


class Workshop:
    """Makes prepared passes by ``compile``, when it is let to; remembers who used and made them."""

    def __init__(self, run, compile=lambda run: run) -> None:
        self.made: list[object] = []
        self.used: list[object] = []
        self.threads: set[str] = set()
        self.open = threading.Event()
        self._run, self._compile = run, compile

    def __call__(self, example: Given):
        self.open.wait(30)
        self.threads.add(threading.current_thread().name)
        run, shape = self._compile(self._run), shape_of(example)
        captured = Captured(example, lambda given: captured_on_a_cpu(run, given))
        self.made.append(shape)

        def prepared(asked: Given) -> torch.Tensor:
            self.used.append(shape)
            return captured(asked)

        return prepared


def captured_on_a_cpu(run, given: Given):
    """As CUDA captures it: later it runs on the very tensors of ``given``, and now on none that matter."""
    output = run(rehearsal(given))
    return lambda: output.copy_(run(given)), output


@torch.no_grad()
def test_a_pass_is_eager_until_it_is_compiled_and_then_takes_weights_where_they_lie():
    mine, other = Small(), Small()
    run = plain(mine)
    # The real compiler, without the last stage that needs another compiler.
    workshop = Workshop(run, lambda run: compiled(run, backend="eager"))
    warmed = Warmed(run, [Stage(workshop)])
    one = Given(torch.randn(1, 4, 8, 8), torch.tensor(399), torch.randn(1, 40, 8))
    expected = run(one)
    assert torch.equal(warmed(one), expected)
    assert (workshop.used, warmed.progress) == ([], (0, 1))
    workshop.open.set()
    warmed.wait()
    assert torch.equal(warmed(one), expected)
    assert workshop.used == workshop.made == [shape_of(one)]
    assert threading.current_thread().name not in workshop.threads
    load_weights(mine, other)
    first = warmed(one)
    assert torch.equal(first, plain(other)(one))
    assert len(workshop.used) == 2
    warmed(replace(one, inputs=one.inputs + 1))
    assert torch.equal(first, plain(other)(one))
    warmed.close()


@torch.no_grad()
def test_compiled_passes_over_the_whole_and_over_parts_keep_what_eager_ones_keep(unet, counters):
    whole, part = Rect(0, 0, 24, 16), Rect(8, 8, 8, 8)
    asked = given(unet, whole.height, whole.width)
    layers = layers_of(unet, asked.inputs, asked.step, encoder_hidden_states=asked.prompt)
    run = plain(Incremental(unet))
    # The real compiler, without the last stage that needs another compiler; in one piece or not at all.
    made = compiled(run, backend="aot_eager", fullgraph=True)
    memories = [Memory(layers, whole, 2, 1) for _ in "ab"]
    for rect in (whole, part):
        inputs = asked.inputs[..., rect.y : rect.bottom, rect.x : rect.right].contiguous()
        for step in range(2):
            eager, other = (
                form(replace(asked, inputs=inputs + step, **memory.told_by_number(rect)[step]))
                for form, memory in zip((run, made), memories, strict=True)
            )
            assert torch.allclose(eager, other, atol=1e-5)
        asked.inputs.mul_(0.5)
    for one, other in zip(*(memory._kept for memory in memories), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 2


@torch.no_grad()
def test_every_shape_is_compiled_however_many_come(counters):
    run = compiled(plain(Small()), backend="eager")
    warmed = Warmed(run, [Stage(lambda example: (run(example), run)[1])])
    wanted = [
        Given(torch.randn(1, 4, 8, side), torch.tensor(1), torch.randn(1, 40, 8))
        for side in range(8, 20)
    ]
    warmed.want(wanted)
    warmed.wait()
    assert counters["stats"]["unique_graphs"] == len(wanted)
    warmed.close()


@torch.no_grad()
def test_a_later_stage_takes_the_place_of_an_earlier_one_unless_it_fails(unet):
    made = []

    def stage(number):
        def prepare(example: Given):
            made.append((number, example.inputs.shape[-1]))
            if made[-1] == (1, 12):
                raise RuntimeError("no such kernel")
            return lambda asked: asked.inputs * 0 + number

        return prepare

    warmed = Warmed(plain(unet), [Stage(stage(0)), Stage(stage(1), name=COMPILED)])
    wanted = [given(unet, 8, 8), given(unet, 8, 12)]
    warmed.want(wanted)
    warmed.wait()
    assert made == [(0, 8), (0, 12), (1, 8), (1, 12)]
    assert [float(warmed(one).max()) for one in wanted] == [1, 0]
    assert warmed.progress == (4, 4)
    warmed.close()


@torch.no_grad()
def test_what_comes_unasked_is_prepared_when_it_has_come_often_enough(unet):
    made = []
    warmed = Warmed(plain(unet), [Stage(lambda one: made.append(shape_of(one)) or plain(unet), 3)])
    often, once = given(unet, 8, 8), given(unet, 8, 12)
    for asked in (often, once, often):
        warmed(asked)
    warmed.wait()
    assert not made
    warmed(often)
    warmed.wait()
    assert made == [shape_of(often)]
    warmed.close()


def test_ordinary_jobs_are_painted_by_prepared_passes_when_they_come_again(
    tiny_folder, monkeypatch
):
    workshops = []

    def accelerate_job(unet, _):
        run = plain(Incremental(unet))
        workshops.append(Workshop(run))
        workshops[-1].open.set()
        return Warmed(run, [Stage(workshops[-1], 15)])

    monkeypatch.setattr(loaded_model, "accelerate_job", accelerate_job)
    engine = make_tiny_engine(tiny_folder)
    picture = scenery(96, 96)
    request = ask(picture, rectangle(96, 96, Rect(20, 20, 40, 40)), guidance=4.0, steps=10)
    first = painted(engine, request)
    for turn in range(3):
        assert (painted(engine, request) == first).all()
        if turn:  # enough have come
            engine.wait_until_prepared()
    (workshop,) = workshops
    assert 10 <= len(workshop.used) < 30
    engine._shelf.clear()


def test_shapes_are_told_apart_by_bucket_batch_prompt_and_controls(unet):
    one = given(unet, 8, 8)
    others = [
        given(unet, 8, 12),
        given(unet, 8, 8, batch=2),
        replace(one, prompt=torch.cat([one.prompt] * 2, 1)),
        replace(one, residuals=(torch.zeros(1, 16, 8, 8),)),
        replace(one, inputs=one.inputs.to(torch.bfloat16)),
    ]
    assert len({shape_of(given) for given in (one, *others)}) == 6
    assert shape_of(one) == shape_of(replace(one, step=torch.tensor(1)))


@torch.no_grad()
def test_what_is_wanted_beforehand_is_made_in_that_order_and_once(unet):
    workshop = Workshop(plain(unet))
    workshop.open.set()
    warmed = Warmed(plain(unet), [Stage(workshop)])
    wanted = [given(unet, 8, side) for side in (16, 8, 12)]
    warmed.want([*wanted, wanted[0]])
    warmed.wait()
    assert workshop.made == [shape_of(one) for one in wanted]
    assert warmed.progress == (3, 3)
    warmed.close()


@torch.no_grad()
@pytest.mark.parametrize("reason", ["fails", "no room"])
def test_what_cannot_be_prepared_stays_eager_and_is_tried_once(unet, reason):
    tried = []

    def prepare(example: Given):
        tried.append(example)
        raise RuntimeError("no such kernel")

    warmed = Warmed(plain(unet), [Stage(prepare)], lambda: reason != "no room")
    one = given(unet, 8, 8)
    for _ in range(3):
        assert torch.equal(warmed(one), plain(unet)(one))
        warmed.wait()
    assert len(tried) == (reason == "fails")
    assert warmed.progress == (1, 1)
    warmed.close()


class Eager(Warmed):
    """Runs as they are the passes that others prepare."""

    def is_ready(self, given: Given) -> bool:
        return True


LINE = (Control(kind="line"), Control(kind="canny", start=0.5))


@pytest.mark.parametrize(
    "more", [{}, {"controls": LINE, "guidance": 2.0, "steps": 2}], ids=["plain", "guided"]
)
def test_live_paints_parts_by_prepared_passes_and_meanwhile_whole_and_says_how_far_it_is(
    tiny_folder, monkeypatch, more
):
    runs, steps = [], more.get("steps", 4)

    def accelerate(unet, _):
        run = plain(Incremental(unet))
        runs.append((Eager(run, []), Workshop(run)))
        if len(runs) == 2:
            runs[1] = Warmed(run, [Stage(runs[1][1])]), runs[1][1]
        return runs[-1][0]

    monkeypatch.setattr(live_model, "accelerate", accelerate)
    engines = [make_tiny_engine(tiny_folder) for _ in "ab"]
    picture = scenery(160, 120)
    easels = [Easel(opened(160, 120, **more), picture, engine) for engine in engines]
    notes = []
    monkeypatch.setattr(easels[1], "_take", _noting(easels[1]._take, notes))
    for easel in easels:
        easel.key()
        easel.paint()
    warmed, workshop = runs[1]
    assert any("quicker" in note for note in notes)
    easels[1].brush(Rect(140, 100, 6, 6))
    assert easels[1].paint().picture.width == 160
    workshop.open.set()
    warmed.wait()
    assert not workshop.used
    easels[0].brush(Rect(140, 100, 6, 6))
    for easel in easels:
        # Both begin anew: one had painted the stroke as a part.
        easel.canvas.change(LiveSettings(job=easel.canvas.job, prompt="a boat", seed=5, **more))
        easel.paint()
    notes.clear()
    for place in ((20, 20), (150, 100), (70, 60)):
        results = []
        for easel in easels:
            easel.brush(Rect(*place, 6, 6))
            results.append(easel.paint())
        assert results[0].picture.width == results[1].picture.width < 160
        assert (easels[0].shown == easels[1].shown).all()
    # No shape came that had not been asked for, and all the steps were prepared ones.
    assert len(workshop.used) == 4 * steps
    assert warmed.progress[0] == len(workshop.made)
    assert not notes
    # Other settings of the same shapes, another canvas beside it: what is kept is whose painted last.
    other = Easel(opened(160, 120, **more), picture, engines[1])
    other.key()
    other.paint()
    for x, one, is_whole in ((5, easels[1], True), (15, easels[1], False), (25, other, True)):
        one.brush(Rect(x, 80, 6, 6))
        assert (one.paint().picture.width == 160) == is_whole
    settings = LiveSettings(job=easels[1].canvas.job, prompt="a blue boat", seed=3, **more)
    easels[1].canvas.change(settings)
    easels[1].paint()
    assert len(workshop.used) == 9 * steps
    # Other shapes: what was prepared for these is let go, and what is kept.
    larger = Easel(opened(200, 200, **more), scenery(200, 200), engines[1])
    larger.key()
    larger.paint()
    warmed.wait()
    for one, is_whole in ((easels[1], True), (larger, False)):
        one.brush(Rect(50, 50, 6, 6))
        assert (one.paint().picture.width == one.picture.shape[1]) == is_whole
    warmed.close()


def test_a_lora_is_swapped_without_preparing_anything_again(tmp_path, monkeypatch):
    folder = make_tiny(tmp_path / "tiny")
    for seed, name in enumerate(("ink", "chalk")):
        make_lora(folder / f"lora-{name}.safetensors", parts_of(folder), "kohya", seed=seed)
    workshops = []

    def accelerate(unet, _):
        run = plain(Incremental(unet))
        workshops.append(Workshop(run))
        workshops[-1].open.set()
        return Warmed(run, [Stage(workshops[-1])])

    monkeypatch.setattr(live_model, "accelerate", accelerate)
    engine = make_tiny_engine(folder)
    easel = Easel(opened(64, 64, prompt="a house <lora:ink:1>"), scenery(64, 64), engine)
    easel.key()
    easel.paint()
    engine.wait_until_prepared()
    with_ink, used = easel.shown.copy(), len(workshops[0].used)
    chalk = "a house <lora:chalk:1>"
    easel.canvas.change(LiveSettings(job=easel.canvas.job, prompt=chalk, seed=7))
    easel.paint()
    assert len(workshops) == 1
    assert len(workshops[0].used) == used + 4
    fresh = Easel(opened(64, 64, prompt=chalk), scenery(64, 64), make_tiny_engine(folder))
    fresh.key()
    fresh.paint()
    assert (easel.shown == fresh.shown).all()
    assert (easel.shown != with_ink).any()


def _noting(take, notes):
    def noted(message) -> None:
        if getattr(message, "stage", "") == "preparing" and "quicker" in message.note:
            notes.append(message.note)
        take(message)

    return noted
