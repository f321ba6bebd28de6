"""CUDA alone: passes compiled and captured as CUDA graphs, prepared beside the painting.

NOT YET RUN ON A GPU: written against the documentation of torch 2.9 to 2.15 (torch.compile,
torch.cuda.CUDAGraph, torch.cuda.graph, torch.cuda.graph_pool_handle). What decides when a graph is
made and used is in warm.py and is tested on a CPU.
"""

from __future__ import annotations

import torch
from velatura.server.worker.passes import Given, Pass, plain, tensors_of, with_tensors
from velatura.server.worker.warm import Warmed

# Passes before a capture: libraries choose their kernels and take their workspaces in the first ones.
_REHEARSALS = 3
# Shapes, batches and sets of controls that a model may be compiled for.
_MOST_SHAPES = 64
# Of the device's memory: what must be left when another graph is captured.
_LEFT_FREE = 0.1


def graphed(unet: torch.nn.Module) -> Warmed:
    """The passes of ``unet``: eager until a graph of their shape is there.

    Graphs read the weights where they lie: a LoRA is swapped in place.
    """
    torch._dynamo.config.recompile_limit = max(_MOST_SHAPES, torch._dynamo.config.recompile_limit)
    run = plain(unet)
    # No guards on what never changes, no graphs of torch's own: those belong to one thread.
    compiled = torch.compile(run, dynamic=False, mode="max-autotune-no-cudagraphs")
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream()

    def prepare(example: Given) -> Pass:
        with torch.no_grad(), torch.cuda.stream(stream):
            given = with_tensors(example, [tensor.clone() for tensor in tensors_of(example)])
            for _ in range(_REHEARSALS):
                compiled(given)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # The painter's thread goes on with its own stream while this one captures.
            with torch.cuda.graph(
                graph, pool=pool, stream=stream, capture_error_mode="thread_local"
            ):
                output = compiled(given)
        return _Replayed(graph, given, output)

    return Warmed(run, prepare, has_room)


class _Replayed:
    """A graph with the tensors that it reads and the one that it writes."""

    def __init__(self, graph: torch.cuda.CUDAGraph, given: Given, output: torch.Tensor) -> None:
        self._graph, self._inputs, self._output = graph, tensors_of(given), output

    def __call__(self, given: Given) -> torch.Tensor:
        for mine, theirs in zip(self._inputs, tensors_of(given), strict=True):
            mine.copy_(theirs, non_blocking=True)
        self._graph.replay()
        # The next replay writes over it.
        return self._output.clone()


def has_room() -> bool:
    """Whether the device's memory allows another graph."""
    free, total = torch.cuda.mem_get_info()
    return free > _LEFT_FREE * total
