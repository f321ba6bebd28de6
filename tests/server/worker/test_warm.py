"""Prepared passes: eager until warm, made in a thread of their own, and never waited for."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from live_painting import Easel, opened
from lora_files import make_lora, parts_of
from painting import make_tiny_engine, scenery
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol.messages import LiveSettings
from velatura.protocol.region import Rect
from velatura.server.worker import engine as engine_module
from velatura.server.worker.passes import Given, plain
from velatura.server.worker.warm import Warmed, load_weights, shape_of


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
        run(example)
        self.made.append(shape)

        def prepared(asked: Given) -> torch.Tensor:
            self.used.append(shape)
            return run(asked)

        return prepared


@torch.no_grad()
def test_a_pass_is_eager_until_it_is_compiled_and_then_takes_weights_where_they_lie():
    mine, other = Small(), Small()
    run = plain(mine)
    # The real compiler, without the last stage that needs another compiler.
    workshop = Workshop(run, lambda run: torch.compile(run, backend="eager", dynamic=False))
    warmed = Warmed(run, workshop, lambda: True)
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
    assert torch.equal(warmed(one), plain(other)(one))
    assert len(workshop.used) == 2
    warmed.close()


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
    warmed = Warmed(plain(unet), workshop, lambda: True)
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

    warmed = Warmed(plain(unet), prepare, lambda: reason != "no room")
    one = given(unet, 8, 8)
    for _ in range(3):
        assert torch.equal(warmed(one), plain(unet)(one))
        warmed.wait()
    assert len(tried) == (reason == "fails")
    assert warmed.progress == (1, 1)
    warmed.close()


def test_live_asks_for_its_sizes_paints_meanwhile_and_says_how_far_it_is(tiny_folder, monkeypatch):
    workshops = []

    def quick(unet):
        workshops.append(Workshop(plain(unet)))
        return Warmed(plain(unet), workshops[-1], lambda: True)

    eager, warm = make_tiny_engine(tiny_folder), make_tiny_engine(tiny_folder)
    easels = [Easel(opened(128, 48), scenery(128, 48), one) for one in (eager, warm)]
    notes = []
    monkeypatch.setattr(easels[1], "_take", _noting(easels[1]._take, notes))
    monkeypatch.setattr(engine_module, "quick", quick)
    for easel in easels:
        easel.key()
        easel.paint()
    # The first one's is never let to prepare anything.
    _, workshop = workshops
    assert not workshop.used
    assert any("quicker" in note for note in notes)
    workshop.open.set()
    (warmed,) = warm._passes.values()
    warmed.wait()
    notes.clear()
    for easel in easels:
        easel.brush(Rect(20, 20, 6, 6))
        easel.paint()
    # No shape came that had not been asked for, and all the steps were prepared ones.
    assert len(workshop.used) == 4
    assert warmed.progress[0] == len(workshop.made)
    assert not notes
    assert (easels[0].shown == easels[1].shown).all()
    settings = LiveSettings(job=easels[1].canvas.job, prompt="a blue boat", seed=3)
    easels[1].canvas.change(settings)
    easels[1].paint()
    assert len(workshop.used) == 8
    for easel in easels:
        easel.canvas.close()


def test_a_lora_is_swapped_without_preparing_anything_again(tmp_path, monkeypatch):
    folder = make_tiny(tmp_path / "tiny")
    for seed, name in enumerate(("ink", "chalk")):
        make_lora(folder / f"lora-{name}.safetensors", parts_of(folder), "kohya", seed=seed)
    workshops = []

    def quick(unet):
        workshops.append(Workshop(plain(unet)))
        workshops[-1].open.set()
        return Warmed(plain(unet), workshops[-1], lambda: True)

    monkeypatch.setattr(engine_module, "quick", quick)
    engine = make_tiny_engine(folder)
    easel = Easel(opened(64, 64, prompt="a house <lora:ink:1>"), scenery(64, 64), engine)
    easel.key()
    easel.paint()
    (run,) = engine._passes.values()
    run.wait()
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
