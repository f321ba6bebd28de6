"""An acceleration that fails costs speed, never a picture: each one is killed at its probe and later."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import velatura.models.library
import velatura.server.app
from live_painting import Easel, opened
from painting import ask, in_memory, painted, rectangle, scenery
from velatura.models.library import Library
from velatura.protocol.region import Rect
from velatura.server.worker.engine import Engine
from velatura.server.worker.runtime import cuda_graphs, packed_weights, probes, torchscript
from velatura.server.worker.runtime.probes import make_accelerations
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.switches import (
    ALL,
    ALL_WANTED,
    COMPILED,
    GRAPHS,
    INCREMENTAL,
    KEPT,
    PACKED,
    RECORDED,
    SIMPLIFIED,
    Switches,
)
from velatura.server.worker.runtime.unet import recorded
from velatura.server.worker.runtime.unet.incremental import Incremental
from velatura.server.worker.runtime.warmup import Stage, Warmed

CPU = torch.device("cpu")
PLAIN = Switches(plain=True)
# The same as with recordings, without them: parts of live pictures still see what layers keep.
UNRECORDED = Switches(without=frozenset((RECORDED,)))
ON_A_CPU = (RECORDED, SIMPLIFIED, PACKED, INCREMENTAL)
# Where each is entered.
ENTRANCES: dict[str, tuple[Any, str]] = {
    RECORDED: (recorded.Recorded, "replay"),
    SIMPLIFIED: (torchscript, "tidy"),
    PACKED: (packed_weights, "_packed"),
    INCREMENTAL: (Incremental, "forward"),
}
ROOTS = [Path(m.__file__).parent for m in (velatura.models.library, velatura.server.app)]


SCRIPTED = "_linear_pointwise"
# What diffusers and transformers call themselves in each pass: without it nothing paints at all.
NEEDED_BY_ALL = {"jit.is_tracing"}


class Killed(Exception):
    """What no library raises."""


class Lacking:
    """``whole`` without its attribute ``name``."""

    def __init__(self, whole: Any, name: str) -> None:
        self._whole, self._name = whole, name

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            raise AttributeError(f"there is no {name}")
        return getattr(self._whole, name)


@pytest.fixture(autouse=True)
def _pack_small_weights(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(packed_weights, "_WORTH_IT", 1)
    packed_weights._scripted.cache_clear()
    yield
    packed_weights._scripted.cache_clear()


def kill(monkeypatch: pytest.MonkeyPatch, name: str, *, at: int) -> list[int]:
    """Let ``name`` fail from its call number ``at`` on; returns the numbers of the calls so far."""
    owner, attribute = ENTRANCES[name]
    real, calls = getattr(owner, attribute), []

    def dying(*given: Any, **named: Any) -> Any:
        calls.append(len(calls) + 1)
        if calls[-1] >= at:
            raise Killed(name)
        return real(*given, **named)

    monkeypatch.setattr(owner, attribute, dying)
    return calls


def engine_with(
    folder: Path, accelerations: Accelerations, dtype: torch.dtype = torch.float32
) -> Engine:
    library = Library([], starter=folder)
    return Engine(library, CPU, dtype, "this test's CPU", accelerations=accelerations)


def paint_jobs(engine: Engine) -> tuple[list[torch.Tensor], list[np.ndarray]]:
    """Latents that are decoded, and pictures, of three jobs: the second one is accelerated."""
    picture, selection = scenery(96, 80), rectangle(96, 80, Rect(20, 16, 50, 44))
    pictures = [painted(engine, ask(picture, selection, guidance=4.0))]
    latents: list[torch.Tensor] = []
    decoder = in_memory(engine).vae.decoder
    seeing = decoder.register_forward_pre_hook(lambda _, given: latents.append(given[0].clone()))
    for _ in range(2):
        pictures.append(painted(engine, ask(picture, selection, guidance=4.0)))
    seeing.remove()
    return latents, pictures


def paint_live(engine: Engine) -> np.ndarray:
    """What a live canvas shows after a key frame and two strokes."""
    easel = Easel(opened(96, 80), scenery(96, 80), engine)
    easel.key()
    for stroke in (None, Rect(30, 40, 8, 6), Rect(8, 8, 12, 10)):
        if stroke is not None:
            easel.brush(stroke)
        # A canvas that is begun anew is painted in its next turn.
        assert any(easel.paint() is not None for _ in range(4))
    return easel.shown


def check_jobs(made: Any, expected: Any) -> None:
    for ours, theirs in zip(made[0], expected[0], strict=True):
        assert (ours.float() - theirs.float()).abs().max() <= 1e-3
    for ours, theirs in zip(made[1], expected[1], strict=True):
        check_picture(ours, theirs)


def check_picture(ours: np.ndarray, theirs: np.ndarray) -> None:
    away = np.abs(ours.astype(float) - theirs)
    assert away.mean() <= 0.5
    assert np.percentile(away, 99) <= 3


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [one.getMessage() for one in caplog.records if one.name == "velatura.worker"]
    assert not any("\n" in line for line in lines)
    return lines


@pytest.fixture(scope="module")
def plain_jobs(tiny_folder):
    return paint_jobs(engine_with(tiny_folder, Accelerations(PLAIN)))


@pytest.fixture(scope="module")
def plain_live(tiny_folder):
    return paint_live(engine_with(tiny_folder, Accelerations(PLAIN)))


@pytest.fixture(scope="module")
def unrecorded_live(tiny_folder):
    return paint_live(engine_with(tiny_folder, Accelerations(UNRECORDED)))


def test_with_all_accelerations_jobs_and_live_paint_what_plain_paints(
    tiny_folder, plain_jobs, unrecorded_live, caplog
):
    accelerations = make_accelerations(Switches(), CPU)
    assert [one.name for one, why in accelerations.listed() if not why and one.device] == [
        *(RECORDED, SIMPLIFIED, PACKED)
    ]
    assert accelerations.is_on(INCREMENTAL)
    engine = engine_with(tiny_folder, accelerations)
    check_jobs(paint_jobs(engine), plain_jobs)
    check_picture(paint_live(engine), unrecorded_live)
    assert lines_of(caplog) == []


def test_jobs_in_bfloat16_paint_what_plain_paints(tiny_folder):
    made, expected = (
        paint_jobs(engine_with(tiny_folder, Accelerations(switches), torch.bfloat16))[1]
        for switches in (Switches(), PLAIN)
    )
    for ours, theirs in zip(made, expected, strict=True):
        check_picture(ours, theirs)


@pytest.mark.parametrize("name", ON_A_CPU)
@pytest.mark.parametrize("at", [1, 3], ids=["at its probe", "at its third call"])
def test_one_that_fails_costs_a_line_in_the_log_and_no_picture(
    tiny_folder, monkeypatch, caplog, plain_jobs, plain_live, unrecorded_live, name, at
):
    # A recording would enter what it recorded no more.
    switches = UNRECORDED if name == INCREMENTAL else Switches()
    accelerations = None if at == 1 else make_accelerations(switches, CPU)
    calls = kill(monkeypatch, name, at=at)
    if accelerations is None:
        accelerations = make_accelerations(switches, CPU)
        assert not accelerations.is_on(name)
        made = len(calls)
        assert made > 0
    engine = engine_with(tiny_folder, accelerations)
    check_jobs(paint_jobs(engine), plain_jobs)
    check_picture(paint_live(engine), plain_live if name == INCREMENTAL else unrecorded_live)
    assert not accelerations.is_on(name)
    assert at == 3 or len(calls) == made, "what is off is not entered"
    (line,) = lines_of(caplog)
    assert f"without {name}" in line
    assert "Killed" in line
    # What fails takes no other one with it.
    assert [one.name for one in ALL if was_killed(accelerations, one.name)] == [name]


def fake_graphs(
    monkeypatch: pytest.MonkeyPatch, name: str, wrap: Callable[[Any], Any]
) -> list[Warmed]:
    """Let passes be prepared on this CPU as a card would, by ``wrap``."""
    made: list[Warmed] = []

    def graphed(run: Any, accelerations: Accelerations, *, live: bool) -> Warmed:
        stages = [Stage(lambda _: wrap(run), 1, name)]
        made.append(Warmed(run, stages, accelerations=accelerations))
        return made[-1]

    monkeypatch.setattr(cuda_graphs, "graphed", graphed)
    return made


@pytest.mark.parametrize("name", [GRAPHS, COMPILED])
def test_a_graph_that_fails_at_its_third_replay_costs_a_line_in_the_log_and_no_picture(
    tiny_folder, monkeypatch, caplog, plain_jobs, name
):
    calls: list[int] = []

    def dying(run: Any) -> Any:
        def replay(given: Any) -> torch.Tensor:
            calls.append(1)
            if len(calls) >= 3:
                raise Killed
            return run(given)

        return replay

    made = fake_graphs(monkeypatch, name, dying)
    accelerations = Accelerations(ALL_WANTED, "cuda")
    engine = engine_with(tiny_folder, accelerations)
    expected = plain_jobs[1][0]
    for _ in range(2):
        painted(engine, ask(scenery(96, 80), guidance=4.0))
        engine.wait_until_prepared()
    check_jobs(paint_jobs(engine), ([*plain_jobs[0]], plain_jobs[1]))
    assert (expected == plain_jobs[1][1]).all()
    assert len(calls) == 3
    assert not accelerations.is_on(name)
    (line,) = lines_of(caplog)
    assert f"without {name}" in line
    made[0].close()


@pytest.mark.parametrize("name", [GRAPHS, COMPILED])
def test_a_card_on_which_graphs_cannot_be_probed_paints_plainly(
    tiny_folder, monkeypatch, caplog, plain_jobs, name
):
    accelerations = Accelerations(ALL_WANTED, "cuda")

    def probe() -> None:
        raise Killed

    accelerations.probe({name: probe})
    assert not accelerations.is_on(name)
    assert accelerations.is_on(GRAPHS) == (name == COMPILED)
    fake_graphs(monkeypatch, GRAPHS, lambda run: run)
    check_jobs(paint_jobs(engine_with(tiny_folder, accelerations)), plain_jobs)
    (line,) = lines_of(caplog)
    assert f"without {name}" in line


def test_graphs_are_off_unless_asked_for_and_tell_why():
    untold = {one.name: why for one, why in Accelerations(device="cuda").listed()}
    assert "no card has run it yet" in untold[GRAPHS]
    assert "velatura serve --accelerate cuda-graphs" in untold[GRAPHS]
    assert "no card has run it yet" in untold[COMPILED]
    asked = Accelerations(Switches(wanted=frozenset((GRAPHS,))), "cuda")
    assert asked.is_on(GRAPHS)
    assert not asked.is_on(COMPILED)


def test_memory_that_cannot_be_kept_is_said_and_costs_no_picture(
    tiny_folder, monkeypatch, caplog, plain_jobs
):
    monkeypatch.setattr(probes, "keep_freed_memory", lambda: False)
    accelerations = make_accelerations(Switches(), CPU)
    assert not accelerations.is_on(KEPT)
    check_jobs(paint_jobs(engine_with(tiny_folder, accelerations)), plain_jobs)
    (line,) = lines_of(caplog)
    assert f"without {KEPT}" in line


def test_a_lack_of_memory_turns_nothing_off(tiny_folder, monkeypatch):
    def no_room(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(recorded.Recorded, "replay", no_room)
    accelerations = Accelerations()
    engine = engine_with(tiny_folder, accelerations)
    painted(engine, ask(scenery(96, 80)))
    with pytest.raises(Exception, match="ran out of memory"):
        painted(engine, ask(scenery(96, 80)))
    assert accelerations.is_on(RECORDED)


def _torch_names(node: ast.AST) -> Iterator[str]:
    """Dotted names below torch that are private, deprecated or not said to be stable."""
    for one in ast.walk(node):
        parts: list[str] = []
        while isinstance(one, ast.Attribute):
            parts.insert(0, one.attr)
            one = one.value
        is_torch = isinstance(one, ast.Name) and one.id == "torch" and parts
        if is_torch and (parts[0][0] == "_" or parts[0] in ("ops", "jit", "native_group_norm")):
            yield ".".join(parts)


def fragile_names() -> set[str]:
    names: set[str] = set()
    for path in (
        path for root in ROOTS for path in root.rglob("*.py") if "recipe" not in path.parts
    ):
        names |= set(_torch_names(ast.parse(path.read_text("utf-8"))))
    # Without those that others begin with.
    return {
        name for name in names if not any(other.startswith(f"{name}.") for other in names - {name})
    }


def test_the_fragile_names_of_torch_are_found():
    assert {
        "_C._jit_pass_dce",
        "ops.mkldnn._reorder_linear_weight",
        "ops.mkldnn._linear_pointwise",
        "_dynamo.config",
        "jit.trace",
    } <= {name for one in fragile_names() for name in (one, ".".join(one.split(".")[:2]))}


@pytest.mark.parametrize("name", sorted(fragile_names() - NEEDED_BY_ALL))
def test_a_name_of_torch_that_disappears_costs_speed_and_not_painting(
    tiny_folder, monkeypatch, caplog, plain_jobs, plain_live, unrecorded_live, name
):
    *path, last = name.split(".")
    owner: Any = torch
    for part in path[:-1]:
        owner = getattr(owner, part)
    holder = path[-1] if path else last
    if last == SCRIPTED:
        # A script finds it past Python: what is there when it is gone is a script that names another.
        for script in ("_multiplied", "_convolved"):
            monkeypatch.setattr(packed_weights, script, _without_its_product)
    elif path:
        monkeypatch.setattr(owner, holder, Lacking(getattr(owner, holder), last))
    else:
        monkeypatch.delattr(torch, last)
    accelerations = make_accelerations(Switches(), CPU)
    graphs = Accelerations(ALL_WANTED, "cuda")
    graphs.probe({COMPILED: cuda_graphs.probe_compiler})
    off = {
        one.name for made in (accelerations, graphs) for one in ALL if was_killed(made, one.name)
    }
    assert off, "nothing notices"
    assert len(lines_of(caplog)) == len(off)
    engine = engine_with(tiny_folder, accelerations)
    check_jobs(paint_jobs(engine), plain_jobs)
    is_incremental = accelerations.is_on(INCREMENTAL)
    check_picture(paint_live(engine), unrecorded_live if is_incremental else plain_live)
    assert len(lines_of(caplog)) == len(off)


def _without_its_product(x: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise_is_gone(x, packed)


def was_killed(accelerations: Accelerations, name: str) -> bool:
    return accelerations.why_off(name).startswith("does not work here")


@pytest.fixture(autouse=True)
def _hear(caplog) -> None:
    caplog.set_level(logging.WARNING, "velatura.worker")
