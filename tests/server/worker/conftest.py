"""A tiny random-weight checkpoint in the starter's layout."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoints import make_sdxl
from families import MAKERS
from painting import make_tiny_engine
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.server.worker.engine import Engine


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def inpaint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a UNet of 9 channels."""
    from diffusers import UNet2DConditionModel

    folder = make_tiny(tmp_path_factory.mktemp("models") / "tiny")
    config = json.loads((folder / "unet" / "config.json").read_text())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_config({**config, "in_channels": 9})
    unet.save_pretrained(folder / "unet")
    return folder


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each of MAKERS."""
    root = tmp_path_factory.mktemp("families")
    made = {name: root / name / "tiny" for name in MAKERS}
    for name, folder in made.items():
        MAKERS[name](folder)
    return made


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def unet(request, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    from diffusers import UNet2DConditionModel

    folder = tiny_folder
    if request.param == "sdxl":
        folder = make_sdxl(tmp_path_factory.mktemp("models") / "xl")
    return UNet2DConditionModel.from_pretrained(folder / "unet").eval().requires_grad_(False)


@pytest.fixture(scope="session")
def engine(tiny_folder: Path) -> Engine:
    return make_tiny_engine(tiny_folder)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    # The libraries' million objects stay: until the end no collection looks at them again.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
