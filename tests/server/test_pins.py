"""The libraries whose insides are used have ceilings, at the minor versions that the tests ran with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
)


@pytest.mark.parametrize("name", ["torch", "torchvision", "diffusers", "transformers"])
def test_the_ceiling_is_the_minor_after_the_tested_one(name: str) -> None:
    (asked,) = [one for one in DEPENDENCIES if one.startswith(f"{name}>=")]
    major, minor, *_ = PINS[name].split(".")
    assert asked.partition(",")[2] == f"<{major}.{int(minor) + 1}"
