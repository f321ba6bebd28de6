"""Trace: the control map of a picture, asked of the server and put into the document as a layer."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ..protocol import messages as m
from ..protocol.pixels import Image
from ..protocol.region import Rect
from ..protocol.sentences import Sentence
from .canvas import Readable
from .capture import CaptureError
from .document import Document
from .images import gray_image, rgba_bytes
from .state import Settings


@dataclass(frozen=True)
class Tracing:
    """One map on its way. ``use``: called with the new layer's id."""

    request: m.Annotate
    document: Document
    use: Callable[[str], None]


def build_request(
    document: Readable, settings: Settings, kind: str, *, most_pixels: int
) -> m.Annotate:
    """The whole canvas as it is visible without the guides. Raises CaptureError."""
    size = document.size
    if size.width * size.height > most_pixels:
        raise CaptureError(
            Sentence(
                "The canvas, {width} x {height} pixels, is larger than the server takes: draw the "
                "guide yourself, or trace a smaller copy.",
                width=size.width,
                height=size.height,
            )
        )
    with document.without(settings.left_out) as seen:
        pixels = seen.read_projection(Rect(0, 0, size.width, size.height))
    picture = Image(size.width, size.height, "rgba8", pixels)
    return m.Annotate(job=str(uuid.uuid4()), kind=kind, picture=picture)


def insert(document: Document, name: str, answer: m.ControlMap) -> str:
    """A new layer on top, hidden: a guide works so, and the map would cover the picture."""
    picture = answer.picture
    width, height = picture.width, picture.height
    data = picture.data
    if picture.format == "gray8":
        data = rgba_bytes(gray_image(data, width, height))
    return document.add_layer(name, Rect(0, 0, width, height), data, visible=False)
