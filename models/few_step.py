"""Find few-step weights beside a model: a LoRA that lets it paint in a handful of steps.

Sources: LCM-LoRA (Luo et al. 2023), and what has its form: Hyper-SD, Lightning, TCD.
"""

from __future__ import annotations

from pathlib import Path

# Beside the model's own sub-folders.
FEW_STEP = "lora-few-step.safetensors"


def find_few_step(folder: Path) -> Path | None:
    """Return the few-step LoRA in a model's folder, if there is one."""
    path = folder / FEW_STEP
    return path if path.is_file() else None
