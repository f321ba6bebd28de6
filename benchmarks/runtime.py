"""Accelerations one by one, beside plain, in one run: how much longer a pass takes without each.

With the starter's UNet on a CPU, one thread, on latents of 512 x 512 pixels:

1. ``job``: a pass over all of it, recorded or as diffusers calls it.
2. ``edit``: what a live edit of 96 x 96 pixels costs: a pass over that part with all accelerations,
   and with each left out. Without incremental layers that is a pass over the whole.

Each is timed in interleaved rounds; what is printed are medians of the ratios within a round, with
their quartiles. Milliseconds say nothing of other machines; ratios do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from velatura.models.families.unet.call import Given, plain
from velatura.models.library import Library
from velatura.protocol.region import Rect
from velatura.server.worker.runtime.accelerate import accelerate
from velatura.server.worker.runtime.registry import Accelerations
from velatura.server.worker.runtime.switches import (
    INCREMENTAL,
    PACKED,
    RECORDED,
    SIMPLIFIED,
    Switches,
)
from velatura.server.worker.runtime.unet.incremental import layers_of
from velatura.server.worker.runtime.unet.kept import Memory
from velatura.server.worker.runtime.unet.recorded import Recorded

WHOLE, PART = Rect(0, 0, 64, 64), Rect(24, 20, 12, 12)
Run = Callable[[], object]


def jobs(unet: torch.nn.Module, given: Given) -> dict[str, Run]:
    recorded = Recorded(unet, Accelerations())
    return {"all": lambda: recorded(given), RECORDED: lambda: plain(unet)(given)}


def edits(unet: torch.nn.Module, given: Given) -> dict[str, Run]:
    """A pass over a part, with all accelerations ("all") and without each."""
    made: dict[str, Run] = {}
    area = (..., slice(PART.y, PART.bottom), slice(PART.x, PART.right))
    for left_out in ("all", RECORDED, SIMPLIFIED, PACKED, INCREMENTAL):
        without = frozenset(() if left_out == "all" else (left_out,))
        run = accelerate(unet, Accelerations(Switches(without=without)))
        if left_out == INCREMENTAL:
            made[left_out] = lambda run=run: run(given)
            continue
        layers = layers_of(unet, given.inputs, given.step, encoder_hidden_states=given.prompt)
        memory = Memory(layers, WHOLE)
        run(Given(given.inputs, given.step, given.prompt, **memory.told(WHOLE)[0]))
        part = Given(given.inputs[area], given.step, given.prompt, **memory.told(PART)[0])
        made[left_out] = lambda run=run, part=part: run(part)
    return made


def compare(name: str, runs: dict[str, Run], rounds: int) -> None:
    for run in runs.values():
        for _ in range(2):
            run()
    times: dict[str, list[float]] = {one: [] for one in runs}
    for _ in range(rounds):
        for one, run in runs.items():
            begun = time.perf_counter()
            run()
            times[one].append(time.perf_counter() - begun)
    print(f"{name}: {1000 * statistics.median(times['all']):.1f} ms with all")
    for one in times.keys() - {"all"}:
        ratios = [a / b for a, b in zip(times[one], times["all"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"  without {one}: x {middle:.2f} ({low:.2f} to {high:.2f})")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    unet = Library([]).load("starter", "cpu", torch.float32, lambda *_: None).unet
    x = torch.randn(1, unet.config.in_channels, WHOLE.height, WHOLE.width)
    x = x.contiguous(memory_format=torch.channels_last)
    prompt = torch.randn(1, 77, unet.config.cross_attention_dim)
    given = Given(x, torch.tensor(500), prompt)
    compare("job", jobs(unet, given), rounds)
    compare("edit", edits(unet, given), rounds)


if __name__ == "__main__":
    main()
