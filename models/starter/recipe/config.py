"""The recipe's numbers: `config.toml`, one profile merged over what all profiles share."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORK = HERE / "work"
STARTER = HERE.parent


@dataclass(frozen=True)
class Stage:
    """How long and how fast one network is trained. `minutes` counts training time only."""

    steps: int
    minutes: float
    batch: int
    rate: float
    crop: int = 0


@dataclass(frozen=True)
class Config:
    """One profile. Sizes in pixels; `networks` maps a network's name to its shape."""

    size: int
    pictures: int
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

    @property
    def latent(self) -> int:
        """Side of a latent, in latent pixels (the autoencoder's factor is 8)."""
        return self.size // 8


def load(profile: str = "cpu", work: Path = WORK) -> Config:
    """Read one profile. Raises ValueError for a name that config.toml does not have."""
    document = tomllib.loads((HERE / "config.toml").read_text())
    common = document.pop("common")
    if profile not in document:
        raise ValueError(f"profile {profile!r}: config.toml has {', '.join(sorted(document))}.")
    chosen = document[profile]
    stages = {name: Stage(**numbers) for name, numbers in chosen.pop("stages").items()}
    networks = {
        name: common.pop(name) for name in [k for k in common if isinstance(common[k], dict)]
    }
    return Config(**common, **chosen, stages=stages, networks=networks, work=work)
