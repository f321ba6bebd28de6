"""Finished pictures -> nodes of a document, however many, in one row of Krita's History.

What needs the document's API, as document.py does; split off because it is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krita import Krita

from ..protocol.region import Rect
from ..protocol.sentences import Sentence
from .dither import widen
from .images import swap_red_blue
from .nodes import PICTURES, SRGB, DocumentError, Space, cloned, id_of, set_space, space_of
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


def insert(
    handle: Any,
    sheets: Sequence[Sheet],
    below: Any,
    style: Style = PLAIN,
    group: str = "",
) -> list[str]:
    """Add layers above ``below`` (a node; None: on top of everything); their ids, bottom to top.

    One undo takes all of them away, and redo brings their pixels back, because everything is made
    before it is added. Several are put into a group of that name, which gets the style. Raises
    DocumentError.
    """
    space = handle.colorModel(), handle.colorDepth(), handle.colorProfile()
    while below is not None and below.type() not in PICTURES:
        below = below.parentNode()
    with _bench(handle, sheets, space, style) as bench:
        nodes = [_paint_layer(bench, sheet, space) for sheet in sheets]
        top = nodes[0]
        if len(nodes) > 1:
            top = bench.createNode(group, "grouplayer")
            # In the clone's own tree it is drawn: a group that comes undrawn stays invisible.
            bench.rootNode().addChildNode(top, None)
            for node in nodes:
                top.addChildNode(node, None)
            bench.waitForDone()
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
    return [id_of(node) for node in (loose.childNodes() if len(sheets) > 1 else [loose])]


@contextmanager
def _bench(handle: Any, sheets: Sequence[Sheet], space: Space, style: Style) -> Iterator[Any]:
    """Where the nodes are made: the document itself, if nothing of it makes a row in its History."""
    if (
        len(sheets) == 1
        and style.blending == PLAIN.blending
        and sheets[0].space == space
        and sheets[0].mask is None
    ):
        yield handle
        return
    with cloned(handle) as clone:
        yield clone


def _paint_layer(bench: Any, sheet: Sheet, space: Space) -> Any:
    rect = sheet.rect
    node = bench.createNode(sheet.name, "paintlayer")
    if space_of(node) != sheet.space:
        set_space(node, sheet.space)
    node.setPixelData(QtCore.QByteArray(sheet.data), rect.x, rect.y, rect.width, rect.height)
    if sheet.space != space:
        set_space(node, space)
    node.setVisible(sheet.visible)
    if sheet.mask is not None:
        node.addChildNode(_mask(rect, sheet.mask), None)
    return node


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
