"""The few options that all stages share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from velatura.models.starter.recipe.config import load


def main(
    stage: Callable[..., None], description: str | None, kinds: Sequence[str] | None = None
) -> None:
    """Run one stage with `--profile` from the command line; with `kinds`, once for each chosen."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--profile", default="cpu", help="a profile of config.toml (cpu, gpu)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: share all)")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="FOLDER",
        help="go on from an exported checkpoint (models/starter) where no own one is there",
    )
    if kinds:
        parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(kinds))
    options = parser.parse_args()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(options.threads or max((os.cpu_count() or 1) // processes, 1))
    if processes > 1:
        _join_processes()
    torch.set_float32_matmul_precision("high")
    config = load(options.profile, start=options.start)
    if not kinds:
        stage(config)
        return
    if unknown := set(options.kinds) - set(kinds):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(kinds)}.")
    for kind in options.kinds or kinds:
        stage(config, kind)


def _join_processes() -> None:
    """Under `torchrun`, train together: one GPU each, or one core each, which on a busy machine is
    far faster than threads that wait for each other at every operation."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
