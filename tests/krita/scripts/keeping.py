"""What becomes of a finished picture: looked at, compared, kept, kept under a mask, remembered."""

import json
import os
import subprocess

import kt
import paint
from krita import Krita
from PyQt5.QtCore import QByteArray, QPoint, Qt
from PyQt5.QtWidgets import QScrollArea, QWidget
from velatura.krita_plugin.view import active_view

SELECTED = paint.mask_of(*paint.AREA)


def filled(variants=1):
    """``doc, before = yield from filled()``: a selection was filled, and nothing decided."""
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    kt.find("variants").setValue(variants)
    paint.press()
    yield paint.waits(variants)
    yield from paint.painted()
    kt.find("variants").setValue(1)
    return doc, before


def over_canvas():
    """The widget over the canvas that shows a picture, None for none."""
    found = [w for w in kt.main_window().findChildren(QWidget, "velatura_overlay") if w.isVisible()]
    return found[0] if found else None


def looks_and_compares_without_touching_the_document():
    doc = yield from paint.picture()
    before, rows, active = kt.projection_bytes(doc), kt.history(), doc.activeNode()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    kt.find("variants").setValue(2)
    paint.press()
    strip, large = kt.find("strip"), kt.find("strip_large")
    yield paint.waits(2)
    yield from paint.painted()
    kt.find("variants").setValue(1)
    first = large.image.copy()
    yield kt.until(lambda: over_canvas() is not None, 10, "the picture over the canvas")
    paint.tap(strip, 1)
    assert large.image != first, "the second is another picture"
    second = large.image.copy()
    kt.click(kt.find("compare"))
    assert over_canvas() is None
    assert large.image not in (first, second)
    kt.click(kt.find("compare"))
    assert large.image == second
    yield kt.until(lambda: over_canvas() is not None, 10, "the picture over the canvas")
    yield 300
    assert kt.projection_bytes(doc) == before
    assert kt.history() == rows
    assert doc.activeNode() == active
    assert len(paint.stack(doc)) == 1
    kt.click(kt.find("discard_all"))
    assert over_canvas() is None
    assert not kt.find("keep").isVisible()
    assert kt.projection_bytes(doc) == before


def adds_further_presses_to_the_strip():
    doc, before = yield from filled()
    kt.click(kt.find("press"))
    yield paint.waits(2)
    yield from paint.painted()
    assert kt.find("strip").currentRow() == 1, "the newest is looked at"
    assert kt.projection_bytes(doc) == before
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 2)
    assert kt.find("strip").count() == 1


def keeps_several_as_one_group():
    doc, before = yield from filled(variants=3)
    rows = len(kt.history())
    strip = kt.find("strip")
    paint.tap(strip, 2)
    for row in (0, 2):
        strip.item(row).setCheckState(Qt.Checked)
    assert kt.find("keep").text() == "Keep 2 in a group"
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 1, "grouplayer")
    yield paint.one_row_more(rows)
    group = doc.topLevelNodes()[-1]
    assert group.name() == "a red boat (Fill)"
    members = group.childNodes()
    assert [node.visible() for node in members] == [False, True]
    yield kt.until(lambda: len(paint.recipes_of(doc)) == 2, 10, "both recipes")
    yield kt.until(lambda: kt.projection_bytes(doc) != before, 10, "the group to be seen")
    after = yield from paint.changed_only_inside(doc, before, SELECTED)
    yield paint.one_row_more(rows)
    for node in members:
        alpha = paint.alpha_of(node)
        assert not any(a for a, s in zip(alpha, SELECTED, strict=True) if not s)
    assert strip.count() == 1
    yield from paint.taken_back_and_done_again(doc, before, after)


def keeps_under_a_mask():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    values = kt.gradient(paint.WIDTH, paint.HEIGHT)
    kt.select_mask(doc, *paint.AREA, values)
    selected = paint.mask_of(*paint.AREA, values)
    yield paint.label("Fill")
    paint.press()
    yield paint.waits(1)
    yield from paint.painted()
    rows = len(kt.history())
    kt.click(kt.find("keep_mask"))
    yield paint.there_are(doc, 2)
    yield paint.one_row_more(rows)
    layer = paint.stack(doc)[-1]
    (mask,) = layer.childNodes()
    assert mask.type() == "transparencymask"
    own = bytes(layer.pixelData(0, 0, paint.SIDE, paint.SIDE))[3::4]
    around = (paint.Y - 4) * paint.SIDE + paint.X - 4
    assert own[around] == 255, "there is paint around the area"
    seen = bytes(layer.projectionPixelData(0, 0, paint.SIDE, paint.SIDE))[3::4]
    assert all(a <= s for a, s in zip(seen, selected, strict=True))
    after = yield from changed_only_masked(doc, before, selected)
    yield from paint.taken_back_and_done_again(doc, before, after)
    path = os.path.join(os.environ["KT_FOLDER"], "masked.kra")
    again = yield from paint.saved_and_opened(doc, path)
    assert kt.projection_bytes(again) == after
    assert [n.type() for n in paint.stack(again)[-1].childNodes()] == ["transparencymask"]


def changed_only_masked(doc, before, selected):
    """As changed_only_inside, for a layer whose own pixels reach further than its mask."""
    counts = []

    def settled():
        counts.append(kt.changed_outside(before, kt.projection_bytes(doc), paint.SIDE, selected))
        return counts[-1] == 0

    try:
        yield kt.until(settled, 5, "calm")
    finally:
        if counts[0]:
            kt.say("pixels changed outside the selection, from read to read:", counts[:9])
    after = kt.projection_bytes(doc)
    assert after != before
    return after


def stands_for_the_layer_it_was_painted_from():
    doc = yield from paint.picture()
    shape = doc.createNode("shape", "paintlayer")
    shape.setPixelData(QByteArray(kt.noise(paint.WIDTH, paint.HEIGHT, 2)), *paint.AREA)
    doc.rootNode().addChildNode(shape, None)
    shape.setBlendingMode("multiply")
    shape.setOpacity(150)
    shape.setInheritAlpha(True)
    doc.refreshProjection()
    doc.waitForDone()
    yield 200
    doc.setActiveNode(shape)
    yield kt.until(lambda: doc.activeNode() == shape, 5, "the shape to be active")
    before = kt.projection_bytes(doc)
    yield paint.label("Refine")
    paint.paint_from("layer")
    paint.press()
    yield paint.waits(1)
    # Another layer is active when the painter decides.
    doc.setActiveNode(paint.stack(doc)[0])
    yield 300
    rows = len(kt.history())
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 3)
    yield from paint.painted()
    names = [node.name() for node in paint.stack(doc)]
    assert names == ["Background", "shape", "a red boat (Refine)"], names
    new = paint.stack(doc)[-1]
    assert new.blendingMode() == "multiply"
    assert (new.opacity(), new.inheritAlpha()) == (150, True)
    assert new.colorLabel() != 0
    yield kt.until(lambda: not shape.visible(), 10, "the source to be hidden")
    yield paint.one_row_more(rows)
    yield 300
    after = kt.projection_bytes(doc)
    assert kt.changed_outside(before, after, paint.SIDE, SELECTED) == 0
    yield from kt.undo(doc)
    yield kt.until(lambda: shape.visible(), 10, "the source to be shown again")
    yield kt.until(lambda: kt.projection_bytes(doc) == before, 10, "the picture as it was")
    yield from kt.redo(doc)
    yield kt.until(lambda: not shape.visible(), 10, "the source to be hidden again")
    yield kt.until(lambda: kt.projection_bytes(doc) == after, 10, "the result")
    paint.paint_from("visible")


def reopening_hides_the_old_and_lays_the_new_above():
    doc, before = yield from filled()
    yield paint.layers(doc, 2)
    old = paint.stack(doc)[-1]
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "the button")
    old_pixels = bytes(old.pixelData(0, 0, paint.SIDE, paint.SIDE))
    with_old = kt.projection_bytes(doc)
    kt.click(kt.find("reopen"))
    kt.find("seed_lock").setChecked(False)
    yield paint.label("Fill")
    kt.click(kt.find("press"))
    yield paint.layers(doc, 3)
    yield from paint.painted()
    yield kt.until(lambda: not old.visible(), 10, "the old one to be hidden")
    assert paint.stack(doc)[1] == old
    assert bytes(old.pixelData(0, 0, paint.SIDE, paint.SIDE)) == old_pixels
    yield from paint.changed_only_inside(doc, before, SELECTED)
    yield from kt.undo(doc)
    yield kt.until(lambda: old.visible(), 10, "the old one to be shown again")
    yield kt.until(lambda: kt.projection_bytes(doc) == with_old, 10, "the picture as it was")


def remembers_in_the_file_what_was_not_kept():
    doc, before = yield from filled(variants=2)
    strip = kt.find("strip")
    paint.tap(strip, 1)
    kt.click(kt.find("star"))
    image = kt.find("strip_large").image.copy()
    kt.click(kt.find("discard_all"))
    assert not kt.find("keep").isVisible()
    path = os.path.join(os.environ["KT_FOLDER"], "history.kra")
    again = yield from paint.saved_and_opened(doc, path)
    yield from paint.ready()
    paint.fold("past", is_open=True)
    past, words = kt.find("past_list"), kt.find("past_search")
    yield kt.until(lambda: past.count() == 2, 10, "two pictures")
    kt.type_text(words, "house")
    assert past.count() == 0
    kt.type_text(words, "boat RED")
    assert past.count() == 2
    kt.click(kt.find("past_favourites"))
    assert past.count() == 1
    paint.tap(past, 0)
    yield paint.waits(1)
    assert kt.find("star").isChecked()
    yield kt.until(lambda: kt.find("strip_large").image == image, 10, "the same picture")
    yield paint.layers(again, 2)
    assert paint.stack(again)[-1].name() == "a red boat (Fill)"
    yield from paint.changed_only_inside(again, before, SELECTED)
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "its recipe")
    kt.click(kt.find("past_favourites"))
    words.clear()
    paint.tap(past, 1)
    yield paint.waits(1)
    kt.click(kt.find("past_remove"))
    kt.click(kt.find("discard"))
    assert past.count() == 1
    Krita.instance().action("velatura_remove_recipes").trigger()
    yield kt.until(lambda: past.count() == 0, 10, "an empty history")
    ours = ("velatura/past/", "velatura/recipe/")
    assert not [name for name in again.annotationTypes() if name.startswith(ours)]
    kt.click(kt.find("dismiss"))
    kt.find("past").setChecked(False)


def remembers_no_more_than_the_settings_allow():
    """The oldest go, out of the file too; favourites stay."""
    doc, _ = yield from filled(variants=3)
    paint.fold("past", is_open=True)
    past = kt.find("past_list")
    yield kt.until(lambda: past.count() == 3, 10, "three pictures")
    paint.tap(kt.find("strip"), 0)
    kt.click(kt.find("star"))
    starred = kt.find("strip_large").image.copy()
    kt.click(kt.find("settings"))
    window, size = kt.find("settings_dialog"), kt.find("history_mb")
    assert window.isVisible()
    assert not window.isModal()
    try:
        size.setValue(0)
        with open(os.path.join(os.environ["VELATURA_HOME"], "settings.json")) as file:
            assert json.load(file)["history_mb"] == 0
        paint.press()
        yield paint.waits(4)
        yield from paint.painted()
        yield kt.until(lambda: past.count() == 2, 10, "the favourite and the newest")
        assert Krita.instance().action("options_configure") is not None
    finally:
        size.setValue(64)
        window.close()
    kt.click(kt.find("discard_all"))
    path = os.path.join(os.environ["KT_FOLDER"], "capped.kra")
    again = yield from paint.saved_and_opened(doc, path)
    yield kt.until(lambda: past.count() == 2, 10, "the same two")
    kept = [name for name in again.annotationTypes() if name.startswith("velatura/past/")]
    assert len(kept) == 2 * len(("record", "picture", "thumbnail", "recipe")), kept
    kt.click(kt.find("past_favourites"))
    assert past.count() == 1
    paint.tap(past, 0)
    yield paint.waits(1)
    yield kt.until(lambda: kt.find("strip_large").image == starred, 10, "the favourite")
    kt.click(kt.find("discard"))
    kt.click(kt.find("past_favourites"))
    kt.find("past").setChecked(False)


def a_file_opened_again_has_the_picture_in_its_history():
    doc = yield from paint.picture()
    app, path = Krita.instance(), os.path.join(os.environ["KT_FOLDER"], "closed.kra")
    app.setBatchmode(True)
    assert doc.saveAs(path)
    doc.waitForDone()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    yield paint.started()
    doc.setModified(False)
    doc.close()
    yield paint.waits(1)
    assert "was closed" in kt.find("notice").text()
    again = app.openDocument(path)
    app.activeWindow().addView(again)
    yield kt.until(lambda: app.activeDocument() == again, 10, "the file")
    yield kt.until(lambda: not paint.notice(), 10, "it is open again: the sentence to go")
    yield kt.until(
        lambda: any(n.startswith("velatura/past/") for n in again.annotationTypes()), 10, "history"
    )
    kt.click(kt.find("discard"))
    paint.fold("past", is_open=True)
    assert kt.find("past_list").count() == 1
    paint.fold("past", is_open=False)
    kt.find("steps").setValue(4)


def keeps_in_a_deep_document():
    doc = yield from kt.new_document(
        paint.SIDE, paint.SIDE, depth="U16", profile="sRGB-elle-V2-srgbtrc.icc"
    )
    yield from paint.ready()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.press()
    yield paint.waits(1)
    yield from paint.painted()
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 2)
    layer = paint.stack(doc)[-1]
    assert (layer.colorModel(), layer.colorDepth()) == ("RGBA", "U16")
    after = yield from changed_only_masked(doc, before, SELECTED)
    values = memoryview(bytes(layer.pixelData(*paint.AREA))).cast("H")
    finer = sum(v % 257 != 0 for i, v in enumerate(values) if i % 4 != 3)
    assert finer > len(values) / 4, "colours are dithered below 8 bits"
    assert set(values[3::4]) <= {a * 257 for a in range(256)}, "alpha is not"
    yield from paint.taken_back_and_done_again(doc, before, after)


# --- the canvas is the painter's -------------------------------------------------------------------


def shows_nothing_after_keep_until_a_thumbnail_is_tapped():
    doc, _ = yield from filled(variants=3)
    strip, keep = kt.find("strip"), kt.find("keep")
    yield kt.until(over_canvas, 10, "the picture over the canvas")
    kt.click(keep)
    yield paint.there_are(doc, 2)
    yield 700
    assert over_canvas() is None, "the next variant lies over the layer that was kept"
    assert strip.count() == 2
    assert strip.currentRow() == -1
    assert not keep.isEnabled(), "a second tap keeps what nobody has looked at"
    paint.tap(strip, 1)
    yield kt.until(over_canvas, 10, "the variant that was tapped")
    kt.click(keep)
    yield paint.there_are(doc, 3)
    yield 500
    assert over_canvas() is None
    assert strip.count() == 1
    assert strip.isVisible(), "nothing to tap"
    paint.tap(strip, 0)
    yield kt.until(over_canvas, 10, "the last variant")
    # Of a press whose first picture was kept before the others came.
    kt.click(kt.find("discard"))
    kt.find("variants").setValue(3)
    kt.find("steps").setValue(60)
    kt.click(kt.find("press"))
    yield paint.waits(1)
    kt.click(keep)
    yield paint.there_are(doc, 4)
    yield paint.waits(2)
    yield from paint.painted()
    kt.find("variants").setValue(1)
    assert over_canvas() is None
    assert strip.currentRow() == -1


def on_screen(x, y):
    view = active_view()
    point = view.widget.mapToGlobal(view.to_widget().map(QPoint(x, y)))
    return point.x(), point.y()


def key(what, name):
    """``yield from key("key", "Escape")``: by the X server's keyboard."""
    pressing = subprocess.Popen(["xdotool", what, name])
    yield kt.until(lambda: pressing.poll() is not None, 10, "xdotool")


def is_put_away_by_the_first_stroke_and_by_esc():
    doc, _ = yield from filled()
    strip, keep = kt.find("strip"), kt.find("keep")
    yield kt.until(over_canvas, 10, "the picture over the canvas")
    assert not strip.isVisible(), "one alone is large already"
    doc.setSelection(None)
    yield 300
    rows = kt.history()
    yield from kt.stroke([on_screen(x, 150) for x in range(20, 170, 30)])
    yield kt.until(lambda: kt.history() != rows, 10, "the stroke")
    yield 700
    assert over_canvas() is None, "the stroke is covered again"
    assert keep.isEnabled(), "it waits all the same"
    paint.tap(strip, 0)
    yield kt.until(over_canvas, 10, "the picture that was tapped")
    active_view().widget.setFocus()
    yield from key("key", "Escape")
    yield kt.until(lambda: over_canvas() is None, 10, "Esc to put it away")
    yield 500
    assert over_canvas() is None
    paint.tap(strip, 0)
    yield kt.until(over_canvas, 10, "the picture that was tapped")
    kt.press(kt.docker().panel, Qt.Key_Escape)
    yield kt.until(lambda: over_canvas() is None, 10, "Esc in the docker to put it away")
    # A new one is seen.
    kt.click(kt.find("press"))
    yield paint.waits(2)
    yield kt.until(over_canvas, 10, "the new picture")


def stays_while_the_canvas_is_moved():
    yield from filled()
    yield kt.until(over_canvas, 10, "the picture over the canvas")
    rows = kt.history()
    active_view().widget.setFocus()
    yield from key("keydown", "space")
    try:
        yield from kt.stroke([on_screen(x, 100) for x in range(60, 120, 10)])
    finally:
        yield from key("keyup", "space")
    yield 800
    assert kt.history() == rows
    assert over_canvas() is not None
    assert over_canvas().presence == 1


def is_in_sight(widget):
    """Whether all of it is seen without scrolling."""
    return widget.isVisible() and widget.visibleRegion().boundingRect() == widget.rect()


def every_press_brings_keep_into_view():
    yield from filled()
    bar = kt.find("options", QScrollArea).verticalScrollBar()
    for count in (2, 3):
        bar.setValue(bar.maximum())
        yield 100
        assert not is_in_sight(kt.find("keep")), "this docker is too tall for this test"
        kt.click(kt.find("press"))
        yield paint.waits(count)
        yield from paint.painted()
        yield kt.until(lambda: is_in_sight(kt.find("keep")), 5, "Keep to be in sight")
