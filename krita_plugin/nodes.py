"""Krita's nodes and colour spaces: what reading and writing a document share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..protocol.sentences import Sentence
from .qt import QtCore

Space = tuple[str, str, str]
"""Model, depth and profile in Krita's words."""

# Krita's own name for ordinary sRGB: in it, 8-bit pixels are what we send and receive.
SRGB = ("RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc")
# Nodes that hold a picture which can be read; masks hold none.
PICTURES = (
    "paintlayer",
    "grouplayer",
    "vectorlayer",
    "filelayer",
    "filllayer",
    "clonelayer",
)


class DocumentError(Exception):
    """One sentence for the painter: what is in the way and what to do."""


class DocumentClosed(DocumentError):
    """The document was closed."""


class TooLarge(DocumentError):
    """The canvas has more pixels on a side than the protocol takes."""


class LayerGone(DocumentError):
    """The layer was deleted."""


@dataclass(frozen=True)
class Layer:
    """One node of the layer stack as it was when asked.

    opacity: 0..255. parent: the id of the group (or of a mask's owner), None at the top level.
    bounds: x, y, width, height of its pixels in canvas pixels; all 0 when it is empty.
    """

    id: str
    name: str
    type: str
    parent: str | None
    visible: bool
    locked: bool
    opacity: int
    bounds: tuple[int, int, int, int]

    @property
    def is_picture(self) -> bool:
        """True when ``read_layer`` can read it: a layer, not a mask."""
        return self.type in PICTURES


@contextlib.contextmanager
def closing(handle: Any) -> Iterator[Any]:
    """A document that nobody sees, closed in the end."""
    try:
        yield handle
    finally:
        handle.setModified(False)  # or closing asks whether to save
        handle.close()


def cloned(handle: Any) -> contextlib.AbstractContextManager[Any]:
    return closing(handle.clone())


def space_of(node: Any) -> tuple[str, str, str]:
    return node.colorModel(), node.colorDepth(), node.colorProfile()


def set_space(node: Any, space: tuple[str, str, str]) -> None:
    node.setColorSpace(*space)
    if space_of(node) != space:
        raise DocumentError(
            Sentence(
                "Krita cannot convert to {space}: use Image > Convert Image Color Space to make "
                "the document RGBA.",
                space=" ".join(space),
            )
        )


def id_of(node: Any) -> str:
    return str(node.uniqueId().toString())


def is_selection(node: Any) -> bool:
    """True for the document's selection, which Krita keeps as a node below the root."""
    return bool(node.type() == "selectionmask" and node.parentNode().parentNode() is None)


def stack(handle: Any) -> Iterator[Any]:
    return (node for node in _descendants(handle.rootNode()) if not is_selection(node))


def find(handle: Any, layer: str) -> Any:
    """The node of that id. Raises LayerGone."""
    for node in stack(handle):
        if id_of(node) == layer:
            return node
    raise LayerGone("The layer was deleted: choose another one.")


def _descendants(node: Any) -> Iterator[Any]:
    for child in node.childNodes():
        yield child
        yield from _descendants(child)


def layer_of(node: Any, root: Any) -> Layer:
    parent, bounds = node.parentNode(), node.bounds()
    return Layer(
        id=id_of(node),
        name=node.name(),
        type=node.type(),
        parent=None if parent is None or parent == root else id_of(parent),
        visible=node.visible(),
        locked=node.locked(),
        opacity=node.opacity(),
        bounds=(bounds.x(), bounds.y(), bounds.width(), bounds.height()),
    )


def converted(
    handle: Any, data: bytes, width: int, height: int, source: Space, target: Space
) -> bytes:
    """Raw layer pixels from one colour space to another, by Krita itself.

    On a clone, because a change of colour space is a row in the History even for a node that was
    never added to the document.
    """
    with cloned(handle) as clone:
        node = clone.createNode("convert", "paintlayer")
        set_space(node, source)
        node.setPixelData(QtCore.QByteArray(data), 0, 0, width, height)
        set_space(node, target)
        return bytes(node.pixelData(0, 0, width, height))
