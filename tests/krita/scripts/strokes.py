"""Strokes that were made where a picture will lie are told of, and layers of ours are none."""

import kt
import paint
from krita import Krita
from PyQt5.QtCore import QByteArray


def says_that_there_were_strokes_meanwhile():
    doc = yield from paint.picture()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    yield paint.started()
    paint.stack(doc)[0].setPixelData(
        QByteArray(b"\0\0\xff\xff" * 64), paint.X + 8, paint.Y + 8, 8, 8
    )
    doc.refreshProjection()
    doc.waitForDone()
    stroke = kt.projection_bytes(doc)
    yield paint.waits(1)
    remark = kt.find("strip_remark")
    yield kt.until(lambda: remark.text().startswith("You painted here"), 10, "the remark")
    assert kt.projection_bytes(doc) == stroke
    yield paint.layers(doc, 2)
    said = "You painted there"
    yield kt.until(lambda: paint.notice().startswith(said), 10, "a sentence")
    kt.click(kt.find("dismiss"))
    # What was kept is no stroke: the next press knows it.
    kt.find("steps").setValue(4)
    kt.find("variants").setValue(2)
    kt.click(kt.find("press"))
    yield paint.waits(2)
    yield from paint.painted()
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 3)
    yield 500
    assert not remark.isVisible(), remark.text()
    paint.tap(kt.find("strip"), 0)
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 4)
    assert not paint.notice(), paint.notice()


def takes_no_layer_of_ours_for_a_stroke():
    doc = yield from paint.picture()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.press()
    yield paint.waits(1)
    yield paint.started()
    assert kt.find("cancel").isVisible(), "the second is finished before the first is kept"
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 2)
    yield paint.waits(1)
    yield from paint.painted()
    remark = kt.find("strip_remark")
    yield 500
    assert not remark.isVisible(), remark.text()
    # A stroke is told of, also when a layer of ours comes after it.
    kt.find("steps").setValue(4)
    kt.click(kt.find("press"))
    yield paint.waits(2)
    yield from paint.painted()
    stroke = QByteArray(b"\0\0\xff\xff" * 64)
    paint.stack(doc)[-1].setPixelData(stroke, paint.X + 8, paint.Y + 8, 8, 8)
    doc.refreshProjection()
    said = "You painted there"
    for count in (3, 4):
        paint.tap(kt.find("strip"), 0)
        kt.click(kt.find("keep"))
        yield paint.there_are(doc, count)
        yield kt.until(lambda: paint.notice().startswith(said), 10, f"a sentence for {count}")
        kt.click(kt.find("dismiss"))
        yield 500


def takes_no_live_layer_for_a_stroke():
    doc = yield from paint.picture()
    yield paint.label("Refine")
    paint.press()
    yield paint.waits(1)
    kt.click(kt.find("live"))
    picture = kt.find("live_picture")
    yield kt.until(lambda: picture.image is not None, 60, "the live picture")
    before = kt.projection_bytes(doc)
    kt.click(kt.find("live_keep"))
    yield paint.there_are(doc, 2)
    yield kt.until(lambda: kt.projection_bytes(doc) != before, 10, "the layer to be seen")
    yield 500
    assert not kt.find("strip_remark").isVisible()
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 3)
    yield 500
    assert not paint.notice(), paint.notice()


def takes_no_layer_shown_or_hidden_for_a_stroke():
    doc = yield from paint.picture()
    sketch = yield from paint.add_layer(doc, "sketch", 0, 0, paint.SIDE, paint.SIDE)
    hidden = yield from paint.add_layer(doc, "hidden", paint.X, paint.Y, 40, 40, seed=3)
    yield from _seen(doc, hidden, False)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    yield paint.started()
    yield from _seen(doc, sketch, False)
    yield from _seen(doc, hidden, True)
    yield paint.waits(1)
    yield from paint.painted()
    remark = kt.find("strip_remark")
    yield 500
    assert not remark.isVisible(), remark.text()
    # A stroke is one, whatever is hidden.
    paint.stack(doc)[0].setPixelData(
        QByteArray(b"\0\0\xff\xff" * 64), paint.X + 8, paint.Y + 60, 8, 8
    )
    doc.refreshProjection()
    doc.waitForDone()
    kt.docker().panel.entered.emit()
    yield 500
    assert not remark.isVisible(), "what was asked about is as it was: the sketch covers the stroke"
    yield from _seen(doc, sketch, True)
    sketch.setPixelData(QByteArray(b"\0\0\xff\xff" * 64), paint.X + 8, paint.Y + 60, 8, 8)
    doc.refreshProjection()
    doc.waitForDone()
    kt.docker().panel.entered.emit()
    yield kt.until(lambda: remark.text().startswith("You painted here"), 10, "the remark")
    yield from _seen(doc, sketch, False)
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 4)
    said = "You painted there"
    yield kt.until(lambda: paint.notice().startswith(said), 10, "a sentence")
    kt.click(kt.find("dismiss"))


def takes_no_isolated_layer_for_a_stroke():
    doc = yield from paint.picture()
    yield from paint.add_layer(doc, "half", 0, 0, paint.SIDE, paint.SIDE // 2)
    yield paint.label("Refine")
    remark, whole = kt.find("strip_remark"), kt.projection_bytes(doc)
    for is_first in (True, False):
        if is_first:
            yield from isolation(True)
        yield paint.started()
        yield from isolation(not is_first)
        yield paint.waits(1)
        yield from paint.painted()
        kt.docker().panel.entered.emit()
        yield 500
        assert not remark.isVisible(), f"{is_first}: {remark.text()}"
        if not is_first:
            yield from isolation(False)
        yield kt.until(lambda: kt.projection_bytes(doc) == whole, 10, "all layers again")
        kt.docker().panel.entered.emit()
        yield 500
        assert not remark.isVisible(), f"{is_first}: {remark.text()}"
        kt.click(kt.find("discard"))


def isolation(on):
    action = Krita.instance().action("isolate_active_layer")
    if action.isChecked() != on:
        action.trigger()
    yield kt.until(lambda: action.isChecked() == on, 10, "the isolation")
    yield 300


def _seen(doc, layer, visible):
    before = kt.projection_bytes(doc)
    layer.setVisible(visible)
    doc.refreshProjection()
    doc.waitForDone()
    yield kt.until(lambda: kt.projection_bytes(doc) != before, 10, "another picture")
