"""Paint live pictures with any model: the whole picture each time, or parts where it can."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import (
    Condition,
    ControlInput,
    Denoiser,
    Prediction,
    Step,
    Words,
)
from velatura.protocol.region import Rect, Size
from velatura.server.worker.errors import JobError
from velatura.server.worker.live.schedule import LiveSteps
from velatura.server.worker.runtime.registry import Accelerations


@dataclass(frozen=True)
class LiveControl:
    """A ControlNet that leads a canvas.

    map  (1, 3, h, w) in 0..1 of the whole picture; None: derived from each picture
    """

    net: torch.nn.Module
    kind: str
    map: torch.Tensor | None
    weight: float
    start: float
    end: float

    def with_map(self, drawn: torch.Tensor) -> ControlInput:
        """Make it a control of one picture, or of a part of one."""
        return ControlInput(self.net, drawn, self.kind, self.weight, self.start, self.end)


@dataclass(frozen=True)
class LiveTools:
    """What all pictures of one canvas under one setting share.

    size  of the pictures that the model sees, in model pixels
    """

    size: Size
    steps: LiveSteps
    words: Words
    controls: Sequence[LiveControl]


class LiveModel(Protocol):
    """A model that paints the pictures of one canvas. Rectangles are whole cells, in model pixels.

    knows_parts  it can paint a part of the picture that it painted last as a part of the whole
    """

    @property
    def knows_parts(self) -> bool: ...

    def fit(self, rect: Rect) -> Rect:
        """Tell what is painted for ``rect``: it, more around it, or everything."""
        ...

    def take_in(self, picture: np.ndarray, rect: Rect) -> None:
        """Encode ``rect`` of ``picture`` (h, w, 3) uint8, which has changed."""
        ...

    def begin(self, rect: Rect, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Begin a picture in which ``rect`` is painted; returns its clean latents, float32.

        ``maps``: the controls' (1, 3, h, w) in 0..1, there.
        """
        ...

    def predict(self, x: torch.Tensor, step: Step) -> Prediction:
        """Predict in the picture begun."""
        ...

    def decode(self, latents: torch.Tensor, rect: Rect) -> np.ndarray:
        """Decode what was painted in ``rect``: (h, w, 3) uint8. Raises JobError (``bad_output``)."""
        ...

    def warming(self) -> tuple[int, int]:
        """Count (done, wanted) of what is prepared beside painting."""
        ...

    def needs_recording(self, rect: Rect) -> bool:
        """Tell whether painting the part ``rect`` would first take time to record something."""
        ...


class LiveNetwork(Protocol):
    """A model in memory that paints live; what its canvases share."""

    @property
    def loaded(self) -> Loaded: ...

    @property
    def nbytes(self) -> int:
        """Bytes of what it holds beside the model in memory."""
        ...

    @property
    def multiple(self) -> int:
        """Tell what the sides of its pictures are multiples of (model pixels), beside the family's."""
        ...

    def on_canvas(self, tools: LiveTools) -> LiveModel:
        """Make what paints one canvas."""
        ...

    def take_weights(self, loaded: Loaded) -> bool:
        """Take the weights of ``loaded`` in place; False where nothing prepared is worth it."""
        ...

    def wait(self) -> None:
        """Wait until what is prepared beside painting is done."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


def make_live_network(loaded: Loaded, accelerations: Accelerations) -> LiveNetwork:
    """Make what paints live with ``loaded``: by parts where a room beside this file knows how."""
    assert __package__
    for room in pkgutil.iter_modules(importlib.import_module(__package__).__path__):
        if room.ispkg:
            made = importlib.import_module(f"{__package__}.{room.name}").make_network(
                loaded, accelerations
            )
            if made is not None:
                return cast(LiveNetwork, made)
    return WholeNetwork(loaded)


class WholeNetwork:
    """Any model: each picture is painted whole, by plain calls."""

    multiple, nbytes = 1, 0

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def on_canvas(self, tools: LiveTools) -> LiveModel:
        """Make what paints one canvas."""
        return WholePicture(tools, self.loaded.denoiser)

    def take_weights(self, loaded: Loaded) -> bool:
        """Take nothing: nothing is prepared."""
        return False

    def wait(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Keep nothing to let go of."""


class WholePicture:
    """Any model: each picture is painted whole."""

    knows_parts = False

    def __init__(self, tools: LiveTools, denoiser: Denoiser) -> None:
        self._tools, self._denoiser = tools, denoiser
        self._clean = torch.zeros(denoiser.latent.shape(tools.size))
        self._condition: Condition = None

    def fit(self, rect: Rect) -> Rect:
        """Tell that everything is painted."""
        return Rect(0, 0, self._tools.size.width, self._tools.size.height)

    def take_in(self, picture: np.ndarray, rect: Rect) -> None:
        """Encode the picture."""
        self._clean = self._denoiser.encode(picture.astype(np.float32) / 255).float()

    def begin(self, rect: Rect, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Begin a picture, led by ``maps``."""
        pairs = zip(self._tools.controls, maps, strict=True)
        controls = [control.with_map(drawn) for control, drawn in pairs]
        if controls or self._condition is None:
            self._condition = self._denoiser.condition(
                self._tools.words, controls, self._tools.size
            )
        return self._clean

    def predict(self, x: torch.Tensor, step: Step) -> Prediction:
        """Predict over the whole picture."""
        return self._denoiser.predict(x, step, self._condition)

    def decode(self, latents: torch.Tensor, rect: Rect) -> np.ndarray:
        """Decode the picture."""
        picture = self._denoiser.decode(latents.to(self._denoiser.dtype))
        check_finite(bool(np.isfinite(picture).all()))
        return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)

    def warming(self) -> tuple[int, int]:
        """Count nothing: nothing is prepared."""
        return 0, 0

    def needs_recording(self, rect: Rect) -> bool:
        """Tell that nothing is recorded."""
        return False


def check_finite(is_finite: bool) -> None:
    """Raise JobError (``bad_output``) for a decoded picture that is none."""
    if not is_finite:
        raise JobError(
            "bad_output",
            "The model returned values that are not numbers; nothing was kept. Try fewer "
            "controls, or the model in full precision.",
        )
