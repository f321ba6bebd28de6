"""Make the tiny checkpoints that both commits paint with, by the first commit's own makers.

Run as a script by that commit's Python: ``models.py FOLDER TESTS``, TESTS its folder ``tests``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Model -> widths of its text encoders, which its textual inversions must have.
WIDTHS: dict[str, tuple[int, ...]] = {
    "sd15": (32,),
    "sd15 inpaint": (32,),
    "sd15 few steps": (32,),
    "lcm": (32,),
    "sd2": (1024,),
    "sd2 inpaint": (1024,),
    "sd2 depth": (1024,),
    "sdxl": (32, 32),
    "sdxl inpaint": (32, 32),
    "sdxl few steps": (32, 32),
    "sdxl v": (32, 32),
}


def make_models(root: Path) -> None:
    """Write each of WIDTHS to ``root/<name>/tiny``, with LoRAs, words and ControlNets beside it."""
    from checkpoints import make_net, put_encoder, seeded
    from families import MAKERS
    from lora_files import make_lora, make_word, parts_of
    from velatura.models.starter.recipe.networks import build_vae_tiny
    from velatura.models.starter.recipe.tiny import tiny_config

    for name, widths in WIDTHS.items():
        folder = root / name / "tiny"
        MAKERS[name](folder)
        # The maker of the inpainting model takes its net from a model that it leaves beside it.
        shutil.rmtree(folder.with_name("plain"), ignore_errors=True)
        if len(widths) == 1:
            # Of one layer, every clip skip would be the same.
            put_encoder(folder, num_hidden_layers=3)
        parts = parts_of(folder)
        loras = root / name / "loras"
        make_lora(loras / "ink.safetensors", parts)
        make_lora(loras / "chalk.safetensors", parts, "peft", seed=1, alpha=3.0)
        wash = {"seed": 2, "alpha": None, "only": "unet", "convolutions": True}
        make_lora(loras / "wash.safetensors", parts, "original", **wash)
        make_word(root / name / "embeddings" / "dusk.safetensors", widths)
    for seed, kind in enumerate(("depth", "tile", "inpaint"), 1):
        make_net(root / "sd15/tiny/unet", root / f"sd15/tiny/controlnet-{kind}", seed=seed)
    make_net(root / "sdxl/tiny/unet", root / "sdxl/controlnet/union", num_control_type=8)
    tiny = seeded(lambda: build_vae_tiny(tiny_config(root)))
    for name in ("sd15", "sdxl"):
        tiny.save_pretrained(root / name / "tiny" / "vae-tiny")


if __name__ == "__main__":
    target, tests = map(Path, sys.argv[1:])
    sys.path[:0] = [str(tests), str(tests / "server" / "worker")]
    unfinished = target.with_name(f"{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    make_models(unfinished)
    unfinished.rename(target)
