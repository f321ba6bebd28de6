"""The last stage: everything that was trained, as fp16 safetensors in diffusers' ordinary layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import save_file
from torch import nn
from velatura.models.enlarger import ENLARGER
from velatura.models.starter.recipe.cli import main
from velatura.models.starter.recipe.config import STARTER, Config
from velatura.models.starter.recipe.enlarger import build_enlarger
from velatura.models.starter.recipe.networks import (
    CONTROL_KINDS,
    build_controlnet,
    build_pipeline,
    build_unet,
    build_vae_tiny,
)
from velatura.models.starter.recipe.start import finished_vae
from velatura.models.starter.recipe.training import trained
from velatura.models.starter.recipe.unet import trained_base

PARTS = ("checkpoint", "enlarger")
MIB = 1024 * 1024
LORAS = ("lora-few-step.safetensors", "lora-style-cyanotype.safetensors")


def export(config: Config, folder: Path = STARTER) -> None:
    """Write the checkpoint into `folder`; parts that were not trained yet are named and left out.

    Raises ValueError when the set grows over 56 MiB or a file over 16 MiB.
    """
    tokenizer, text_encoder, unet = trained_base(config)
    vae = finished_vae(config)
    vae.register_to_config(_name_or_path="")  # else the path on this machine is shipped
    build_pipeline(tokenizer, text_encoder.half(), unet.half(), vae.half()).save_pretrained(folder)
    _declare_float32(folder / "text_encoder" / "config.json")
    parts: dict[str, tuple[str, str, nn.Module]] = {
        f"controlnet-{kind}": (f"control_{kind}", "controlnet", build_controlnet(config, unet))
        for kind in CONTROL_KINDS
    }
    parts["unet-depth"] = ("depth", "unet", build_unet(config, in_channels=5))
    parts["vae-tiny"] = ("tiny_decoder", "vae", build_vae_tiny(config))
    for name, (stage, key, network) in parts.items():
        if (config.work / f"{stage}.pt").exists():
            trained(stage, config, network, key).half().save_pretrained(folder / name)
        else:
            print(f"{name}: not trained yet, left out.")
    for name in LORAS:
        if (config.work / name).exists():
            shutil.copyfile(config.work / name, folder / name)
        else:
            print(f"{name}: not trained yet, left out.")
    if (config.work / "enlarger.pt").exists():
        export_enlarger(config, folder)
    check_sizes(folder)


def export_enlarger(config: Config, folder: Path = STARTER) -> None:
    """Write the enlarger alone into `folder`, in the layout that `spandrel` reads."""
    network = trained("enlarger", config, build_enlarger(config), "enlarger").half()
    tensors = {k: v.contiguous().cpu() for k, v in network.state_dict().items()}
    save_file(tensors, folder / ENLARGER, {"format": "pt"})


def export_part(config: Config, part: str) -> None:
    """Write one of PARTS: what did not change need not be written again."""
    {"checkpoint": export, "enlarger": export_enlarger}[part](config)


def _declare_float32(path: Path) -> None:
    """Let the text encoder load as float32 where no dtype is asked for, as diffusers loads the rest.

    transformers would take the stored fp16 otherwise, and the pipeline would mix both.
    """
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"dtype": "float32"}, indent=2) + "\n")


def check_sizes(folder: Path) -> int:
    """Bytes of all weights under `folder`. Raises ValueError when they are too large to ship."""
    files = [p for p in folder.rglob("*.safetensors") if "work" not in p.relative_to(folder).parts]
    total = sum(path.stat().st_size for path in files)
    largest = max(files, key=lambda path: path.stat().st_size)
    if total > 56 * MIB or largest.stat().st_size > 16 * MIB:
        raise ValueError(
            f"The weights are {total / MIB:.1f} MiB (at most 56), the largest file "
            f"{largest.stat().st_size / MIB:.1f} MiB (at most 16): make the networks smaller."
        )
    print(f"{len(files)} weight files, {total / MIB:.1f} MiB.")
    return total


if __name__ == "__main__":
    main(export_part, __doc__, PARTS)
