"""CUDA alone: passes compiled and captured as CUDA graphs, prepared beside the painting.

NOT YET RUN ON A GPU: written against the documentation of torch 2.9 to 2.15 (torch.compile,
torch.cuda.CUDAGraph, torch.cuda.graph, torch.cuda.graph_pool_handle). What decides when a graph is
made and used is in warmup.py, what it reads and writes in static_inputs.py: both are tested on a CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from velatura.models.families.unet.call import Given, Pass
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.static_inputs import Captured, rehearsal
from velatura.server.worker.runtime.switches import COMPILED
from velatura.server.worker.runtime.warmup import Stage, Warmed

# Passes before a capture: libraries choose their kernels and take their workspaces in the first ones.
_REHEARSALS = 3
# Shapes, batches and sets of controls of all models that may be compiled for.
_MOST_SHAPES = 1024
# Of the device's memory: what must be left when another graph is captured.
_LEFT_FREE = 0.1
# One capture at a time in a process.
_capturing = threading.Lock()
# Passes of one shape in ordinary jobs, which come in many, after which it is worth compiling: two jobs.
_WORTH = 40


def graphed(run: Pass, accelerations: Accelerations, *, live: bool) -> Warmed:
    """Make of ``run`` a pass that is eager until a graph of its shape is there.

    For live painting graphs are captured at once and again when they are compiled. Graphs read the
    weights where they lie: a LoRA is swapped in place.
    """
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream()

    def prepare(form: Pass) -> Callable[[Given], Pass]:
        def capture(given: Given) -> tuple[Callable[[], object], torch.Tensor]:
            trial = rehearsal(given)
            for _ in range(_REHEARSALS):
                form(trial)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # The painter's thread goes on with its own stream while this one captures.
            with (
                _capturing,
                torch.cuda.graph(
                    graph, pool=pool, stream=stream, capture_error_mode="thread_local"
                ),
            ):
                output = form(given)
            return graph.replay, output

        def prepared(example: Given) -> Captured:
            # The example was made by the painter's thread.
            stream.wait_stream(torch.cuda.default_stream())
            with torch.no_grad(), torch.cuda.stream(stream):
                made = Captured(example, capture)
            stream.synchronize()
            return made

        return prepared

    stages = [Stage(prepare(run), 1 if live else _WORTH)]
    if accelerations.is_on(COMPILED):
        # No graphs of torch's own: those belong to one thread, and would copy what layers keep.
        made = Stage(prepare(compiled(run, mode="max-autotune-no-cudagraphs")), _WORTH, COMPILED)
        stages = [*stages, made] if live else [made]
    return Warmed(run, stages, has_room, accelerations)


def compiled(run: Pass, **how: Any) -> Pass:
    """``run``, compiled for each shape when that comes first; ``how`` as torch.compile's."""
    made = torch.compile(run, dynamic=False, **how)

    def call(given: Given) -> torch.Tensor:
        # What is set for the compiler counts in the thread that sets it. All models share this code.
        _allow_many_shapes()
        output: torch.Tensor = made(given)
        return output

    return call


def probe(device: torch.device) -> None:
    """Capture and replay a graph of one sum. Raises what torch raises, or ValueError."""
    x = torch.ones(1, device=device)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        x + 1
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        made = x + 1
    x.fill_(2)
    graph.replay()
    if made.item() != 3:
        raise ValueError("a replayed graph gives something else")


def probe_compiler() -> None:
    """Look whether the compiler has the settings that are used. Compiling takes too long to try."""
    _allow_many_shapes()


def _allow_many_shapes() -> None:
    config = torch._dynamo.config
    config.recompile_limit = config.accumulated_recompile_limit = _MOST_SHAPES


def has_room() -> bool:
    """Whether the device's memory allows another graph."""
    free, total = torch.cuda.mem_get_info()
    return free > _LEFT_FREE * total
