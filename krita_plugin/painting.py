"""One press of the painter's, from asking to the layer."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol import messages as m
from .document import Document
from .state import Settings


@dataclass(frozen=True)
class Painting:
    """One press: what was asked, from which document, and above which layer it belongs.

    source: the layer that is painted over, None for everything visible.
    """

    request: m.Generate
    action: str
    settings: Settings
    document: Document
    name: str
    source: str | None
    above: str | None
