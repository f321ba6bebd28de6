"""Documents with known pixels, selections, and what became of them. RGBA8 rows, no padding."""

import random

from krita import Krita, Selection
from PyQt5.QtCore import QByteArray
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QAbstractItemView

from .stepping import until

__all__ = [
    "changed_outside",
    "close_all",
    "gradient",
    "history",
    "layer_tree",
    "new_document",
    "noise",
    "projection_bytes",
    "redo",
    "select",
    "select_mask",
    "undo",
]

SRGB = "sRGB-elle-V2-srgbtrc.icc"


def noise(width, height, seed=1):
    """Opaque pixels that are all different, so that a shift by one is seen."""
    data = bytearray(random.Random(seed).randbytes(width * height * 4))
    data[3::4] = b"\xff" * (width * height)
    return bytes(data)


def gradient(width, height):
    """A soft mask that rises from left to right, 0..255."""
    row = bytes(round(255 * x / max(1, width - 1)) for x in range(width))
    return row * height


def new_document(
    width, height, pixels=None, *, name="test", model="RGBA", depth="U8", profile=SRGB
):
    """``doc = yield from new_document(...)``: shown in a view, settled, not modified.

    pixels: RGBA8 for the bottom layer of an 8-bit RGBA document; otherwise it stays white.
    """
    app = Krita.instance()
    doc = app.createDocument(width, height, name, model, depth, profile, 300.0)
    app.activeWindow().addView(doc)
    yield until(lambda: app.activeDocument() == doc, 10, "the new document's view")
    if pixels is not None:
        image = QImage(pixels, width, height, width * 4, QImage.Format_ARGB32).rgbSwapped()
        bits = image.constBits()
        bits.setsize(image.sizeInBytes())
        node = doc.topLevelNodes()[0]
        node.setLocked(False)
        node.setPixelData(QByteArray(bytes(bits)), 0, 0, width, height)
    doc.refreshProjection()
    doc.waitForDone()
    doc.setModified(False)
    yield 100
    return doc


def close_all():
    """Close every document without the question whether to save it."""
    for doc in Krita.instance().documents():
        doc.waitForDone()  # closing in the middle of an update can crash Krita
        doc.setModified(False)
        doc.close()


def select(doc, x, y, width, height, value=255):
    """A selection with hard edges; ``value`` 0..255 is how much is selected."""
    selection = Selection()
    selection.select(x, y, width, height, value)
    doc.setSelection(selection)


def select_mask(doc, x, y, width, height, mask):
    """A soft selection: ``mask`` holds width * height values 0..255."""
    assert len(mask) == width * height
    selection = Selection()
    selection.setPixelData(QByteArray(mask), x, y, width, height)
    doc.setSelection(selection)


def projection_bytes(doc, x=0, y=0, width=None, height=None):
    """What is visible (by default on the whole canvas), after Krita has finished."""
    doc.waitForDone()
    width, height = width or doc.width(), height or doc.height()
    image = doc.projection(x, y, width, height).convertToFormat(QImage.Format_RGBA8888)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return bytes(bits)


def changed_outside(before, after, width, selected):
    """How many pixels differ where ``selected`` (one byte for every pixel) is 0."""
    assert len(before) == len(after) == 4 * len(selected)
    count = 0
    for y in range(len(selected) // width):
        a, b = (data[y * width * 4 : (y + 1) * width * 4] for data in (before, after))
        if a != b:
            count += sum(
                a[4 * x : 4 * x + 4] != b[4 * x : 4 * x + 4]
                for x, value in enumerate(selected[y * width : (y + 1) * width])
                if not value
            )
    return count


def layer_tree(doc):
    """The layer stack, bottom to top: [name, type, [members]]."""

    def branch(node):
        return [[n.name(), n.type(), branch(n)] for n in node.childNodes()]

    return branch(doc.rootNode())


def history():
    """The rows of Krita's Undo History docker."""
    docker = next(d for d in Krita.instance().dockers() if d.objectName() == "History")
    model = docker.findChildren(QAbstractItemView)[0].model()
    return [model.data(model.index(i, 0)) for i in range(model.rowCount())]


def undo(doc):
    """``yield from undo(doc)``"""
    yield from _action("edit_undo", doc)


def redo(doc):
    """``yield from redo(doc)``"""
    yield from _action("edit_redo", doc)


def _action(name, doc):
    Krita.instance().action(name).trigger()
    yield 100
    doc.waitForDone()
