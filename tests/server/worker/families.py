"""One tiny random-weight checkpoint of every family, and of every kind of model in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkpoints import edit, make_net, make_sd2, make_sdxl, put_estimator, put_unet
from velatura.models.starter.recipe.tiny import make_tiny


def _with_unet(folder: Path, **changes: Any) -> Path:
    made = make_tiny(folder)
    put_unet(made, **changes)
    return made


def _sdxl_inpaint(folder: Path) -> Path:
    net = make_sdxl(folder.with_name("plain")) / "controlnet-line"
    shutil.copytree(net, make_sdxl(folder, in_channels=9) / net.name)
    return folder


def _union(folder: Path) -> Path:
    made = make_sdxl(folder)
    shutil.rmtree(made / "controlnet-line")
    make_net(made / "unet", made / "controlnet-pose", num_control_type=8)
    return made


def _scheduled(folder: Path, **changes: Any) -> Path:
    edit(folder / "scheduler" / "scheduler_config.json", **changes)
    return folder


def _few_steps(folder: Path) -> Path:
    """As Lightning, Hyper-SD and Turbo are saved."""
    name = "EulerDiscreteScheduler"
    return _scheduled(folder, _class_name=name, timestep_spacing="trailing")


def _sd2(folder: Path, prediction: str = "epsilon", channels: int = 4) -> Path:
    made = make_sd2(folder, prediction, channels)
    shutil.rmtree(made / "controlnet-line")
    make_net(made / "unet", made / "controlnet-line")
    return made


def _sd2_depth(folder: Path) -> Path:
    put_estimator(make_sd2(folder, channels=5))
    return folder


MAKERS: dict[str, Callable[[Path], Any]] = {
    "sd15": make_tiny,
    "sd15 inpaint": lambda folder: _with_unet(folder, in_channels=9),
    "lcm": lambda folder: _with_unet(folder, time_cond_proj_dim=8),
    "sd15 few steps": lambda folder: _few_steps(make_tiny(folder)),
    "sd2": lambda folder: _sd2(folder, "v_prediction"),
    "sd2 inpaint": lambda folder: _sd2(folder, channels=9),
    "sd2 depth": _sd2_depth,
    "sdxl": make_sdxl,
    "sdxl inpaint": _sdxl_inpaint,
    "sdxl few steps": lambda folder: _few_steps(make_sdxl(folder)),
    "sdxl v": lambda folder: _scheduled(make_sdxl(folder), prediction_type="v_prediction"),
    "sdxl union": _union,
}
