"""Models leave memory when the next needs their room, and come back as they were."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from checkpoints import put_unet
from live_painting import Easel, opened
from painting import answers, ask, engine_with, in_memory, painted, rectangle, results, scenery
from velatura.protocol.messages import Progress
from velatura.protocol.region import Rect
from velatura.server.worker.errors import JobError
from velatura.server.worker.residency.shelf import Room, Shelf, bytes_of, free_memory

CPU = torch.device("cpu")
HARD = rectangle(96, 80, Rect(30, 20, 40, 36))


@pytest.fixture(scope="module")
def models(tiny_folder, tmp_path_factory) -> Path:
    """Three models of one size and one that is much larger."""
    folder = tmp_path_factory.mktemp("several")
    for name in ("a", "b", "c", "large"):
        shutil.copytree(tiny_folder, folder / name)
    put_unet(folder / "large", block_out_channels=(64, 128, 128))
    return folder


def job(model: str):
    return ask(scenery(), HARD, model=model, previews=True, steps=1)


@pytest.fixture(scope="module")
def one(models) -> int:
    """Bytes of one of the models of one size, in memory."""
    engine = engine_with(models)
    painted(engine, job("a"))
    return bytes_of(in_memory(engine, "a"))


def test_the_one_not_used_for_longest_leaves_when_the_next_needs_its_room(models, one):
    engine = engine_with(models, round(2.5 * one))
    first = painted(engine, job("a"))
    painted(engine, job("b"))
    assert engine.loaded() == ("a", "b")
    painted(engine, job("a"))
    gone = weakref.ref(in_memory(engine, "b").unet)
    painted(engine, job("c"))
    assert engine.loaded() == ("a", "c")
    gc.collect()
    assert gone() is None, "something still holds the model"
    painted(engine, job("b"))
    assert (painted(engine, job("a")) == first).all()


def test_without_a_limit_what_the_device_has_decides(models, one, monkeypatch):
    from velatura.server.worker.residency import shelf as memory

    engine = engine_with(models)
    for name in ("a", "b", "c"):
        painted(engine, job(name))
    assert engine.loaded() == ("a", "b", "c")
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)
    painted(engine, job("large"))
    assert engine.loaded() == ("large",)


def test_a_model_beyond_the_limit_is_a_coded_sentence_and_frees_what_was_there(models, one):
    engine = engine_with(models, round(1.5 * one))
    before = painted(engine, job("a"))
    with pytest.raises(JobError) as caught:
        results(engine, job("large"))
    assert (caught.value.code, caught.value.field) == ("out_of_memory", "model")
    assert "Model large needs" in caught.value.message
    assert "--memory" in caught.value.message
    assert engine.loaded() == ()
    assert (painted(engine, job("a")) == before).all()


def test_files_that_were_replaced_are_loaded_anew(models, tmp_path):
    shutil.copytree(models / "a", tmp_path / "own")
    engine = engine_with(tmp_path)
    before = painted(engine, job("own"))
    shutil.copy(
        next((models / "large" / "unet").glob("*.safetensors")),
        next((tmp_path / "own" / "unet").glob("*.safetensors")),
    )
    shutil.copy(models / "large" / "unet" / "config.json", tmp_path / "own" / "unet")
    assert (painted(engine, job("own")) != before).any()
    assert engine.loaded() == ("own",)


def test_switching_to_and_fro_holds_one_model_at_a_time(models, one):
    engine = engine_with(models, round(1.5 * one))
    unets = []
    for name in ("a", "b", "a", "b"):
        painted(engine, job(name))
        unets.append(weakref.ref(in_memory(engine, name).unet))
        gc.collect()
        assert [unet() is not None for unet in unets] == [False] * (len(unets) - 1) + [True]


def test_what_a_job_uses_stays_while_it_runs():
    shelf = Shelf(Room(CPU, 10), lambda key: None)
    shelf.begin()
    shelf.get(("model", "a"), lambda: 5, "a", lambda: torch.nn.Linear(1, 1, bias=False))
    assert shelf.held == 4
    with pytest.raises(JobError, match="of which this job uses already"):
        shelf.get(("model", "b"), lambda: 8, "b", lambda: None)
    assert list(shelf) == [("model", "a")]
    shelf.begin()
    shelf.get(("model", "b"), lambda: 8, "b", lambda: None)
    assert list(shelf) == [("model", "b")]


def test_a_shared_weight_counts_once():
    layer = torch.nn.Linear(10, 10, bias=False)
    assert bytes_of(torch.nn.Sequential(layer, layer)) == 400


def test_free_memory_is_what_this_machine_has():
    assert 0 < free_memory(CPU) < 2**50


def test_live_painting_goes_on_when_its_model_had_to_leave(models, one):
    engine = engine_with(models, round(2.5 * one))
    easel = Easel(opened(model="a"), scenery(), engine)
    easel.key()
    assert easel.paint()
    assert engine.loaded() == ("a",)
    painted(engine, job("b"))
    easel.brush(Rect(10, 10, 20, 20))
    assert easel.paint()
    painted(engine, job("c"))
    assert engine.loaded() == ("a", "c"), "painting live is using it"
    painted(engine, job("b"))
    painted(engine, job("c"))
    assert "a" not in engine.loaded()
    easel.brush(Rect(40, 10, 20, 20))
    assert easel.paint()
    assert "a" in engine.loaded()


def test_loading_says_what_and_how_far(models):
    messages = answers(engine_with(models), job("a"))
    loading = [m for m in messages if isinstance(m, Progress) and m.stage == "loading"]
    steps = [m.step for m in loading]
    assert steps == sorted(set(steps))
    assert len(steps) > 2
    assert {m.steps for m in loading} == {100}
    assert all(m.note.startswith("Loading a: ") for m in loading)
    assert len({m.note for m in loading}) == len(loading)
