"""The two networks that measure, as they are committed: so that weights of any day are measured by
the same judge. Neither is ever part of a loss.

`python -m velatura.models.starter.recipe.rulers` writes them from their checkpoints. A ruler that was
trained anew gets a new VERSION, and figures of different versions are never put side by side.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import HERE, Config
from velatura.models.starter.recipe.crops import STAGES, CropNet
from velatura.models.starter.recipe.judge import Judge
from velatura.models.starter.recipe.training import trained

VERSION = "1"
RULERS = HERE.parents[2] / "tests" / "data"
MOST_BYTES = 2 * 1024 * 1024


def build_rulers() -> dict[str, tuple[str, nn.Module]]:
    """File name -> the network's name in its checkpoint, and the network, untrained."""
    return {
        "judge": ("judge", Judge()),
        "crop_judge": ("net", CropNet(STAGES["crop_judge"][1])),
    }


def export_rulers(config: Config, folder: Path = RULERS) -> None:
    """Write `judge.safetensors` and `crop_judge.safetensors`, fp16, with VERSION in their headers.

    Raises ValueError when one grows over 2 MiB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (key, network) in build_rulers().items():
        state = trained(name, config, network, key).half().state_dict()
        path = folder / f"{name}.safetensors"
        tensors = {k: v.contiguous().cpu() for k, v in state.items()}
        save_file(tensors, path, {"version": VERSION})
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.name} is larger than 2 MiB: make the network smaller.")


def load_rulers(folder: Path = RULERS, device: str = "cpu") -> tuple[Judge, CropNet, str]:
    """The judge, the crop judge and their version, frozen, as float32.

    Raises FileNotFoundError when they are not there, ValueError when their versions differ.
    """
    networks, versions = [], set()
    for name, (_, network) in build_rulers().items():
        path = folder / f"{name}.safetensors"
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there: train the judges, then run rulers.")
        network.load_state_dict(load_file(path))
        networks.append(network.to(device).eval().requires_grad_(False))
        with safe_open(path, "pt") as file:
            versions.add(file.metadata()["version"])
    if len(versions) > 1:
        raise ValueError(
            f"The rulers are of versions {', '.join(sorted(versions))}: one is allowed."
        )
    return *networks, versions.pop()


if __name__ == "__main__":
    main(export_rulers, __doc__)
