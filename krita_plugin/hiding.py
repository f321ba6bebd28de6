"""A layer that a new one stands for is hidden with it, and shown again when the new one is undone.

Krita's API hides a layer without a row in the History, so undo alone would leave it hidden. This
follows the new layer instead: gone, the old one is shown; back, it is hidden again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass

from .document import Document, DocumentError


@dataclass
class _Pair:
    document: Document
    layer: str
    hidden: tuple[str, ...]
    is_there: bool = True


class Hiding:
    """Knows the layers that it has hidden since Krita started, as long as undo does."""

    def __init__(self) -> None:
        self._pairs: list[_Pair] = []

    def hide(self, document: Document, layers: Collection[str], new: str) -> None:
        """Hide those of ``layers`` that are visible, for as long as ``new`` is there."""
        visible = {layer.id for layer in document.layers() if layer.visible}
        hidden = tuple(layer for layer in layers if layer in visible)
        if hidden:
            self._pairs.append(_Pair(document, new, hidden))
            _show(document, hidden, visible=False)

    def follow(self) -> None:
        """After anything that undo or redo may have done."""
        self._pairs = [pair for pair in self._pairs if pair.document.is_open]
        for pair in self._pairs:
            is_there = any(layer.id == pair.layer for layer in pair.document.layers())
            if is_there != pair.is_there:
                pair.is_there = is_there
                _show(pair.document, pair.hidden, visible=not is_there)


def _show(document: Document, layers: Collection[str], *, visible: bool) -> None:
    for layer in layers:
        with contextlib.suppress(DocumentError):  # deleted since
            document.show_layer(layer, visible)
