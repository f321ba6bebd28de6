"""One press of the painter's, from asking to the layer."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol import messages as m
from ..protocol.region import Rect, Size
from .document import Document
from .state import Settings


@dataclass(frozen=True)
class Painting:
    """One press: what was asked, from which document, and above which layer it belongs.

    source: the layer that is painted over, None for everything visible. asked_size: the
    document's then. enlarge: what becomes the canvas when a picture of it is kept, in the pixels of
    the canvas as it was; None where the canvas stays.
    """

    request: m.Generate
    action: str
    settings: Settings
    document: Document
    name: str
    source: str | None
    above: str | None
    asked_size: Size
    enlarge: Rect | None = None

    def fits(self, size: Size) -> bool:
        """False where the document was resized meanwhile: what was asked for may have moved."""
        return size == self.request.canvas or (self.enlarge is not None and size == self.asked_size)

    def room(self, document: Document) -> Rect | None:
        """What becomes the canvas before a picture is placed; None where it stays, also where an
        earlier picture of the same press enlarged it."""
        return self.enlarge if document.size == self.asked_size else None
