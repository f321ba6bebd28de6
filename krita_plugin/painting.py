"""One press of the painter's, from asking to the layer."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from ..protocol import messages as m
from ..protocol.region import Rect, Size
from .document import Document, TooLarge
from .frames import Frames
from .state import Settings


@dataclass(frozen=True)
class Painting:
    """One press: what was asked, from which document, and where its layer belongs.

    file: the document's path, "" while it was never saved. source: the layer that is painted over
    and whose style the new one gets, None for everything visible. above: the layer below the new
    one, None for the top of the stack. hides: layers that the new one stands for. asked_size: the
    document's then. enlarge: what becomes the canvas when a picture of it is kept, in the pixels of
    the canvas as it was; None where the canvas stays. watched: the part of the canvas that it will
    cover, None for nothing, before: a checksum of what was visible there, and shown: whether each
    layer's eye was open. frames: of an animation, those that showed what was asked about; None for
    all.
    """

    request: m.Generate
    action: str
    settings: Settings
    document: Document
    name: str
    file: str
    source: str | None
    above: str | None
    hides: tuple[str, ...]
    asked_size: Size
    enlarge: Rect | None
    watched: Rect | None
    before: int
    shown: Mapping[str, bool]
    frames: Frames | None = None

    def fits(self, size: Size) -> bool:
        """False where the document was resized meanwhile: what was asked for may have moved."""
        return size == self.request.canvas or (self.enlarge is not None and size == self.asked_size)

    def room(self, document: Document) -> Rect | None:
        """What becomes the canvas before a picture is placed; None where it stays, also where an
        earlier picture of the same press enlarged it."""
        return self.enlarge if document.size == self.asked_size else None

    def placed(self, rect: Rect, size: Size) -> Rect:
        """Where ``rect`` of the request's canvas lies while the document has that size."""
        if self.enlarge is None or size != self.asked_size:
            return rect
        x, y = rect.x + self.enlarge.x, rect.y + self.enlarge.y
        return Rect(x, y, rect.width, rect.height)


def is_as_asked(painting: Painting) -> bool:
    """True while its document, which is open, has the size that it was asked for."""
    with contextlib.suppress(TooLarge):
        return painting.fits(painting.document.size)
    return False


def hidden_by(is_whole: bool, source: str | None, reopened: str | None) -> tuple[str, ...]:
    """What a new layer stands for: all of its source, so that soft edges and Multiply do not count
    twice, and the layer whose recipe it was painted from."""
    return tuple(layer for layer in (source if is_whole else None, reopened) if layer is not None)
