"""The painter goes on where they were after a layer of ours was added."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .document import Document

# How long Krita may take to make the new layer current, in seconds; later it is the painter's doing.
_LATEST = 5.0


@dataclass(frozen=True)
class _Left:
    document: Document
    new: str
    layer: str
    at: float


class BackToWork:
    """Krita makes a new layer the current one some time after it was added: take that back."""

    def __init__(self) -> None:
        self._left: _Left | None = None

    def expect(self, document: Document, new: str, layer: str | None) -> None:
        """``new`` was added while ``layer`` was the current one."""
        if layer is not None:
            self._left = _Left(document, new, layer, time.monotonic())

    def follow(self) -> None:
        """After anything that may have made the new layer current."""
        left = self._left
        if left is None:
            return
        if not left.document.is_open or time.monotonic() - left.at > _LATEST:
            self._left = None
        elif left.document.active_layer == left.new:
            self._left = None
            if any(x.id == left.layer for x in left.document.layers()):
                left.document.activate_layer(left.layer)

    def forget(self) -> None:
        self._left = None
