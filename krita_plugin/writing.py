"""Finished pictures -> nodes of a document, however many, in one row of Krita's History.

What needs the document's API, as document.py does; split off because it is a subject of its own.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from krita import Krita

from ..protocol.region import Rect
from ..protocol.sentences import Sentence
from .dither import widen
from .frames import Frames
from .images import swap_red_blue
from .keyframes import kra
from .nodes import (
    PICTURES,
    SRGB,
    DocumentError,
    Space,
    cloned,
    closing,
    converted,
    find,
    id_of,
    set_space,
    space_of,
)
from .qt import QtCore

SRGB16 = ("RGBA", "U16", "sRGB-elle-V2-srgbtrc.icc")
# A file of Krita's own with one layer that has a transparency mask. Krita's API makes such a mask
# without its pixels, and saving one crashes Krita (5.1).
_MASK = Path(__file__).with_name("mask.kra")


@dataclass(frozen=True)
class Sheet:
    """One layer to be. data: its pixels in ``space``, in the order of Krita's layers.

    mask: what its transparency mask lets through (Gray8 of ``rect``), None for none.
    """

    name: str
    rect: Rect
    data: bytes
    space: Space = SRGB
    mask: bytes | None = None
    visible: bool = True


@dataclass(frozen=True)
class Style:
    """How a layer lies on what is below it. opacity: 0..255. label: Krita's colour label, 0..8."""

    blending: str = "normal"
    opacity: int = 255
    inherit_alpha: bool = False
    label: int = 0


PLAIN = Style()


@dataclass(frozen=True)
class Place:
    """Where new layers go, and how they lie there.

    above: the id of the layer below them (of a mask: its owner), None for the top of the stack.
    like: the layer whose blending mode, opacity and inherit-alpha they get. copies: True puts a copy
    of ``like`` under them, in a group that stands for it. is_clipped: they end where what lies below
    them ends (inherit alpha).
    """

    above: str | None = None
    like: str | None = None
    copies: bool = False
    is_clipped: bool = False


ON_TOP = Place()


def sheet(
    name: str, rect: Rect, rgba: bytes | memoryview, depth: str, mask: bytes | None = None
) -> Sheet:
    """From RGBA8 (sRGB, straight alpha). depth: the document's; more than 8 bits are dithered.

    Pure: it may run on any thread, and takes some 0.2 s where it dithers 1024 x 1024 pixels.
    """
    data = swap_red_blue(rgba, rect.width, rect.height)
    if depth == "U8":
        return Sheet(name, rect, data, mask=mask)
    return Sheet(name, rect, widen(data, rect.width), SRGB16, mask)


def style_of(node: Any) -> Style:
    return Style(node.blendingMode(), node.opacity(), node.inheritAlpha())


def is_plain(node: Any) -> bool:
    """True where a layer covers what is below it."""
    return style_of(node) == PLAIN


def insert(
    handle: Any,
    sheets: Sequence[Sheet],
    place: Place = ON_TOP,
    *,
    label: int = 0,
    group: str = "",
    frames: Frames | None = None,
) -> list[str]:
    """Add a layer for each sheet; their ids, bottom to top.

    One undo takes all of them away, and redo brings their pixels back, because everything is made
    before it is added. Several, and those with a copy under them, are put into a group of that name,
    which gets the style. label: Krita's colour label. frames: of an animation, those on which they
    are there; None for all. Raises LayerGone, DocumentError.
    """
    space = handle.colorModel(), handle.colorDepth(), handle.colorProfile()
    below = None if place.above is None else find(handle, place.above)
    while below is not None and below.type() not in PICTURES:
        below = below.parentNode()
    style = PLAIN if place.like is None else style_of(find(handle, place.like))
    is_clipped = style.inherit_alpha or (place.is_clipped and not place.copies)
    style = replace(style, label=label, inherit_alpha=is_clipped)
    with _bench(handle, sheets, space, style, frames, copies=place.copies) as bench:
        if frames is not None:
            top = _animated(bench, sheets, space, group, handle.currentTime())
        else:
            top = _group_or_layer(bench, sheets, space, group, place)
        _dress(top, style)
        loose = top if bench is handle else top.clone()
    parent = handle.rootNode() if below is None else below.parentNode()
    if not parent.addChildNode(loose, below):
        raise DocumentError(
            Sentence(
                'Krita refused the layer "{name}": unlock the group it goes into.',
                name=loose.name(),
            )
        )
    if len(sheets) == 1 and not place.copies:
        return [id_of(loose)]
    return [id_of(node) for node in loose.childNodes()[-len(sheets) :]]


def repaint(handle: Any, node: Any, sheet: Sheet, space: Space) -> None:
    """Give a paint layer other pixels at the sheet's place. space: the layer's, and it stays so."""
    data = sheet.data
    if sheet.space != space:
        data = converted(handle, data, sheet.rect.width, sheet.rect.height, sheet.space, space)
    rect = sheet.rect
    node.setPixelData(QtCore.QByteArray(data), rect.x, rect.y, rect.width, rect.height)


def _bench(
    handle: Any,
    sheets: Sequence[Sheet],
    space: Space,
    style: Style,
    frames: Frames | None,
    *,
    copies: bool,
) -> AbstractContextManager[Any]:
    """Where the nodes are made: the document itself, if nothing of it makes a row in its History."""
    if frames is not None:
        return closing(_opened(handle, len(sheets), frames))
    if (
        len(sheets) == 1
        and not copies
        and style.blending == PLAIN.blending
        and sheets[0].space == space
        and sheets[0].mask is None
    ):
        return nullcontext(handle)
    return cloned(handle)


def _opened(handle: Any, layers: int, frames: Frames) -> Any:
    """A document with empty layers that have these keyframes, as large as this one."""
    try:
        with zipfile.ZipFile(_MASK) as file:
            profile = file.read("test/layers/layer2.icc")
        with tempfile.TemporaryDirectory(prefix="velatura-") as folder:
            path = Path(folder, "frames.kra")
            path.write_bytes(kra(handle.width(), handle.height(), layers, frames, profile))
            made = Krita.instance().openDocument(str(path))
    except OSError as error:
        raise DocumentError(
            Sentence(
                "A layer for some frames could not be made ({why}): make room on the disk.",
                why=error.strerror or error,
            )
        ) from error
    if made is None:
        raise DocumentError("Krita did not make a layer for some frames: try again.")
    return made


def _animated(bench: Any, sheets: Sequence[Sheet], space: Space, group: str, now: int) -> Any:
    (top,) = bench.topLevelNodes()
    nodes = top.childNodes() or [top]
    if space != SRGB:
        bench.setColorSpace(*space)
    top.setName(group)
    for node, sheet in zip(nodes, sheets, strict=True):
        node.setName(sheet.name)
        _paint(node, sheet, space)
    # A group is drawn as the painter's frame has it, and comes so.
    bench.setCurrentTime(now)
    bench.waitForDone()
    bench.refreshProjection()
    return top


def _group_or_layer(
    bench: Any, sheets: Sequence[Sheet], space: Space, group: str, place: Place
) -> Any:
    nodes = [bench.createNode(sheet.name, "paintlayer") for sheet in sheets]
    for node, sheet in zip(nodes, sheets, strict=True):
        _paint(node, sheet, space)
    if len(nodes) == 1 and not place.copies:
        return nodes[0]
    top = bench.createNode(group, "grouplayer")
    # In the clone's own tree it is drawn: a group that comes undrawn stays invisible.
    bench.rootNode().addChildNode(top, None)
    if place.copies and place.like is not None:
        top.addChildNode(find(bench, place.like).clone(), None)
        # Asked for again: Krita ends itself where what clone() gave gets another blending mode.
        (copy,) = top.childNodes()
        # "Normal" rounds the colours of what is not opaque, by a step of 8 bits.
        _dress(copy, Style(blending="copy"))
        copy.setVisible(True)
    for node in nodes:
        node.setInheritAlpha(place.copies and place.is_clipped)
        top.addChildNode(node, None)
    bench.waitForDone()
    return top


def _paint(node: Any, sheet: Sheet, space: Space) -> None:
    rect = sheet.rect
    if space_of(node) != sheet.space:
        set_space(node, sheet.space)
    node.setPixelData(QtCore.QByteArray(sheet.data), rect.x, rect.y, rect.width, rect.height)
    if sheet.space != space:
        set_space(node, space)
    node.setVisible(sheet.visible)
    if sheet.mask is not None:
        node.addChildNode(_mask(rect, sheet.mask), None)


def _dress(node: Any, style: Style) -> None:
    if style.blending != PLAIN.blending:
        node.setBlendingMode(style.blending)
    node.setOpacity(style.opacity)
    node.setInheritAlpha(style.inherit_alpha)
    node.setColorLabel(style.label)


def _mask(rect: Rect, mask: bytes) -> Any:
    template = Krita.instance().openDocument(str(_MASK))
    if template is None:
        raise DocumentError("Velatura's mask.kra is missing: install the plugin again.")
    width, height = template.width(), template.height()
    (layer,) = template.topLevelNodes()
    node = layer.childNodes()[0].clone()
    template.setModified(False)
    template.close()
    node.setPixelData(QtCore.QByteArray(bytes(width * height)), 0, 0, width, height)
    node.setPixelData(QtCore.QByteArray(mask), rect.x, rect.y, rect.width, rect.height)
    return node
