"""A finished picture on its way into the document: what it is made of, and where it goes."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..protocol import messages as m
from ..protocol.region import Rect
from . import finished, recipe, writing
from .document import Document, LayerGone
from .finished import Finished, Outline
from .images import rgba_bytes
from .painting import Painting
from .qt import QtGui
from .trial import Trial
from .writing import Place

# Krita's violet, in its default palette of colour labels.
_LABEL = 7


@dataclass(frozen=True)
class Laying:
    """How a picture is going to lie in its document. hides: the layers that it stands for."""

    place: Place
    hides: tuple[str, ...]


def laying(document: Document, painting: Painting) -> Laying:
    """Where its layer goes, so that what is kept looks as if its source had been painted over.

    Raises LayerGone.
    """
    source, hides = painting.source, painting.hides
    whole = Laying(Place(painting.above, source), hides)
    is_part = source is not None and painting.request.selection is not None
    if source is None or not is_part or painting.frames is not None or document.is_plain(source):
        return whole
    clips = painting.request.keep_outline
    above = painting.above or source
    if document.layer(above).parent != document.layer(source).parent:
        # In the group that stands for the source already: a copy of it lies below.
        return Laying(Place(above, None, is_clipped=clips), hides)
    # Over the source it would be multiplied, faded or clipped twice.
    place = Place(above, source, copies=True, is_clipped=clips)
    return Laying(place, tuple(dict.fromkeys((*hides, source))))


def place(
    document: Document, painting: Painting | None, sheets: Sequence[writing.Sheet], group: str
) -> tuple[list[str], tuple[str, ...], bool]:
    """Add the layers where they were asked for; their ids, which layers they stand for, and False if
    they had to go on top.

    painting: None for a picture that was asked from another document. In an animation they are on
    the frames that showed what was asked about, or show what is seen now.
    """
    frames = document.frames if painting is None else painting.frames
    insert = partial(document.insert, sheets, label=_LABEL, group=group, frames=frames)
    if painting is None:
        return insert(Place()), (), True
    try:
        found = laying(document, painting)
        return insert(found.place), found.hides, True
    except LayerGone:
        return insert(Place()), painting.hides, False


def outline_of(document: Document, painting: Painting | None) -> Outline | None:
    """The source's alpha, where the new layer is clipped to it and needs none of its own."""
    if painting is None or painting.request.source is None:
        return None
    if document.size != painting.request.canvas:  # scaled: its pixels are others
        return None
    with contextlib.suppress(LayerGone):
        if laying(document, painting).place.is_clipped:
            return Outline(painting.request.region, bytes(painting.request.source.data)[3::4])
    return None


def can_try(document: Document, painting: Painting) -> bool:
    """False where the canvas is, or will be, another one than the layers that are there now fill."""
    return painting.fits(document.size) and painting.room(document) is None


def needs_trial(document: Document, painting: Painting) -> bool:
    """True where a picture laid over the canvas would not look as it will when it is kept."""
    if document.color_space[0] != "RGBA":
        return True
    if painting.above is None:
        return False
    layers = [layer for layer in document.layers() if layer.is_picture]
    source = painting.source
    return layers[-1].id != painting.above or (source is not None and not document.is_plain(source))


def in_own_colours(document: Document, image: QtGui.QImage) -> QtGui.QImage:
    """As the document will show the image's colours (RGBA): not all of sRGB is in CMYK, or in grey."""
    if document.color_space[0] == "RGBA":
        return image
    return document.in_own_colours(image)


def open_trial(document: Document, painting: Painting, rect: Rect) -> Trial:
    """A look at the document with a picture of that press at ``rect``. Raises DocumentError."""
    try:
        found = laying(document, painting)
        return document.open_trial(rect, found.place, found.hides)
    except LayerGone:
        return document.open_trial(rect, Place(), painting.hides)


def visible_sum(document: Document, rect: Rect) -> int:
    """A checksum of what is visible there; 1.5 ms for 1024 x 1024."""
    return zlib.crc32(document.read_projection(rect))


def finished_of(result: m.Result, painting: Painting) -> Finished:
    """Runs on the workshop's thread."""
    action, request = painting.action, painting.request
    return finished.of_result(
        result,
        recipe.layer_name(action, request.prompt),
        prompt=request.prompt,
        canvas=request.canvas,
        made=recipe.of_result(action, painting.settings, request, result, painting.source),
    )


def sheets_of(
    pictures: Sequence[Finished], depth: str, with_mask: bool, outline: Outline | None = None
) -> list[writing.Sheet]:
    """Bottom to top; only the top one is visible. outline: what they will be clipped to. Runs on the
    workshop's thread."""
    made = []
    for picture in pictures:
        if with_mask:
            rgba, mask = finished.opaque_with_mask(picture)
            if outline is not None:
                mask = finished.unclipped(mask, picture.around, outline)
            sheet = writing.sheet(picture.title, picture.around, rgba, depth, mask)
        else:
            rgba = rgba_bytes(picture.image)
            if outline is not None:
                whole = bytearray(rgba)
                whole[3::4] = finished.unclipped(rgba[3::4], picture.rect, outline)
                rgba = bytes(whole)
            sheet = writing.sheet(picture.title, picture.rect, rgba, depth)
        made.append(replace(sheet, visible=picture is pictures[-1]))
    return made
