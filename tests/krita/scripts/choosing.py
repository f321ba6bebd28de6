"""What a painter chooses beside the source: a larger canvas, words, actions, and where the keys go."""

import json
import os

import kt
import paint
from krita import Krita
from PyQt5.QtCore import QByteArray, Qt
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QAbstractButton, QAction, QApplication, QLabel
from velatura.krita_plugin import together
from velatura.krita_plugin.state import FIRST_STRENGTHS

# --- enlarging -------------------------------------------------------------------------------------


def override(action):
    """Choose it from the button's menu."""
    kt.find("press_more").menu().findChild(QAction, f"choose_{action}").trigger()


def once(name, doc):
    """One undo or redo. Krita passes over it while it still draws."""
    doc.waitForDone()
    paint.trigger(name)


def enlarges_the_canvas_by_side_in_one_undo():
    doc = yield from paint.picture()
    before, tree = kt.projection_bytes(doc), kt.layer_tree(doc)
    rows = len(kt.history())
    yield paint.label("Refine")
    override("expand")
    yield paint.label("Expand")
    with paint.Asked() as asked:
        assert asked.press() is None
        assert "choose the sides" in paint.notice(), paint.notice()
        kt.click(kt.find("dismiss"))
    kt.find("enlarge_by").setValue(48)
    kt.click(kt.find("enlarge_left"))
    kt.click(kt.find("enlarge_bottom"))
    paint.press()
    yield paint.layers(doc, 2)
    yield from paint.painted()
    width, height = paint.SIDE + 48, paint.SIDE + 48
    assert (doc.width(), doc.height()) == (width, height)
    rows_of_ours = kt.docker().controller.results.together
    yield kt.until(lambda: rows_of_ours.is_settled, 10, "the rows of the History")
    assert len(kt.history()) == rows + 2, kt.history()
    after = kt.projection_bytes(doc)
    for y in range(paint.SIDE):
        line = after[4 * (y * width + 48) : 4 * (y + 1) * width]
        assert line == before[4 * y * paint.SIDE : 4 * (y + 1) * paint.SIDE], (
            f"row {y} of the picture changed"
        )
    alpha = bytes(paint.stack(doc)[-1].pixelData(0, 0, width, height))[3::4]
    border = [alpha[y * width : y * width + 48] for y in range(paint.SIDE)] + [
        alpha[paint.SIDE * width :]
    ]
    assert all(set(line) == {255} for line in border), "all of the border is painted"
    chosen = [kt.find(f"enlarge_{side}") for side in ("left", "bottom")]
    yield kt.until(lambda: not any(b.isChecked() for b in chosen), 10, "no side to be chosen")

    once("edit_undo", doc)
    yield kt.until(
        lambda: len(paint.stack(doc)) == 1 and doc.width() == paint.SIDE, 10, "one undo for both"
    )
    assert kt.projection_bytes(doc) == before
    assert kt.layer_tree(doc) == tree
    once("edit_redo", doc)
    yield kt.until(
        lambda: len(paint.stack(doc)) == 2 and doc.width() == width, 10, "one redo for both"
    )
    assert kt.projection_bytes(doc) == after
    # The painter goes another way: those rows are no pair any more.
    once("edit_undo", doc)
    yield kt.until(
        lambda: len(paint.stack(doc)) == 1 and doc.width() == paint.SIDE, 10, "one undo for both"
    )
    doc.resizeImage(0, 0, paint.SIDE + 9, paint.SIDE)
    yield kt.until(lambda: len(kt.history()) == rows + 1, 10, "the painter's own row")
    yield 200
    yield from paint.add_layer(doc, "mine", 0, 0, 9, 9)
    once("edit_undo", doc)
    yield kt.until(lambda: len(paint.stack(doc)) == 1, 10, "the painter's own undo")
    yield 300
    assert doc.width() == paint.SIDE + 9, "one undo too many"


def takes_an_enlarging_back_with_an_undo_at_once():
    """Before the docker has seen that Krita's rows are a pair."""
    doc = yield from paint.picture()
    before, rows = kt.projection_bytes(doc), len(kt.history())
    yield paint.label("Refine")
    override("expand")
    yield paint.label("Expand")
    kt.find("enlarge_by").setValue(48)
    kt.click(kt.find("enlarge_top"))
    paint.press()
    yield paint.waits(1)
    yield from paint.painted()
    usual, together._AGAIN = together._AGAIN, 700
    try:
        kt.click(kt.find("keep"))
        yield kt.until(lambda: len(kt.history()) == rows + 2, 20, "both rows")
        watch = kt.docker().controller.results.together
        yield kt.until(lambda: watch._row() == rows + 1, 10, "the last row to be current")
        while watch._row() == rows + 1:  # Krita passes over an undo while it still draws
            assert not watch.is_settled
            once("edit_undo", doc)
            yield 150
        yield kt.until(lambda: doc.height() == paint.SIDE, 10, "one undo for both")
        assert kt.projection_bytes(doc) == before
        assert len(paint.stack(doc)) == 1
    finally:
        together._AGAIN = usual


# --- what belongs to the picture -------------------------------------------------------------------


def shows(prompt):
    return kt.until(
        lambda: kt.find("prompt").toPlainText() == prompt, 10, f"the prompt to be {prompt!r}"
    )


def switch_to(doc):
    window = Krita.instance().activeWindow()
    view = next(view for view in window.views() if view.document() == doc)
    window.showView(view)
    window.activate()
    view.setVisible()
    yield kt.until(lambda: Krita.instance().activeDocument() == doc, 10, "the other picture")


def keeps_prompt_and_guides_with_each_picture():
    first = yield from paint.picture()
    yield shows("")
    yield 600  # longer than it takes to write
    assert not first.modified(), "looking at a picture modifies it"
    sketch = paint.stack(first)[0].uniqueId().toString()
    kt.type_text(kt.find("prompt"), "a red boat")
    kt.type_text(kt.find("avoid"), "fog")
    paint.fold("guide", is_open=True)
    kt.find("guide_add").click()
    paint.choose("guide_layer_1", sketch)
    yield 600
    kept = bytes(first.annotation("velatura/desk"))
    assert b"a red boat" in kept, kept
    assert sketch.encode() in kept, kept
    # A press asks for what belongs to this picture, and remembers the words for all.
    with paint.Asked() as asked:
        assert asked.press().prompt == "a red boat", paint.notice()
    path = os.path.join(os.environ["KT_FOLDER"], "desk.kra")
    Krita.instance().setBatchmode(True)
    first.waitForDone()
    assert first.saveAs(path)
    first.waitForDone()

    second = yield from kt.new_document(paint.SIDE, paint.SIDE, kt.noise(paint.SIDE, paint.SIDE, 3))
    yield shows("")
    assert kt.find("guide").text() == "Guides"
    kt.find("prompt_past").menu().actions()[0].trigger()
    assert kt.find("prompt").toPlainText() == "a red boat"
    kt.type_text(kt.find("prompt"), "a tree")
    yield from switch_to(first)
    yield shows("a red boat")
    assert kt.find("avoid").toPlainText() == "fog"
    assert kt.find("guide").text() == "Guides (1)"
    yield from switch_to(second)
    yield shows("a tree")
    first.waitForDone()
    first.setModified(False)
    first.close()
    again = Krita.instance().openDocument(path)
    Krita.instance().activeWindow().addView(again)
    yield kt.until(lambda: Krita.instance().activeDocument() == again, 10, "the file")
    yield shows("a red boat")
    assert kt.find("guide").text() == "Guides (1)"
    yield 600
    assert not again.modified(), "opening a picture modifies it"
    (row,) = kt.docker().panel.guide.rows
    assert row.guide.layer == sketch
    row.remove.click()
    paint.fold("guide", is_open=False)


# --- what is sent ----------------------------------------------------------------------------------


def pixel(image, x, y):
    found = image.pixelColor(x, y)
    return found.red(), found.green(), found.blue(), found.alpha()


def shows_what_is_sent_before_the_press():
    half = b"\xf0\xe0\xa0\xff" * (paint.SIDE // 2) + b"\x20\x60\xc0\xff" * (paint.SIDE // 2)
    doc = yield from kt.new_document(paint.SIDE, paint.SIDE, half * paint.SIDE)
    yield from paint.ready()
    view = kt.find("sent")
    scroll = kt.find("options")
    scroll.ensureWidgetVisible(view)
    paint.choose("context", "whole")

    def sent(condition, words):
        def is_so():
            if view.image is not None and condition(view.image):
                return True
            # As when the pen comes into the docker: Krita may have drawn only now.
            scroll.ensureWidgetVisible(view)
            kt.docker().panel.entered.emit()
            return False

        return kt.until(is_so, 10, words)

    yield sent(
        lambda image: (
            image.width() == image.height()
            and pixel(image, 10, 40) == (0xF0, 0xE0, 0xA0, 255)
            and pixel(image, 80, 40) == (0x20, 0x60, 0xC0, 255)
        ),
        "the whole picture",
    )
    layer = doc.createNode("lines", "paintlayer")
    layer.setPixelData(
        QByteArray(b"\x00\x00\xff\xff" * paint.SIDE * paint.SIDE), 0, 0, paint.SIDE, paint.SIDE
    )
    doc.rootNode().addChildNode(layer, None)
    doc.refreshProjection()
    yield sent(lambda image: pixel(image, 80, 40) == (255, 0, 0, 255), "the layer above it")
    kt.docker().panel.source.leave((layer.uniqueId().toString(),))
    yield sent(lambda image: pixel(image, 80, 40) == (0x20, 0x60, 0xC0, 255), "it left out")
    kt.select(doc, 0, 0, paint.SIDE // 2, paint.SIDE)
    yield sent(lambda image: max(pixel(image, 80, 40)[:3]) < 0x80, "the rest darker")
    assert pixel(view.image, 10, 40) == (0xF0, 0xE0, 0xA0, 255)
    paint.choose("context", "auto")
    kt.docker().panel.source.leave(())
    Krita.instance().action("deselect").trigger()
    yield 200


# --- the keys --------------------------------------------------------------------------------------


def gives_the_canvas_the_keys_back():
    yield from paint.picture()

    def canvas_has_focus():
        widget = QApplication.focusWidget()
        return widget is not None and "Canvas" in widget.metaObject().className()

    yield paint.label("Refine")
    prompt = kt.find("prompt")
    kt.main_window().activateWindow()
    prompt.setFocus()
    yield kt.until(prompt.hasFocus, 5, "the prompt to have the keys")
    QTest.keyClick(prompt, Qt.Key_Escape)
    yield kt.until(canvas_has_focus, 5, "Esc to give the canvas the keys")
    with paint.Asked() as asked:
        prompt.setFocus()
        yield kt.until(prompt.hasFocus, 5, "the prompt to have the keys")
        QTest.keyClick(prompt, Qt.Key_Return)
        assert len(asked.requests) == 1
        yield kt.until(canvas_has_focus, 5, "Enter to give the canvas the keys")
        prompt.setFocus()
        kt.click(kt.find("press"))
        assert len(asked.requests) == 2
        yield kt.until(canvas_has_focus, 5, "the press to give the canvas the keys")


# --- the action ------------------------------------------------------------------------------------

FIRST = {"generate": 100, "refine": 55, "fill": 100, "refine_selection": 45, "expand": 100}


def first_strengths():
    assert dict(FIRST_STRENGTHS) == FIRST
    for action, percent in FIRST.items():
        kt.docker().panel.set_strength(action, percent)


def remembers_the_strength_of_each_action():
    doc = yield from paint.picture()
    first_strengths()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    number = kt.find("strength_number")
    for action, first in FIRST.items():
        override(action)
        assert number.value() == first, (action, number.value())
    override("refine")
    paint.strength(33)
    override("refine_selection")
    paint.strength(61)
    assert kt.find("press").text() == "Refine selection"
    override("follow")
    doc.setSelection(None)
    yield paint.label("Refine")
    assert number.value() == 33
    memory = json.loads(Krita.instance().readSetting("velatura", "docker", "{}"))
    assert memory["strengths"] == {**FIRST, "refine": 33, "refine_selection": 61}
    kt.select(doc, *paint.AREA)
    yield paint.label("Refine selection")
    assert number.value() == 61
    paint.strength(100)
    yield paint.label("Fill")
    first_strengths()


# The painter's word, which stands before the widget or on it; the field's, in its tooltip.
WORDS = {
    "strength_number": ("Strength", "denoising strength"),
    "variants": ("Variants", "batch count"),
    "seed": ("Seed", "seed"),
    "soft_edge": ("Soft edge", "feather"),
    "keep_outline": ("Keep outline", "preserve alpha"),
    "steps": ("Steps", "steps"),
    "guidance": ("Guidance", "guidance scale, CFG"),
    "sampler": ("Sampler", "sampler"),
    "clip_skip": ("Clip skip", "clip skip"),
    "guide": ("Guides (1)", "ControlNet"),
    "guide_kind_1": ("", "control type"),
    "guide_layer_1": ("Layer", "control image"),
    "guide_influence_1": ("Influence", "weight"),
    "guide_from_1": ("From", "start"),
    "guide_until_1": ("until", "end"),
    "guide_trace_1": ("Trace", "preprocessor"),
    "prompt": ("What to paint", "prompt"),
    "avoid": ("Avoid", "negative prompt"),
}


def word_of(widget):
    """On it, in it while it is empty, or on the label before it in its row."""
    own = getattr(widget, "placeholderText", getattr(widget, "text", str))()
    labels = [
        each
        for each in widget.parentWidget().findChildren(QLabel)
        if each.text()
        and abs(each.geometry().center().y() - widget.geometry().center().y()) < 12
        and each.geometry().right() <= widget.geometry().left()
    ]
    before = max(labels, key=lambda each: each.geometry().right(), default=None)
    return own if isinstance(widget, QAbstractButton) or before is None else before.text()


def has_the_painters_word_before_the_fields():
    yield from paint.picture()
    paint.fold("guide", is_open=True)
    kt.click(kt.find("guide_add"))
    yield kt.until(lambda: kt.find("guide_on_1").isVisible(), 5, "the guide's row")
    yield 200
    found = {name: (word_of(kt.find(name)), kt.find(name).toolTip()) for name in WORDS}
    kt.click(kt.find("guide_remove_1"))
    paint.fold("guide", is_open=False)
    for name, (word, term) in WORDS.items():
        seen, tip = found[name]
        assert seen == word or not word, (name, seen)
        assert f"({term}" in tip or f"{term})" in tip, (name, tip)


def paints_several_variants_where_that_is_quick():
    """The engine says that it is no CPU."""
    doc = yield from paint.picture()
    kt.find("variants").setValue(0)
    yield paint.label("Refine")
    with paint.Asked() as asked:
        assert asked.press().variants == 1
        kt.select(doc, *paint.AREA)
        yield paint.label("Fill")
        request = asked.press()
        assert request.variants == 3
        assert request.soft_edge == 4
