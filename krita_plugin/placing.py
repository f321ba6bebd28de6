"""A finished picture on its way into the document: what it is made of, and where it goes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ..protocol import messages as m
from ..protocol.region import Rect
from . import finished, recipe, writing
from .document import Document, LayerGone
from .finished import Finished
from .images import rgba_bytes
from .painting import Painting

# Krita's violet, in its default palette of colour labels.
_LABEL = 7


def place(
    document: Document,
    painting: Painting | None,
    sheets: Sequence[writing.Sheet],
    group: str,
) -> tuple[list[str], bool]:
    """Add the layers where they were asked for; their ids, and False if they had to go on top.

    painting: None for a picture that was asked from another document. In an animation they are on
    the frames that showed what was asked about, or show what is seen now.
    """
    frames = document.frames if painting is None else painting.frames
    insert = partial(document.insert, sheets, label=_LABEL, group=group, frames=frames)
    if painting is None:
        return insert(), True
    try:
        return insert(above=painting.above, like=painting.source), True
    except LayerGone:
        return insert(), False


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


def sheets_of(pictures: Sequence[Finished], depth: str, with_mask: bool) -> list[writing.Sheet]:
    """Bottom to top; only the top one is visible. Runs on the workshop's thread."""
    made = []
    for picture in pictures:
        if with_mask:
            rgba, mask = finished.opaque_with_mask(picture)
            sheet = writing.sheet(picture.title, picture.around, rgba, depth, mask)
        else:
            rgba = rgba_bytes(picture.image)
            sheet = writing.sheet(picture.title, picture.rect, rgba, depth)
        made.append(replace(sheet, visible=picture is pictures[-1]))
    return made
