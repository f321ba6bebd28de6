"""What every training stage shares: optimiser, schedule, averaged weights, checkpoints, progress."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from velatura.models.starter.recipe.config import Config

SAVE_EVERY_S = 120.0
LOG_EVERY_S = 20.0


class Trainer:
    """Trains `networks` together, with AdamW, a cosine to zero and averaged weights (EMA).

    A checkpoint in `work/` holds everything; a stage that is started again goes on from it.
    `averaged` are the networks to use afterwards (Polyak averaging, as in Ho et al. 2020).
    """

    def __init__(
        self, name: str, config: Config, networks: Mapping[str, nn.Module], *, decay: float = 0.999
    ) -> None:
        self.name, self.config, self.stage, self.decay = name, config, config.stages[name], decay
        self.networks = dict(networks)
        for network in self.networks.values():
            network.to(config.device, memory_format=torch.channels_last).train()
        self.averaged = {k: copy.deepcopy(v).eval() for k, v in self.networks.items()}
        for network in self.averaged.values():
            network.requires_grad_(False)
        self.parameters = [
            p for network in self.networks.values() for p in network.parameters() if p.requires_grad
        ]
        self._pairs = [
            (average, current)
            for k in self.networks
            for average, current in zip(
                self.averaged[k].parameters(), self.networks[k].parameters(), strict=True
            )
            if current.requires_grad
        ]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.processes, self.rank = processes(), rank()
        self.batch = self.stage.batch // self.processes
        self.step, self.seconds = 0, 0.0
        self.path = config.work / f"{name}.pt"
        if self.path.exists():
            self._load()

    @property
    def progress(self) -> float:
        """How far the stage is, 0..1, by steps or by time."""
        by_time = self.seconds / 60 / self.stage.minutes
        return min(max(self.step / self.stage.steps, by_time), 1.0)

    def run(self, loss: Callable[[int], torch.Tensor], stop_at: float = 1.0) -> None:
        """Call `loss(turn)` and descend, until `progress` reaches `stop_at`.

        A turn is one batch of one process: what is drawn at random must depend on nothing else.
        """
        device = torch.device(self.config.device)
        dtype = getattr(torch, self.stage.dtype or self.config.dtype)
        mixed = dtype != torch.float32
        saved = logged = time.monotonic()
        recent: float | None = None
        columns = (
            TextColumn(self.name),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, disable=self.rank > 0) as bars:
            bar = bars.add_task("", total=1000, loss=0.0)
            while self.progress < stop_at:
                began = time.monotonic()
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate()
                turn = self.step * self.processes + self.rank
                torch.manual_seed(self.config.seed + turn)
                with torch.autocast(device.type, dtype, enabled=mixed):
                    value = loss(turn)
                value.backward()
                if self.processes > 1:
                    self._share_gradients()
                nn.utils.clip_grad_norm_(self.parameters, 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad()
                self._average()
                current = value.item()
                recent = current if recent is None else 0.98 * recent + 0.02 * current
                self.step += 1
                now = time.monotonic()
                self.seconds = self._agreed(self.seconds + now - began)
                bars.update(bar, completed=round(1000 * self.progress), loss=recent)
                if self.rank == 0 and not bars.console.is_terminal and now - logged > LOG_EVERY_S:
                    logged = now
                    print(
                        f"{self.name} {self.progress:.3f} step {self.step} loss {recent:.4f}",
                        flush=True,
                    )
                if now - saved > SAVE_EVERY_S:
                    saved = now
                    self.save()
        self.save()
        wait()

    def rate(self) -> float:
        """Learning rate: a short linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017)."""
        warm = min(1.0, (self.step + 1) / 100, (self.progress + 1e-3) / 0.02)
        return self.stage.rate * warm * 0.5 * (1 + math.cos(math.pi * self.progress))

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.rank > 0:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        state = {
            "networks": {k: v.state_dict() for k, v in self.networks.items()},
            "averaged": {k: v.state_dict() for k, v in self.averaged.items()},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, part)
        part.replace(self.path)

    def _share_gradients(self) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        shares = (flat / self.processes).split([g.numel() for g in gradients])
        for gradient, share in zip(gradients, shares, strict=True):
            gradient.copy_(share.view_as(gradient))

    def _agreed(self, seconds: float) -> float:
        """The longest time that any process measured, so that all stop at the same step."""
        if self.processes == 1:
            return seconds
        longest = torch.tensor(seconds, dtype=torch.float64, device=self.config.device)
        torch.distributed.all_reduce(longest, torch.distributed.ReduceOp.MAX)
        return longest.item()

    def _load(self) -> None:
        state = torch.load(self.path, map_location=self.config.device, weights_only=True)
        for kind in ("networks", "averaged"):
            for k, network in getattr(self, kind).items():
                network.load_state_dict(state[kind][k])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        averages, currents = zip(*self._pairs, strict=True)
        torch._foreach_lerp_(averages, currents, 1 - decay)


def processes() -> int:
    """How many processes train together."""
    return torch.distributed.get_world_size() if _together() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return torch.distributed.get_rank() if _together() else 0


def wait() -> None:
    """Until every process has come this far."""
    if _together():
        torch.distributed.barrier()


def _together() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def trained(name: str, config: Config, network: nn.Module, key: str) -> nn.Module:
    """Load the averaged weights that stage `name` left for `key` into `network`, for use.

    Raises FileNotFoundError when the stage never ran.
    """
    path = config.work / f"{name}.pt"
    if not path.exists():
        raise FileNotFoundError(f"No trained {name}: run that stage first.")
    state = torch.load(path, map_location=config.device, weights_only=True, mmap=True)
    network.load_state_dict(state["averaged"][key])
    network.to(config.device, memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)
