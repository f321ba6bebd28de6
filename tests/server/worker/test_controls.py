"""ControlNets and annotators leave memory by weight as models do, and come back as they were."""

from __future__ import annotations

import gc
import shutil
import uuid
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_net, seeded
from detectors import FOLDERS, MIDAS, NETS, ZOE, put_detector
from live_painting import Easel, opened
from painting import answers, as_image, ask, engine_with, in_memory, painted, results, scenery
from safetensors.torch import save_file
from velatura.models import annotators
from velatura.protocol.messages import Annotate, Control, Generate, LiveSettings
from velatura.protocol.region import Rect
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.control import control_map
from velatura.server.worker.live.painter import LivePainter, map_tensor
from velatura.server.worker.pixels import to_array
from velatura.server.worker.residency import controls
from velatura.server.worker.residency.shelf import bytes_of

SIDE = 64
PIDI = "table5_pidinet.safetensors"


@pytest.fixture
def models(tiny_folder: Path, tmp_path: Path) -> Path:
    """Two models of one shape without ControlNets of their own, and three nets for either."""
    for name in ("a", "b"):
        shutil.copytree(tiny_folder, tmp_path / name)
        shutil.rmtree(tmp_path / name / "controlnet-line")
    for number, kind in enumerate(("canny", "tile", "soft_edge")):
        make_net(tiny_folder / "unet", tmp_path / "controlnet" / kind, seed=number)
    return tmp_path


def put_annotator(models: Path, seed: int = 0) -> Path:
    from controlnet_aux.pidi.model import pidinet

    path = models / "annotators" / PIDI
    path.parent.mkdir(exist_ok=True)
    weights = seeded(pidinet, seed).state_dict()
    save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, path)
    return path


def job(*kinds: str, model: str = "a") -> Generate:
    guides = tuple(Control(kind=kind) for kind in kinds)
    return ask(scenery(SIDE, SIDE), model=model, controls=guides, steps=1)


def trace() -> Annotate:
    return Annotate(job=str(uuid.uuid4()), kind="soft_edge", picture=as_image(scenery(SIDE, SIDE)))


def kinds_held(engine: Engine) -> list[str]:
    return [key[0] for key in engine._shelf]


@pytest.fixture
def sizes(models: Path) -> tuple[int, int]:
    """Bytes of model ``a`` and of one net, in memory."""
    engine = engine_with(models)
    painted(engine, job("canny"))
    return bytes_of(in_memory(engine, "a")), bytes_of(in_memory(engine, "", "ControlNet"))


def test_the_net_not_used_for_longest_leaves_and_comes_back_as_it_was(models, sizes) -> None:
    model, net = sizes
    engine = engine_with(models, model + round(1.5 * net))
    first = painted(engine, job("canny"))
    gone = weakref.ref(in_memory(engine, "", "ControlNet"))
    painted(engine, job("tile"))
    assert kinds_held(engine) == ["model", "ControlNet"]
    gc.collect()
    assert gone() is None, "something still holds the net"
    assert (painted(engine, job("canny")) == first).all()


def test_models_of_one_shape_share_a_net_which_stays_when_the_first_leaves(models, sizes) -> None:
    model, net = sizes
    engine = engine_with(models, round(1.2 * model) + net)
    painted(engine, job("canny"))
    shared = in_memory(engine, "", "ControlNet")
    painted(engine, job("canny", model="b"))
    assert in_memory(engine, "", "ControlNet") is shared
    assert engine.loaded() == ("b",)


def test_nets_of_one_job_stay_while_it_runs_and_beyond_the_limit_are_one_sentence(
    models, sizes
) -> None:
    model, net = sizes
    engine = engine_with(models, model + round(1.5 * net))
    before = painted(engine, job("canny"))
    with pytest.raises(JobError, match="The ControlNet for tile needs") as caught:
        results(engine, job("canny", "tile"))
    assert (caught.value.code, caught.value.field) == ("out_of_memory", "controls")
    assert kinds_held(engine) == []
    assert (painted(engine, job("canny")) == before).all()


def test_annotators_count_and_leave_too(models, sizes, monkeypatch) -> None:
    monkeypatch.setattr(annotators, "SIDE", SIDE)
    size = put_annotator(models).stat().st_size
    engine = engine_with(models, sizes[0] + size)
    painted(engine, job())
    before = engine._shelf.held
    answers(engine, trace())
    assert kinds_held(engine) == ["model", "annotator"]
    assert before + 0.9 * size < engine._shelf.held < before + 1.1 * size
    painted(engine, job("tile"))
    assert kinds_held(engine) == ["model", "ControlNet"]


def test_out_of_memory_frees_them(models, monkeypatch) -> None:
    monkeypatch.setattr(annotators, "SIDE", SIDE)
    put_annotator(models)
    engine = engine_with(models)
    answers(engine, trace())
    painted(engine, job("canny"))
    assert sorted(kinds_held(engine)) == ["ControlNet", "annotator", "model"]
    held = [weakref.ref(in_memory(engine, "", "ControlNet"))]
    held.append(weakref.ref(in_memory(engine, "", "annotator")))

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError

    in_memory(engine, "a").unet.register_forward_pre_hook(exhausted)
    with pytest.raises(JobError) as caught:
        answers(engine, job("canny"))
    assert caught.value.code == "out_of_memory"
    gc.collect()
    assert [one() for one in held] == [None, None]
    assert painted(engine, job("canny")).any()


def test_files_that_were_replaced_are_loaded_anew(models, tiny_folder, monkeypatch) -> None:
    monkeypatch.setattr(annotators, "SIDE", SIDE)
    put_annotator(models)
    engine = engine_with(models)

    def made() -> list[np.ndarray]:
        traced = np.frombuffer(answers(engine, trace())[0].picture.data, np.uint8)
        return [traced, painted(engine, job("tile"))]

    before = made()
    put_annotator(models, seed=9)
    make_net(tiny_folder / "unet", models / "controlnet" / "tile", seed=9)
    assert all((one != other).any() for one, other in zip(before, made(), strict=True))


def test_a_map_of_the_same_picture_is_drawn_once(models, monkeypatch) -> None:
    drawn: list[str] = []

    def draw(kind: str, *given: object, **more: object) -> np.ndarray:
        drawn.append(kind)
        return control_map(kind, *given, **more)

    monkeypatch.setattr(controls, "control_map", draw)
    engine = engine_with(models)
    maps = [answers(engine, trace())[0].picture for _ in range(2)]
    assert maps[0] == maps[1]
    other = as_image(scenery(SIDE, SIDE, seed=1))
    answers(engine, Annotate(job=str(uuid.uuid4()), kind="soft_edge", picture=other))
    painted(engine, job("canny"))
    painted(engine, job("canny"))
    assert drawn == ["soft_edge", "soft_edge", "canny"]


def test_live_painting_keeps_its_net_and_goes_on_when_it_had_to_leave(models, sizes) -> None:
    model, net = sizes
    engine = engine_with(models, model + round(2.5 * net))
    settings = opened(SIDE, SIDE, model="a", controls=(Control(kind="tile"),))
    easel = Easel(settings, scenery(SIDE, SIDE), engine)
    easel.key()
    assert easel.paint()
    net_of_it = weakref.ref(in_memory(engine, "", "ControlNet"))
    painted(engine, job("canny"))
    easel.brush(Rect(10, 10, 20, 20))
    assert easel.paint()
    painted(engine, job("soft_edge"))
    assert net_of_it() is not None, "painting live is using it"
    painted(engine, job("canny"))
    gc.collect()
    assert net_of_it() is None, "something still holds the net"
    easel.brush(Rect(30, 10, 20, 20))
    assert easel.paint()


# Of the detectors of depth, the one that is small.
@pytest.mark.parametrize("name", [name for name in (*NETS, *FOLDERS) if name not in (MIDAS, ZOE)])
def test_live_shows_the_net_what_each_trained_detector_traces(
    models, tiny_folder, monkeypatch, name: str
) -> None:
    monkeypatch.setattr(annotators, "SIDE", SIDE)
    (kind,) = [one.kind for one in annotators.ANNOTATORS if one.needs == (name,)]
    put_detector(models / "annotators", name)
    make_net(tiny_folder / "unet", models / "controlnet" / kind)
    engine = engine_with(models)
    seen: list[tuple[Rect, torch.Tensor]] = []
    maps = LivePainter._maps

    def noted(painter: LivePainter, rect: Rect) -> list[torch.Tensor]:
        made = maps(painter, rect)
        seen.append((rect, made[0]))
        return made

    monkeypatch.setattr(LivePainter, "_maps", noted)
    monkeypatch.setattr(LivePainter, "rehearse", lambda painter: None)
    settings = opened(SIDE, SIDE, model="a", controls=(Control(kind=kind),))
    easel = Easel(settings, scenery(SIDE, SIDE), engine)
    for change in (easel.key, partial(easel.brush, Rect(20, 20, 16, 16))):
        change()
        assert easel.paint()
        picture = as_image(easel.picture)
        (answer,) = answers(engine, Annotate(job=str(uuid.uuid4()), kind=kind, picture=picture))
        rect, shown = seen[-1]
        drawn = to_array(answer.picture)
        traced = map_tensor(drawn[..., :3] if drawn.ndim == 3 else np.stack([drawn] * 3, -1))
        assert torch.equal(shown, traced[..., rect.y : rect.bottom, rect.x : rect.right])
    assert len(seen) == 2


def test_live_derives_a_map_by_trained_weights_once_for_each_change_of_the_canvas(
    models, monkeypatch
) -> None:
    drawn: list[bool] = []

    def counted(kind: str, picture: np.ndarray, **how: Any) -> np.ndarray:
        drawn.append(how["annotate"] is not None)
        return control_map(kind, picture, **how)

    monkeypatch.setattr(controls, "control_map", counted)
    shown = []
    for number in range(2):
        engine = engine_with(models)
        guides = (Control(kind="soft_edge"),)
        easel = Easel(opened(SIDE, SIDE, model="a", controls=guides), scenery(SIDE, SIDE), engine)
        easel.key()
        easel.paint()
        shown.append(easel.shown.copy())
        easel.brush(Rect(20, 20, 6, 6))
        easel.paint()
        easel.canvas.change(LiveSettings(job=easel.canvas.job, prompt="a cat", controls=guides))
        easel.paint()
        assert len(easel.results) == 3
        if number == 0:
            put_annotator(models)
    assert drawn == [False, False, True, True]
    assert (shown[0] != shown[1]).any()
