"""The recipe's numbers: `config.toml`, one profile merged over what all profiles share."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Hours of training are kept outside the repository, where no `git clean` reaches them.
WORK = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "velatura-training"
STARTER = HERE.parent


@dataclass(frozen=True)
class Stage:
    """How long and how fast one network is trained. `minutes` counts training time only; `dtype` is
    the profile's unless given (thin convolutions are slower in bfloat16 than in float32 on a CPU)."""

    steps: int
    minutes: float
    batch: int
    rate: float
    crop: int = 0
    dtype: str = ""


@dataclass(frozen=True)
class Config:
    """One profile. Sizes in pixels; `networks` maps a network's name to its shape.

    `large_sizes`: sides of the renders that the enlarger and the crop judge learn from, by shard in
    turn; `large_pictures`: how many of them are for training.
    `start`: an exported checkpoint whose weights stand in for every checkpoint that `work` lacks, so
    that a stage goes on from them instead of from random numbers.
    """

    size: int
    pictures: int
    large_sizes: Sequence[int]
    large_pictures: int
    device: str
    dtype: str
    seed: int
    captions: int
    tokens: int
    dropout: float
    min_snr_gamma: float
    test_seed: int
    judge_seed: int
    stages: Mapping[str, Stage]
    networks: Mapping[str, Mapping[str, Any]]
    work: Path = WORK
    start: Path | None = None

    @property
    def latent(self) -> int:
        """Side of a latent, in latent pixels (the autoencoder's factor is 8)."""
        return self.size // 8


def load(profile: str = "cpu", work: Path = WORK, start: Path | None = None) -> Config:
    """Read one profile. Raises ValueError for a name that config.toml does not have, or for a `start`
    that is no checkpoint."""
    if start and not (start / "model_index.json").exists():
        raise ValueError(f"{start} is no exported checkpoint: it has no model_index.json.")
    document = tomllib.loads((HERE / "config.toml").read_text())
    common = document.pop("common")
    if profile not in document:
        raise ValueError(f"profile {profile!r}: config.toml has {', '.join(sorted(document))}.")
    chosen = document[profile]
    stages = {name: Stage(**numbers) for name, numbers in chosen.pop("stages").items()}
    networks = {
        name: common.pop(name) for name in [k for k in common if isinstance(common[k], dict)]
    }
    return Config(**common, **chosen, stages=stages, networks=networks, work=work, start=start)
