"""Krita's documents: with nodes.py and writing.py the only files that touch their API.

Everything here runs on the GUI thread. Nodes are named by their ids, never held: a painter may
delete a layer or close a document at any time. Layer ids outlive saving and loading.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from krita import Krita, Selection

from ..protocol.pixels import LARGEST_SIDE
from ..protocol.region import Rect, Size
from ..protocol.sentences import Sentence
from . import sight, writing
from .canvas import Limits
from .frames import Frames, frames_of
from .images import rgba_bytes, rgba_image, swap_red_blue
from .nodes import (
    PICTURES,
    SRGB,
    DocumentClosed,
    DocumentError,
    Layer,
    LayerGone,
    TooLarge,
    cloned,
    converted,
    find,
    id_of,
    is_selection,
    layer_of,
    space_of,
    stack,
)
from .qt import QtCore
from .trial import Trial
from .writing import Place, Sheet

__all__ = [
    "Document",
    "DocumentClosed",
    "DocumentError",
    "Layer",
    "LayerGone",
    "TooLarge",
    "active_document",
    "open_documents",
    "too_large",
]

_ANNOTATION = "velatura/"
# Canvas pixels around a part that is read of a copy.
_AROUND = 64


def active_document() -> Document | None:
    """The document that the painter is looking at, or None: also where it is ``too_large``."""
    found = Krita.instance().activeDocument()
    return None if found is None or _oversize(found) is not None else Document(found)


def too_large() -> Sentence | None:
    """Why the document that the painter is looking at cannot be worked on, None where it can."""
    found = Krita.instance().activeDocument()
    return None if found is None else _oversize(found)


def _oversize(handle: Any) -> Sentence | None:
    width, height = handle.width(), handle.height()
    if max(width, height) <= LARGEST_SIDE:
        return None
    return Sentence(
        "The canvas, {width} x {height} pixels, is too large: at most {most} on a side can be "
        "painted. Crop it, or paint in a copy of a part.",
        width=width,
        height=height,
        most=LARGEST_SIDE,
    )


def open_documents() -> list[Document]:
    return [Document(found) for found in Krita.instance().documents()]


class Document:
    """One open document, recognised again even while another is active.

    Two are equal when they mean the same open document. After the painter closed it, ``is_open``
    is False and everything else raises DocumentClosed.
    """

    def __init__(self, handle: Any) -> None:
        # Krita's handle is a weak reference: it stays safe to ask after the document is gone, and
        # unlike the root node's id it also differs between a document and its copy.
        self._handle = handle

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and bool(self._handle == other._handle)

    __hash__ = None  # type: ignore[assignment]  # equality is Krita's, which offers no hash

    @property
    def is_open(self) -> bool:
        return any(found == self._handle for found in Krita.instance().documents())

    @property
    def is_active(self) -> bool:
        active = Krita.instance().activeDocument()
        return active is not None and bool(active == self._handle)

    @property
    def name(self) -> str:
        """The file's name, or the document's title while it was never saved."""
        handle = self._open()
        return str(handle.fileName().replace("\\", "/").rpartition("/")[2] or handle.name())

    @property
    def size(self) -> Size:
        """Raises TooLarge."""
        handle = self._open()
        sentence = _oversize(handle)
        if sentence is not None:
            raise TooLarge(sentence)
        return Size(handle.width(), handle.height())

    @property
    def color_space(self) -> tuple[str, str, str]:
        """(model, depth, profile) in Krita's words, such as ("RGBA", "U8", "sRGB-...")."""
        handle = self._open()
        return handle.colorModel(), handle.colorDepth(), handle.colorProfile()

    @property
    def frames(self) -> Frames | None:
        """Of an animation, the frames that show what is seen now; None where all do."""
        return frames_of(self._open())

    @property
    def path(self) -> str:
        """The file, "" while it was never saved."""
        return str(self._open().fileName())

    @property
    def is_saved(self) -> bool:
        """True when the file holds everything."""
        handle = self._open()
        return bool(handle.fileName()) and not handle.modified()

    def wait_for_idle(self) -> None:
        """Let Krita finish pending updates. Ends a running stroke: not for use while painting.

        Krita refreshes on threads of its own and clears each part before it is drawn again: without
        this a read may catch holes and old pixels, also where nothing changed.
        """
        self._open().waitForDone()

    # Reading

    def read_projection(self, rect: Rect) -> bytes:
        """What is visible in ``rect`` as RGBA8, sRGB, straight alpha.

        Krita converts from every colour model and depth. Beyond the canvas it shows whatever the
        layers hold there: ask for what lies inside.
        """
        return rgba_bytes(self._open().projection(rect.x, rect.y, rect.width, rect.height))

    def picture(self, rect: Rect) -> Any:
        """As ``read_projection``, as a QImage."""
        return self._open().projection(rect.x, rect.y, rect.width, rect.height)

    def read_layer(self, layer: str, rect: Rect) -> bytes:
        """One layer (with its masks and, for a group, its members) in ``rect`` as RGBA8, sRGB.

        The layer's own opacity and blending are left out. 8-bit sRGB is read as it is; any other
        space is converted on a throw-away clone of the document, which costs a few ms and leaves
        the painter's History alone.
        """
        node = self._node(layer)
        if node.type() not in PICTURES:
            raise DocumentError(
                Sentence(
                    '"{name}" is a mask: choose a layer that holds a picture.', name=node.name()
                )
            )
        data = bytes(node.projectionPixelData(rect.x, rect.y, rect.width, rect.height))
        space = space_of(node)
        if space != SRGB:
            data = converted(self._open(), data, rect.width, rect.height, space, SRGB)
        return swap_red_blue(data, rect.width, rect.height)

    def selection_bounds(self) -> Rect | None:
        """The smallest rectangle around what is selected of the canvas; None when nothing is.

        A selection mask on the current layer counts as the selection.
        """
        handle = self._open()
        found = sight.holding(handle).selection
        if found is None:
            return None
        # An inverted selection reaches far beyond the canvas, further than a Rect may.
        left, top = max(0, found.x()), max(0, found.y())
        right = min(handle.width(), found.x() + found.width())
        bottom = min(handle.height(), found.y() + found.height())
        if right <= left or bottom <= top:
            return None
        return Rect(left, top, right - left, bottom - top)

    def read_selection(self, rect: Rect) -> bytes | None:
        """How much each pixel of ``rect`` is selected, 0..255 (Gray8), or None without one."""
        found = sight.holding(self._open()).selection
        if found is None:
            return None
        return bytes(found.pixelData(rect.x, rect.y, rect.width, rect.height))

    def limits(self) -> Limits:
        """What stands between the document and a reader."""
        return sight.limits(self._open())

    def has_transparency(self, layer: str) -> bool:
        """True when some of the canvas shows through this layer. Reads a few lines of it."""
        size = self.size
        return sight.has_transparency(self._node(layer), size.width, size.height)

    @contextlib.contextmanager
    def without(self, layers: Collection[str], rect: Rect | None = None) -> Iterator[Document]:
        """This document with those layers hidden, to be read and then forgotten."""
        with self.shown_as(dict.fromkeys(layers, False), rect) as document:
            yield document

    @property
    def shown(self) -> dict[str, bool]:
        """Of every layer and mask, whether its eye is open."""
        return {id_of(node): node.visible() for node in stack(self._open())}

    @contextlib.contextmanager
    def shown_as(self, shown: Mapping[str, bool], rect: Rect | None = None) -> Iterator[Document]:
        """This document with those layers shown or hidden, to be read and then forgotten.

        rect: the part that will be read, None for all; of a large canvas it is much quicker.
        A clone, because hiding a layer in the painter's own document would be seen, and would
        change the file. Where all of them are so already it is this document itself.
        """
        others = {
            layer
            for layer, is_shown in self.shown.items()
            if shown.get(layer, is_shown) != is_shown
        }
        if not others:
            yield self
            return
        with cloned(self._open()) as clone:
            for node in stack(clone):
                if id_of(node) in others:
                    node.setVisible(not node.visible())
            part = None if rect is None else self._around(rect)
            if part is not None:
                clone.resizeImage(part.x, part.y, part.width, part.height)
            clone.refreshProjection()
            clone.waitForDone()
            yield _Copy(clone, part)

    # Selection

    def select(self, rect: Rect | None, mask: bytes = b"") -> None:
        """Make ``mask`` (Gray8 of ``rect``) the document's selection; None selects nothing."""
        handle = self._open()
        if rect is None:
            handle.setSelection(None)
            return
        selection = Selection()
        selection.setPixelData(QtCore.QByteArray(mask), rect.x, rect.y, rect.width, rect.height)
        handle.setSelection(selection)

    # Layers

    def fingerprint(self, layer: str) -> tuple[int, int, int]:
        """(width, height, crc32) of a layer's pixels, wherever on the canvas they lie."""
        node = self._node(layer)
        at = node.bounds()
        data = bytes(node.pixelData(at.x(), at.y(), at.width(), at.height()))
        return at.width(), at.height(), zlib.crc32(data)

    def layers(self) -> list[Layer]:
        """Every layer and mask, bottom to top, members right after their group."""
        handle = self._open()
        root = handle.rootNode()
        return [layer_of(node, root) for node in stack(handle)]

    def layer(self, layer: str) -> Layer:
        return layer_of(self._node(layer), self._open().rootNode())

    @property
    def active_layer(self) -> str | None:
        node = self._open().activeNode()
        return None if node is None or is_selection(node) else id_of(node)

    def activate_layer(self, layer: str) -> None:
        self._open().setActiveNode(self._node(layer))

    def add_layer(
        self,
        name: str,
        rect: Rect,
        rgba: bytes | memoryview,
        above: str | None = None,
        *,
        visible: bool = True,
        frames: Frames | None = None,
    ) -> str:
        """Add a paint layer with ``rgba`` (RGBA8, sRGB, straight alpha) at ``rect``; return its id.

        It lies above the layer ``above`` (in its group; above the owner if it is a mask), or on
        top of everything, in the document's own colour model and depth. One undo takes it away,
        and redo brings its pixels back, because they are set before it is added. Krita makes the new
        layer active when its event loop runs again; the selection
        stays. Raises LayerGone when ``above`` was deleted.
        """
        made = replace(writing.sheet(name, rect, rgba, "U8"), visible=visible)
        return self.insert([made], Place(above), frames=frames)[0]

    def insert(
        self,
        sheets: Sequence[Sheet],
        place: Place,
        *,
        label: int = 0,
        group: str = "",
        frames: Frames | None = None,
    ) -> list[str]:
        """As ``writing.insert``; where its one undo takes a layer away, ``add_layer`` says more."""
        return writing.insert(self._open(), sheets, place, label=label, group=group, frames=frames)

    def is_plain(self, layer: str) -> bool:
        """True where a layer covers what is below it: no blending, opacity or inherit-alpha."""
        return writing.is_plain(self._node(layer))

    def in_own_colours(self, image: Any) -> Any:
        """The image (RGBA) as the document shows it: into its own colour space and back."""
        handle, width, height = self._open(), image.width(), image.height()
        data = swap_red_blue(rgba_bytes(image), width, height)
        own = converted(handle, data, width, height, SRGB, self.color_space)
        data = converted(handle, own, width, height, self.color_space, SRGB)
        return rgba_image(swap_red_blue(data, width, height), width, height)

    def open_trial(self, rect: Rect, place: Place, hides: Collection[str]) -> Trial:
        """A look at this document with a layer at ``rect``, kept there while ``hides`` are hidden."""
        return Trial(self._open(), rect, place, hides)

    def show_layer(self, layer: str, visible: bool) -> None:
        """Show or hide a layer. Krita makes no row in the History of it."""
        node = self._node(layer)
        if node.visible() != visible:
            node.setVisible(visible)
            self._open().refreshProjection()

    def resize_canvas(self, rect: Rect) -> None:
        """Make ``rect`` (in today's canvas pixels) the whole canvas; layers move along. One undo."""
        self._open().resizeImage(rect.x, rect.y, rect.width, rect.height)

    # Annotations: saved in the .kra file, not part of undo

    def annotation_keys(self) -> list[str]:
        kinds = self._open().annotationTypes()
        return [kind[len(_ANNOTATION) :] for kind in kinds if kind.startswith(_ANNOTATION)]

    def set_annotation(self, key: str, value: Any) -> None:
        """Keep a JSON value with the document under ``key``."""
        data = json.dumps(value, ensure_ascii=False).encode()
        self._open().setAnnotation(_ANNOTATION + key, "Velatura", QtCore.QByteArray(data))

    def annotation(self, key: str) -> Any:
        """The JSON value under ``key``; None when there is none or it is damaged."""
        if _ANNOTATION + key not in self._open().annotationTypes():
            return None
        try:
            return json.loads(bytes(self._handle.annotation(_ANNOTATION + key)))
        except ValueError:  # a file from another hand: not worth losing the picture over
            return None

    def set_bytes(self, key: str, data: bytes) -> None:
        """Keep ``data`` with the document under ``key``; the picture then counts as modified."""
        self._open().setAnnotation(_ANNOTATION + key, "Velatura", QtCore.QByteArray(data))

    def get_bytes(self, key: str) -> bytes:
        """What is kept under ``key``; b"" when there is nothing."""
        return bytes(self._open().annotation(_ANNOTATION + key))

    def remove_annotation(self, key: str) -> None:
        self._open().removeAnnotation(_ANNOTATION + key)

    # Inside

    def _around(self, rect: Rect) -> Rect | None:
        """``rect`` with what blurring layers need around it, inside the canvas."""
        size, more = self.size, _AROUND
        x, y = rect.x - more, rect.y - more
        wide = Rect(x, y, rect.width + 2 * more, rect.height + 2 * more)
        return Rect(0, 0, size.width, size.height).intersection(wide)

    def _open(self) -> Any:
        if not self.is_open:
            raise DocumentClosed("The document was closed: open it again to go on.")
        return self._handle

    def _node(self, layer: str) -> Any:
        return find(self._open(), layer)


class _Copy(Document):
    """A clone, which Krita does not count among its open documents. part: all that is left of it."""

    def __init__(self, handle: Any, part: Rect | None) -> None:
        super().__init__(handle)
        self._part = part

    @property
    def is_open(self) -> bool:
        return True

    def read_projection(self, rect: Rect) -> bytes:
        return super().read_projection(self._inside(rect))

    def read_layer(self, layer: str, rect: Rect) -> bytes:
        return super().read_layer(layer, self._inside(rect))

    def _inside(self, rect: Rect) -> Rect:
        if self._part is None:
            return rect
        return replace(rect, x=rect.x - self._part.x, y=rect.y - self._part.y)
