"""Pixel by pixel, where the engine inverts what it is sent: what is read, sent, laid and left alone."""

import os
import struct
import time
from array import array

import kt
import paint
from krita import Krita
from PyQt5.QtCore import QByteArray, Qt
from PyQt5.QtGui import QOpenGLContext
from PyQt5.QtWidgets import QAction, QWidget
from velatura.krita_plugin import together, view
from velatura.krita_plugin.document import Document
from velatura.krita_plugin.images import swap_red_blue

# Odd, so that a padded row or half a pixel would show.
WIDTH, HEIGHT = 187, 141
AREA = X, Y, ACROSS, DOWN = 61, 43, 51, 37
SRGB = ("RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc")
INVERTED = bytes(255 - value for value in range(256))
# Every space holds these colours, and those that they become inverted.
MUTED = bytes(100 + value * 56 // 256 for value in range(256))


def muted(width, height, seed=1):
    """Opaque pixels that are all different, none far from grey."""
    rgba = bytearray(kt.noise(width, height, seed).translate(MUTED))
    rgba[3::4] = b"\xff" * (width * height)
    return bytes(rgba)


def put(doc, name, rgba, x, y, width, height):
    """A layer with these pixels (RGBA8, sRGB) on top, in the document's own space."""
    node = doc.createNode(name, "paintlayer")
    node.setColorSpace(*SRGB)
    node.setPixelData(QByteArray(swap_red_blue(rgba, width, height)), x, y, width, height)
    node.setColorSpace(doc.colorModel(), doc.colorDepth(), doc.colorProfile())
    doc.rootNode().addChildNode(node, None)
    return node


def crop(data, width, rect, size=4):
    x, y, across, down = rect
    return b"".join(data[size * (row * width + x) :][: size * across] for row in range(y, y + down))


def alone(doc, layer, rect):
    """``rgba = yield from alone(...)``: what Krita shows of that one layer."""
    others = [node for node in doc.topLevelNodes() if node != layer and node.visible()]
    for node in others:
        node.setVisible(False)
    yield from settled(doc)
    rgba = kt.projection_bytes(doc, *rect)
    for node in others:
        node.setVisible(True)
    yield from settled(doc)
    return rgba


def settled(doc):
    doc.refreshProjection()
    doc.waitForDone()
    yield 100
    doc.waitForDone()


def differ(seen, expected):
    """(most that a colour differs as it is seen, most that alpha does), both in steps of 8 bits."""
    colours = alphas = 0
    for at in range(0, len(seen), 4):
        alpha = expected[at + 3]
        alphas = max(alphas, abs(seen[at + 3] - alpha))
        difference = max(abs(seen[at + c] - expected[at + c]) for c in range(3))
        colours = max(colours, difference * alpha / 255)
    return round(colours, 1), alphas


def inverted(rgba, alpha):
    made = bytearray(rgba.translate(INVERTED))
    made[3::4] = alpha
    return bytes(made)


def channels(layer, rect):
    """Every value of the layer's own pixels, 0..255 with fractions."""
    data, depth = bytes(layer.pixelData(*rect)), layer.colorDepth()
    if depth == "U16":
        return [value / 257 for value in memoryview(data).cast("H")]
    code = {"F16": "e", "F32": "f"}[depth]
    size = struct.calcsize(code)
    return [255 * value for value in struct.unpack(f"<{len(data) // size}{code}", data)]


def is_dithered(layer, expected):
    """Between the steps of 8 bits, nowhere half a step away, and on average nowhere."""
    order = (2, 1, 0) if layer.colorDepth() == "U16" else (0, 1, 2)
    found = channels(layer, AREA)
    errors = array("d")
    for at in range(0, len(expected), 4):
        if expected[at + 3] == 255:
            errors.extend(found[at + order[c]] - expected[at + c] for c in range(3))
    assert len(errors) > 100
    # A half float itself is as coarse as an eighth of a step.
    assert max(map(abs, errors)) < 0.625, max(map(abs, errors))
    assert sum(abs(e) > 0.1 for e in errors) > len(errors) / 2, "colours are rounded to 8 bits"
    assert abs(sum(errors) / len(errors)) < 0.07, sum(errors) / len(errors)
    alpha = found[3::4]
    coarse = 0.13 if layer.colorDepth() == "F16" else 0.01
    assert max(abs(a - round(a)) for a in alpha) < coarse, "alpha is not exact"


def keeps_in_this_space():
    model, depth, profile = os.environ["KT_SPACE"].split()
    profile = "" if profile == "default" else profile
    doc = yield from kt.new_document(WIDTH, HEIGHT, model=model, depth=depth, profile=profile)
    space = doc.colorModel(), doc.colorDepth(), doc.colorProfile()
    put(doc, "picture", muted(WIDTH, HEIGHT), 0, 0, WIDTH, HEIGHT)
    yield from settled(doc)
    yield from paint.ready()
    before = kt.projection_bytes(doc)
    # Rises from nothing to all, with a few columns of both.
    values = bytes(min(255, max(0, 8 * v // 6 - 20)) for v in kt.gradient(ACROSS, DOWN))
    kt.select_mask(doc, *AREA, values)
    yield paint.label("Fill")
    kt.find("soft_edge").setValue(0)
    kt.find("variants").setValue(2)
    paint.press("deep")
    yield paint.waits(2)
    yield from paint.painted()
    expected = inverted(crop(before, WIDTH, AREA), values)
    # What Krita itself makes of these colours: in CMYK, not the same.
    node = put(doc, "reference", expected, *AREA)
    reference = yield from alone(doc, node, AREA)
    node.remove()
    yield from settled(doc)
    worst = {}
    for button in ("keep", "keep_mask"):
        count = len(paint.stack(doc))
        if button == "keep_mask":
            # After a Keep, nothing is chosen.
            paint.tap(kt.find("strip"), 0)
        kt.click(kt.find(button))
        yield kt.until(lambda n=count: len(paint.stack(doc)) == n + 1, 20, "the layer")
        layer = paint.stack(doc)[-1]
        yield from settled(doc)
        after = kt.projection_bytes(doc)
        assert (layer.colorModel(), layer.colorDepth(), layer.colorProfile()) == space
        seen = yield from alone(doc, layer, AREA)
        worst[button] = *differ(seen, expected), *differ(seen, reference)
        outside = paint.mask_of(*AREA, values, size=(WIDTH, HEIGHT))
        assert kt.changed_outside(before, after, WIDTH, outside) == 0
        if button == "keep_mask":
            around = (X - 9, Y - 9, ACROSS + 18, DOWN + 18)
            own = bytes(layer.pixelData(*around))
            size = len(own) // (around[2] * around[3])
            assert own[size * 100 :][:size] != bytes(size), "there is no paint around the area"
        elif depth != "U8" and "srgbtrc" in space[2] and model == "RGBA":
            is_dithered(layer, expected)
        yield from kt.undo(doc)
        yield kt.until(lambda n=count: len(paint.stack(doc)) == n, 10, "the undo")
        yield from settled(doc)
        assert kt.projection_bytes(doc) == before
        yield from kt.redo(doc)
        yield kt.until(lambda n=count: len(paint.stack(doc)) == n + 1, 10, "the redo")
        yield from settled(doc)
        assert kt.projection_bytes(doc) == after
        paint.stack(doc)[-1].remove()
        yield from settled(doc)
        assert kt.projection_bytes(doc) == before
    kt.report(**{f"{model} {depth}": worst})
    tolerance = float(os.environ["KT_TOLERANCE"])
    for colours, alphas, colours_from_krita, alphas_from_krita in worst.values():
        assert colours <= tolerance, worst
        assert colours_from_krita <= 2, worst
        assert max(alphas, alphas_from_krita) <= 1, worst


# --- large canvases --------------------------------------------------------------------------------


class Reads:
    """Pixels read of the document: in rectangles, and in single lines."""

    METHODS = ("read_projection", "read_layer", "read_selection", "picture")

    def __enter__(self):
        self.pixels = self.lines = 0
        self.originals = {name: getattr(Document, name) for name in self.METHODS}
        for name, original in self.originals.items():
            setattr(Document, name, self.counting(original))
        return self

    def __exit__(self, *error):
        for name, original in self.originals.items():
            setattr(Document, name, original)

    def counting(self, original):
        def read(document, *args):
            rect = args[-1]
            if min(rect.width, rect.height) == 1:
                self.lines += rect.width * rect.height
            else:
                self.pixels += rect.width * rect.height
            return original(document, *args)

        return read


def stays_with_the_selection_on_a_huge_canvas():
    side = 8000
    doc = yield from kt.new_document(side, side, depth=os.environ["KT_DEPTH"], profile=SRGB[2])
    area = x, y, across, down = 7801, 7843, 151, 121
    put(doc, "picture", muted(400, 300), 7600, 7700, 400, 300)
    lines = put(doc, "lines", kt.noise(300, 200, 2), 7700, 7800, 300, 200)
    yield from settled(doc)
    yield from paint.ready()
    kt.docker().panel.source.leave((lines.uniqueId().toString(),))
    kt.select(doc, *area)
    yield paint.label("Fill")
    kt.find("soft_edge").setValue(0)
    before = kt.projection_bytes(doc, 7500, 7600, 500, 400)
    took = {}
    with Reads() as reads:
        yield from timed(took, "press", lambda: paint.press("deep"))
        yield paint.waits(1)
        yield from paint.painted()
        yield from timed(took, "keep", lambda: kt.click(kt.find("keep")))
        yield kt.until(lambda: paint.stack(doc)[-1].name() == "deep (Fill)", 30, "the layer")
        yield from settled(doc)
    layer = paint.stack(doc)[-1]
    yield kt.until(lambda: paint.recipes_of(doc), 10, "its recipe")
    bounds = layer.bounds()
    assert (bounds.x(), bounds.y(), bounds.width(), bounds.height()) == area
    # What was left out was not painted over.
    expected = crop(muted(400, 300), 400, (x - 7600, y - 7700, across, down)).translate(INVERTED)
    assert layer.colorDepth() == os.environ["KT_DEPTH"]
    seen = kt.projection_bytes(doc, *area)
    colours, alphas = differ(
        seen, inverted(expected.translate(INVERTED), b"\xff" * (across * down))
    )
    assert colours <= float(os.environ["KT_TOLERANCE"]), colours
    assert alphas == 0
    after = kt.projection_bytes(doc, 7500, 7600, 500, 400)
    inside = paint.mask_of(x - 7500, y - 7600, across, down, size=(500, 400))
    assert kt.changed_outside(before, after, 500, inside) == 0
    region = paint.annotation_of(doc, layer)["region"]
    kt.report(**took, pixels=reads.pixels, lines=reads.lines, region=region)
    sent = region["width"] * region["height"]
    assert sent < 500 * 500, region
    assert reads.pixels < 20 * sent, (reads.pixels, sent)
    assert reads.lines < side * side / 20, reads.lines
    kt.find("soft_edge").setValue(-1)
    kt.docker().panel.source.leave(())


def timed(took, name, action):
    start = time.perf_counter()
    action()
    took[f"{name}_ms"] = round(1e3 * (time.perf_counter() - start))
    yield 0


# --- animation -------------------------------------------------------------------------------------


def at(doc, frame):
    """``picture = yield from at(doc, frame)``: what is visible on it."""
    doc.setCurrentTime(frame)
    yield kt.until(lambda: doc.currentTime() == frame, 10, f"frame {frame}")
    doc.waitForDone()
    yield 100
    return kt.projection_bytes(doc)


def animated(doc):
    """``layer = yield from animated(doc)``: another drawing from each of the frames 0, 4 and 9 on."""
    layer = doc.createNode("drawings", "paintlayer")
    doc.rootNode().addChildNode(layer, None)
    yield 200
    doc.setActiveNode(layer)
    yield kt.until(lambda: doc.activeNode() == layer, 5, "the layer to be current")
    layer.enableAnimation()
    for frame in (0, 4, 9):
        yield from at(doc, frame)
        if frame:
            Krita.instance().action("add_blank_frame").trigger()
            yield kt.until(lambda f=frame: layer.hasKeyframeAtTime(f), 10, f"keyframe {frame}")
        pixels = swap_red_blue(muted(WIDTH, HEIGHT, frame + 5), WIDTH, HEIGHT)
        if doc.colorDepth() == "U16":
            pixels = bytes(value for value in pixels for _ in range(2))
        layer.setPixelData(QByteArray(pixels), 0, 0, WIDTH, HEIGHT)
        yield from settled(doc)
    return layer


FRAMES = (0, 3, 4, 8, 9, 30)


def keeps_to_the_drawing_that_was_painted():
    model, depth, profile = os.environ["KT_SPACE"].split()
    doc = yield from kt.new_document(WIDTH, HEIGHT, model=model, depth=depth, profile=profile)
    drawings = yield from animated(doc)
    yield from paint.ready()
    before = {}
    for frame in FRAMES:
        before[frame] = yield from at(doc, frame)
    assert before[3] != before[4] == before[8] != before[9]
    yield from at(doc, 6)
    kt.select(doc, *AREA)
    yield paint.label("Fill")
    kt.find("soft_edge").setValue(0)
    kt.find("variants").setValue(4)
    paint.press("deep")
    yield paint.waits(4)
    yield from paint.painted()
    there = len(doc.topLevelNodes())
    expected = inverted(crop(before[4], WIDTH, AREA), b"\xff" * (ACROSS * DOWN))
    inside = paint.mask_of(*AREA, size=(WIDTH, HEIGHT))
    for button, frame, count in (("keep", 8, 1), ("keep_mask", 30, 1), ("keep", 0, 2)):
        yield from at(doc, frame)
        for row in range(count if count > 1 else 0):
            kt.find("strip").item(row).setCheckState(Qt.Checked)
        kt.click(kt.find(button))
        yield kt.until(lambda: len(doc.topLevelNodes()) == there + 1, 20, "the layer")
        made = doc.topLevelNodes()[-1]
        assert len(made.childNodes()) == (count if count > 1 else button == "keep_mask")
        if frame != 8:
            yield kt.until(lambda: kt.find("notice_frame").isVisible(), 10, "a sentence")
            assert kt.find("notice").text().endswith("frame 4."), kt.find("notice").text()
            kt.click(kt.find("dismiss"))
        yield from kt.undo(doc)
        yield kt.until(lambda: len(doc.topLevelNodes()) == there, 10, "the undo")
        assert kt.projection_bytes(doc) == before[frame]
        yield from kt.redo(doc)
        yield kt.until(lambda: len(doc.topLevelNodes()) == there + 1, 10, "the redo")
        for other in (frame, *FRAMES):
            seen = yield from at(doc, other)
            if other in (4, 8):
                assert kt.changed_outside(before[other], seen, WIDTH, inside) == 0, other
                assert crop(seen, WIDTH, AREA) == expected, other
            else:
                assert seen == before[other], other
        doc.topLevelNodes()[-1].remove()
        yield from settled(doc)
    for other in FRAMES:
        assert (yield from at(doc, other)) == before[other], other
    assert drawings.visible()


def a_copy_has_the_recipe_of_a_layer_that_was_kept_from_another_frame():
    doc = yield from kt.new_document(WIDTH, HEIGHT)
    yield from animated(doc)
    yield from paint.ready()
    yield from at(doc, 4)
    kt.select(doc, *AREA)
    yield paint.label("Fill")
    paint.press("deep")
    yield paint.waits(1)
    yield from at(doc, 9)
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 3)
    kept = paint.stack(doc)[-1]
    yield kt.until(lambda: paint.recipes_of(doc), 10, "its recipe")
    assert kept.bounds().isEmpty(), "it is seen from elsewhere"
    yield from at(doc, 4)
    yield from paint.choose_layer(doc, kept)
    Krita.instance().action("duplicatelayer").trigger()
    yield paint.there_are(doc, 4)
    kept.remove()
    yield paint.there_are(doc, 3)
    copy = paint.stack(doc)[-1]
    yield from paint.choose_layer(doc, copy)
    yield kt.until(kt.find("reopen").isVisible, 10, "the copy to have the recipe")
    assert paint.annotation_of(doc, copy)["settings"]["prompt"] == "deep"


# --- enlarging -------------------------------------------------------------------------------------


def enlarges_where_no_gl_context_is_current():
    """As a window that was closed leaves it, until Krita draws again."""
    doc = yield from kt.new_document(WIDTH, HEIGHT, muted(WIDTH, HEIGHT))
    yield from paint.ready()
    kt.find("press_more").menu().findChild(QAction, "choose_expand").trigger()
    yield paint.label("Expand")
    kt.find("enlarge_by").setValue(300)
    kt.click(kt.find("enlarge_left"))
    paint.press("deep")
    yield paint.waits(1)
    yield from paint.painted()
    take_gl, taken = together.take_gl, []

    def after_a_closed_window():
        view.active_view().widget.doneCurrent()
        assert QOpenGLContext.currentContext() is None
        take_gl()
        taken.append(QOpenGLContext.currentContext())

    together.take_gl = after_a_closed_window
    try:
        kt.click(kt.find("keep"))
        yield kt.until(lambda: len(paint.stack(doc)) == 2, 20, "the layer")
        rows = kt.docker().controller.results.together
        yield kt.until(lambda: rows.is_settled, 10, "the rows of the History")
        assert doc.width() == WIDTH + 300
        Krita.instance().action("edit_undo").trigger()
        yield kt.until(lambda: doc.width() == WIDTH, 10, "one undo for both")
        yield from settled(doc)
        assert len(taken) >= 2, "it was not taken for both sizes"
    finally:
        together.take_gl = take_gl


def shows_the_picture_so_far_over_the_canvas_to_be():
    yield from kt.new_document(WIDTH, HEIGHT, muted(WIDTH, HEIGHT))
    yield from paint.ready()
    kt.find("press_more").menu().findChild(QAction, "choose_expand").trigger()
    yield paint.label("Expand")
    kt.find("enlarge_by").setValue(48)
    for side in ("left", "top"):
        kt.click(kt.find(f"enlarge_{side}"))
    paint.press("slow=1500 deep")

    def sheets():
        found = kt.main_window().findChildren(QWidget, "velatura_overlay")
        return [sheet for sheet in found if sheet.isVisible()]

    yield kt.until(lambda: len(sheets()) == 1, 30, "the picture so far")
    rect = sheets()[0]._shown.rect
    assert (rect.x, rect.y) == (-48, -48), rect
    assert (rect.x + rect.width, rect.y + rect.height) == (WIDTH, HEIGHT), rect
    kt.click(kt.find("cancel"))
    yield from paint.painted()
    for side in ("left", "top"):
        if kt.find(f"enlarge_{side}").isChecked():
            kt.click(kt.find(f"enlarge_{side}"))
