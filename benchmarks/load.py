"""What it takes until a model of the painter's own paints, and what stays in memory when it is left.

1. ``load``: a full-size checkpoint in one file (random weights, fp16, made in a temporary folder) into
   a working pipeline: ours beside diffusers' own from_single_file with the same config files and
   tokenizers, in turns, from the page cache; ``ready_s`` is until it could paint, ``digest_s`` until
   its hash is known too, which nothing waits for but the recipe. ``ratio``: the median of the turns'.
   ``work``: the same by the time of the core that loads, whatever else the machine does.
2. ``second_job``: a job with another prompt on a model in memory, through the engine, beside a bare
   call of diffusers' pipeline for the same prompt, size, steps and start.
   On a CPU it uses one core and counts that core's time.
3. ``switches``: memory held after each of ten switches between two models of which one fits.

    python -m benchmarks.load [--families sd15 sdxl] [--turns 3] [--pairs 9] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from velatura.models.devices import choose_device
from velatura.models.families import single
from velatura.models.library import STARTER, Library
from velatura.models.samplers import make_scheduler
from velatura.protocol.messages import Generate, Result
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size

from benchmarks import report

_TESTS = Path(__file__).parent.parent / "tests"
_BLOCK = 32 << 20
_PAGE = 4096
_NEEDED_BESIDE = 2 << 30
_SIDE, _STEPS, _GUIDANCE, _SAMPLER = 128, 8, 5.0, "Euler"
_SWITCHES = 10


def make_checkpoint(path: Path, family: str) -> int:
    """A full-size file of ``family`` with small random numbers of fp16; its bytes."""
    sys.path.insert(0, str(_TESTS))
    from ldm import full_size, save_sparse

    save_sparse(path, full_size(single.CONFIGS / family))
    size = path.stat().st_size
    noise = 0.02 * np.random.default_rng(0).standard_normal(_BLOCK // 2, dtype=np.float32)
    block = noise.astype(np.float16).tobytes()
    with path.open("r+b") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(start)
        for at in range(start, size, _BLOCK):
            file.write(block[: min(_BLOCK, size - at)])
    return size


def load_ours(path: Path, family: str, device: str) -> dict[str, float]:
    library = Library([path.parent], starter=path.parent / "none")
    library.models()
    start, work = time.perf_counter(), time.thread_time()
    loaded = library.load(path.stem, device, torch.float16, lambda part, what: None)
    make_scheduler(_SAMPLER, loaded.scheduler_config)
    _settle([part for part in vars(loaded).values() if isinstance(part, torch.nn.Module)], device)
    taken = {"ready_s": time.perf_counter() - start, "work_s": time.thread_time() - work}
    assert len(loaded.digest) == 16
    return {**taken, "digest_s": time.perf_counter() - start}


def load_theirs(path: Path, family: str, device: str) -> dict[str, float]:
    import diffusers
    from velatura.models.families.clip import make_tokenizer
    from velatura.models.families.registry import families

    config = single.CONFIGS / family
    pads = next(one.pads for one in families().all if one.name == family)
    names = ("tokenizer", "tokenizer_2")
    start, work = time.perf_counter(), time.thread_time()
    tokenizers = {n: make_tokenizer(pad) for n, pad in zip(names, pads, strict=False)}
    cls = json.loads((config / "model_index.json").read_text())["_class_name"]
    pipeline = (
        getattr(diffusers, cls)
        .from_single_file(
            str(path),
            config=str(config),
            local_files_only=True,
            torch_dtype=torch.float16,
            **tokenizers,
        )
        .to(device)
    )
    parts = pipeline.components.values()
    _settle([part for part in parts if isinstance(part, torch.nn.Module)], device)
    return {"ready_s": time.perf_counter() - start, "work_s": time.thread_time() - work}


def _settle(parts: Sequence[torch.nn.Module], device: str) -> None:
    """Every weight is in memory: on a CPU a file may be mapped and not read yet."""
    if device == "cuda":
        torch.cuda.synchronize()
        return
    for tensor in (tensor for part in parts for tensor in part.state_dict().values()):
        storage = tensor.untyped_storage()
        torch.empty(0, dtype=torch.uint8).set_(storage)[::_PAGE].sum()


_LOADERS = {"ours": load_ours, "theirs": load_theirs}


def loads(family: str, turns: int) -> dict[str, Any]:
    """Each load in a process of its own, libraries imported before: nothing is left of the last."""
    with tempfile.TemporaryDirectory(prefix="velatura-load-") as folder:
        free = shutil.disk_usage(folder).free
        path = Path(folder) / f"{family}.safetensors"
        size = make_checkpoint(path, family)
        if free < size + _NEEDED_BESIDE or psutil.virtual_memory().available < 2 * size:
            return {"left_out": f"needs {2 * size / 1e9:.0f} GB of memory"}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in _LOADERS}
        for turn in range(turns + 1):
            for name in sorted(_LOADERS, reverse=bool(turn % 2)):
                taken[name].append(_apart(name, path, family))
        # The first turn fills the page cache.
        ours, theirs = taken["ours"][1:], taken["theirs"][1:]
        pairs = list(zip(ours, theirs, strict=True))
        return {
            "gigabytes": size / 1e9,
            "ours_ready_s": report.spread([one["ready_s"] for one in ours]),
            "ours_digest_s": report.spread([one["digest_s"] for one in ours]),
            "ours_work_s": report.spread([one["work_s"] for one in ours]),
            "theirs_work_s": report.spread([one["work_s"] for one in theirs]),
            "theirs_ready_s": report.spread([one["ready_s"] for one in theirs]),
            "ratio": report.spread([a["ready_s"] / b["ready_s"] for a, b in pairs]),
            "work_ratio": report.spread([a["work_s"] / b["work_s"] for a, b in pairs]),
        }


def _apart(name: str, path: Path, family: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.load", "--one", name, str(path), family]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(name: str, path: str, family: str) -> None:
    torch.set_num_threads(1)
    # What is imported by then is no part of the figures.
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline  # noqa: F401
    from velatura.server.worker import engine  # noqa: F401

    print(json.dumps(_LOADERS[name](Path(path), family, choose_device()[0])))


def _request(prompt: str, model: str = "starter") -> Generate:
    white = Image(_SIDE, _SIDE, "rgba8", b"\xff" * (4 * _SIDE * _SIDE))
    return Generate(
        job=str(uuid.uuid4()),
        action="generate",
        model=model,
        canvas=Size(_SIDE, _SIDE),
        region=Rect(0, 0, _SIDE, _SIDE),
        surroundings=white,
        prompt=prompt,
        steps=_STEPS,
        guidance=_GUIDANCE,
        sampler=_SAMPLER,
        previews=False,
    )


def _engine(library: Library, memory: int | None = None) -> Any:
    from velatura.server.worker.engine import Engine

    device, dtype, name = choose_device()
    return Engine(library, torch.device(device), dtype, name, memory)


def _paint(engine: Any, request: Generate) -> None:
    results: list[Any] = []
    engine.run(request, results.append, lambda: False)
    assert isinstance(results[-1], Result)


def second_job(pairs: int) -> dict[str, Any]:
    from diffusers import StableDiffusionPipeline

    device, dtype, _ = choose_device()
    engine = _engine(Library([]))
    _paint(engine, _request("a boat"))
    bare = StableDiffusionPipeline.from_pretrained(
        STARTER, safety_checker=None, local_files_only=True, torch_dtype=dtype
    ).to(device)
    bare.scheduler = make_scheduler(_SAMPLER, dict(bare.scheduler.config))
    bare.set_progress_bar_config(disable=True)
    ours, theirs = [], []
    for number in range(pairs + 1):
        prompt = f"a red house in the snow, {number} boats"
        start = _clock()
        _paint(engine, _request(prompt))
        ours.append(_clock() - start)
        start = _clock()
        bare(
            prompt,
            width=_SIDE,
            height=_SIDE,
            num_inference_steps=_STEPS,
            guidance_scale=_GUIDANCE,
            generator=torch.Generator().manual_seed(0),
        )
        theirs.append(_clock() - start)
    return {
        "ours_s": report.spread(ours[1:]),
        "theirs_s": report.spread(theirs[1:]),
        "ratio": report.spread([a / b for a, b in zip(ours[1:], theirs[1:], strict=True)]),
    }


def _clock() -> float:
    """Seconds: of this core on a CPU, of the wall where a device computes."""
    return time.perf_counter() if choose_device()[0] != "cpu" else time.thread_time()


def switches() -> dict[str, Any]:
    """MiB held by this process, or on the GPU, after each switch beyond what it held before."""
    with tempfile.TemporaryDirectory(prefix="velatura-switch-") as folder:
        for name in ("first", "second"):
            shutil.copytree(STARTER, Path(folder) / name, ignore=shutil.ignore_patterns("recipe"))
        library = Library([Path(folder)], starter=Path(folder) / "none")
        weight = library.snapshot().entry("first").weight.numbers * choose_device()[1].itemsize
        engine = _engine(library, round(1.5 * weight))
        before, held = _held(), []
        for number in range(_SWITCHES):
            _paint(engine, _request("a boat", ("first", "second")[number % 2]))
            assert len(engine.loaded()) == 1
            held.append((_held() - before) / 2**20)
    first, last = statistics.median(held[2:5]), statistics.median(held[-3:])
    return {"model_mib": weight / 2**20, "held_mib": held, "growth_mib": last - first}


def _held() -> int:
    gc.collect()
    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)


def measure(given: argparse.Namespace) -> dict[str, object]:
    device, _, name = choose_device()
    if device == "cpu":
        torch.set_num_threads(1)
    return {
        "device": name,
        "load": {family: loads(family, given.turns) for family in given.families},
        "second_job": second_job(given.pairs),
        "switches": switches(),
    }


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["--one"]:
        _one(*arguments[1:])
        return
    report.run(
        __doc__,
        measure,
        {
            "--families": {"nargs": "*", "choices": ("sd15", "sdxl"), "default": ["sd15", "sdxl"]},
            "--turns": {"type": int, "default": 3},
            "--pairs": {"type": int, "default": 9},
        },
    )


if __name__ == "__main__":
    main(sys.argv[1:])
