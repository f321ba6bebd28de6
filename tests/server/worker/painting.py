"""Requests of about 64 to 128 pixels for a tiny engine, and what comes back from it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch
from velatura.models.library import Library
from velatura.protocol.messages import Annotate, Generate, Message, Result
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from velatura.server.worker.engine import Engine
from velatura.server.worker.pixels import to_array


def as_image(pixels: np.ndarray) -> Image:
    name = "rgba8" if pixels.ndim == 3 else "gray8"
    return Image(pixels.shape[1], pixels.shape[0], name, pixels.tobytes())


def scenery(width: int = 96, height: int = 80, seed: int = 0) -> np.ndarray:
    """An opaque picture with large shapes and a little noise: (H, W, 4) uint8."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 2 % 256, y * 3 % 256, (x + y) % 256], -1)
    rgb[height // 3 : height // 2, width // 3 : width // 2] = (220, 40, 30)
    rgb += np.random.default_rng(seed).integers(0, 8, rgb.shape)
    alpha = np.full((height, width, 1), 255)
    return np.concatenate([rgb.clip(0, 255), alpha], -1).astype(np.uint8)


def rectangle(width: int, height: int, rect: Rect) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[rect.y : rect.bottom, rect.x : rect.right] = 255
    return mask


def ask(picture: np.ndarray, selection: np.ndarray | None = None, **more: Any) -> Generate:
    """A request over a canvas that is all ``picture``; ``more`` replaces any field."""
    height, width = picture.shape[:2]
    fields: dict[str, Any] = {
        "job": str(uuid.uuid4()),
        "action": "fill",
        "model": "tiny",
        "canvas": Size(width, height),
        "region": Rect(0, 0, width, height),
        "surroundings": as_image(picture),
        "selection": None if selection is None else as_image(selection),
        "prompt": "a red house",
        "steps": 4,
        "sampler": "Euler a",
        "seed": 7,
        "previews": False,
    }
    return Generate(**{**fields, **more})


def answers(engine: Engine, request: Generate | Annotate) -> list[Message]:
    messages: list[Message] = []
    engine.run(request, messages.append, lambda: False)
    return messages


def results(engine: Engine, request: Generate) -> list[Result]:
    return [m for m in answers(engine, request) if isinstance(m, Result)]


def layer_of(result: Result, canvas: Size) -> np.ndarray:
    """The result's layer on an empty canvas: (H, W, 4) uint8."""
    layer = np.zeros((canvas.height, canvas.width, 4), np.uint8)
    pixels = to_array(result.picture)
    height, width = pixels.shape[:2]
    layer[result.y : result.y + height, result.x : result.x + width] = pixels
    return layer


def painted(engine: Engine, request: Generate) -> np.ndarray:
    """The layer of the first variant, on an empty canvas."""
    return layer_of(results(engine, request)[0], request.canvas)


def composite(layer: np.ndarray, below: np.ndarray) -> np.ndarray:
    """8-bit normal blending, as a painting program does it: opaque ``below`` (H, W, 4) uint8."""
    alpha = layer[..., 3:].astype(np.uint32)
    rgb = (layer[..., :3] * alpha + below[..., :3] * (255 - alpha) + 127) // 255
    return np.concatenate([rgb.astype(np.uint8), below[..., 3:]], -1)


def in_memory(engine: Engine, name: str = "tiny", kind: str = "model") -> Any:
    """The model as the engine holds it, or what it holds of another ``kind``."""
    shelf = engine._shelf._values.items()
    (kept,) = [value for key, (value, _) in shelf if key[:2] == (kind, name)]
    return kept.loaded if kind == "model" else kept


def engine_with(models: Path, memory: int | None = None) -> Engine:
    """An engine on the models in a folder, without the starter; ``memory`` in bytes."""
    library = Library([models], starter=models / "no-starter")
    return Engine(library, torch.device("cpu"), torch.float32, "this test's CPU", memory)


def make_tiny_engine(folder: Path, dtype: torch.dtype = torch.float32) -> Engine:
    return Engine(Library([], starter=folder), torch.device("cpu"), dtype, "this test's CPU")
