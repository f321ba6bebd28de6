"""What is kept looks like what was shown: blending, opacity, clipping, layers above, colour spaces.

The engine inverts: what a repainted part must look like is known from Krita itself.
"""

import os

import keeping
import kt
import paint
from exact import INVERTED
from PyQt5.QtCore import QByteArray
from PyQt5.QtGui import QImage, QPainter

VIVID = bytes((255, 0, 80, 255))
# Steps of 8 bits that Krita's rounding costs where alpha is not full.
ROUNDING = 2


def pixels_of(alpha):
    data = bytearray(kt.noise(paint.SIDE, paint.SIDE, 2))
    data[3::4] = alpha * (len(data) // 4 // len(alpha)) + alpha[: len(data) // 4 % len(alpha)]
    return bytes(data)


def stacked(blending, opacity, alpha, *, clips=False):
    """``doc, source = yield from stacked(...)``: paper, the source, and a mark that lies over it."""
    doc = yield from paint.picture()
    parent = doc.rootNode()
    if clips:
        parent = doc.createGroupLayer("group")
        doc.rootNode().addChildNode(parent, None)
        shape = doc.createNode("shape", "paintlayer")
        shape.setPixelData(QByteArray(kt.noise(120, 120, 7)), 30, 20, 120, 120)
        parent.addChildNode(shape, None)
    source = doc.createNode("source", "paintlayer")
    source.setPixelData(QByteArray(pixels_of(alpha)), 0, 0, paint.SIDE, paint.SIDE)
    source.setBlendingMode(blending)
    source.setOpacity(opacity)
    source.setInheritAlpha(clips)
    parent.addChildNode(source, None)
    over = doc.createNode("over", "paintlayer")
    over.setPixelData(QByteArray(kt.noise(20, 20, 3)), paint.X + 9, paint.Y + 9, 20, 20)
    doc.rootNode().addChildNode(over, None)
    doc.waitForDone()
    yield from paint.choose_layer(doc, source)
    doc.refreshProjection()
    doc.waitForDone()
    return doc, source


def repainted(doc, area):
    """The canvas as it is when the source's own pixels are inverted in ``area``."""
    clone = doc.clone()
    try:
        nodes = [n for top in clone.topLevelNodes() for n in (top, *top.childNodes())]
        source = next(node for node in nodes if node.name() == "source")
        data = bytearray(bytes(source.pixelData(*area)))
        alpha = bytes(data[3::4])
        data = bytearray(bytes(data).translate(INVERTED))
        data[3::4] = alpha
        source.setPixelData(QByteArray(bytes(data)), *area)
        clone.refreshProjection()
        return kt.projection_bytes(clone)
    finally:
        clone.setModified(False)
        clone.close()


def difference(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def seen_over(doc):
    """The canvas with the picture over it, as it is drawn."""
    shown = keeping.over_canvas()._shown
    under = QImage(kt.projection_bytes(doc), doc.width(), doc.height(), QImage.Format_RGBA8888)
    return painted_over(under.copy(), shown)


def painted_over(under, shown):
    painter = QPainter(under)
    painter.drawImage(shown.rect.x, shown.rect.y, shown.image)
    painter.end()
    bits = under.constBits()
    bits.setsize(under.sizeInBytes())
    return bytes(bits)


def keeps_what_it_showed(blending, opacity, alpha=b"\xff", *, clips=False):
    doc, source = yield from stacked(blending, opacity, alpha, clips=clips)
    kt.find("soft_edge").setValue(0)
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.strength(50)
    paint.paint_from("layer")
    yield paint.label("Refine selection of 'source'")
    expected = repainted(doc, paint.AREA)
    paint.press()
    yield paint.waits(1)
    yield from paint.painted()
    yield kt.until(keeping.over_canvas, 10, "the picture over the canvas")
    seen = seen_over(doc)
    off = difference(seen, expected)
    kt.say(f"{blending} {opacity}: shown {off} off")
    assert off <= ROUNDING, f"it is shown {off} steps off"
    assert kt.projection_bytes(doc) == before
    rows = len(kt.history())
    kt.click(kt.find("keep"))
    yield kt.until(lambda: not source.visible(), 20, "the layer that stands for its source")
    yield paint.one_row_more(rows)
    yield kt.until(
        lambda: difference(kt.projection_bytes(doc), seen) <= ROUNDING, 10, "what was shown"
    )
    after = kt.projection_bytes(doc)
    assert kt.changed_outside(before, after, paint.SIDE, paint.mask_of(*paint.AREA)) == 0
    yield from kt.undo(doc)
    yield kt.until(source.visible, 10, "the source")
    yield kt.until(lambda: kt.projection_bytes(doc) == before, 10, "the picture as it was")
    yield from kt.redo(doc)
    yield kt.until(lambda: kt.projection_bytes(doc) == after, 10, "the result")
    paint.paint_from("visible")
    paint.strength(100)
    kt.find("soft_edge").setValue(-1)


SOFT = bytes(range(0, 256, 5)) + b"\xff" * 7


def keeps_multiply():
    yield from keeps_what_it_showed("multiply", 255)


def keeps_screen():
    yield from keeps_what_it_showed("screen", 255)


def keeps_add():
    yield from keeps_what_it_showed("add", 255)


def keeps_opacity():
    yield from keeps_what_it_showed("normal", 150)


def keeps_clipping():
    yield from keeps_what_it_showed("multiply", 150, clips=True)


def keeps_soft_paint():
    yield from keeps_what_it_showed("multiply", 200, SOFT)


def shows_the_colours_of_the_documents_space():
    """KT_SPACE: model and depth. The engine's red is in neither CMYK nor grey."""
    model, depth = os.environ["KT_SPACE"].split()
    doc = yield from kt.new_document(paint.SIDE, paint.SIDE, model=model, depth=depth, profile="")
    yield from paint.ready()
    yield paint.label("Generate")
    paint.press("vivid")
    yield paint.waits(1)
    yield from paint.painted()
    yield kt.until(keeping.over_canvas, 10, "the picture over the canvas")
    seen = seen_over(doc)
    assert seen[:4] != VIVID, "this space has the colour"
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 2)
    yield kt.until(
        lambda: difference(kt.projection_bytes(doc), seen) <= ROUNDING, 10, "what was shown"
    )
