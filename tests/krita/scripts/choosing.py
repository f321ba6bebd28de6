"""What is painted over: selections, sources and what Krita keeps from us, on a real document."""

import os

import kt
from choices import choose
from krita import InfoObject, Krita
from paint import (
    HEIGHT,
    SIDE,
    WIDTH,
    X,
    Y,
    changed_only_inside,
    fold,
    keeps_what_comes,
    label,
    layers,
    mask_of,
    paint_from,
    painted,
    picture,
    press,
    ready,
    stack,
    taken_back_and_done_again,
)
from PyQt5.QtCore import QByteArray, Qt
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QAction, QApplication
from velatura.krita_plugin.images import swap_red_blue


def action(name):
    return Krita.instance().action(name)


def remark(words):
    return kt.until(
        lambda: kt.find("remark").isVisible() and words in kt.find("remark").text(),
        10,
        f"the remark {words!r}",
    )


def no_remark():
    return kt.until(lambda: not kt.find("remark").isVisible(), 10, "no remark")


def add_layer(doc, name, x, y, width, height, seed=2):
    """``layer = yield from add_layer(...)``: paint above all else, and the current layer."""
    layer = doc.createNode(name, "paintlayer")
    layer.setPixelData(QByteArray(kt.noise(width, height, seed)), x, y, width, height)
    doc.rootNode().addChildNode(layer, None)
    doc.waitForDone()
    yield from choose_layer(doc, layer)
    return layer


def choose_layer(doc, layer):
    # Krita makes a new layer the current one by itself, a little later.
    yield 200
    doc.setActiveNode(layer)
    yield kt.until(lambda: doc.activeNode() == layer, 5, "the layer to be current")


class Asked:
    """What presses ask for, without painting it."""

    def __enter__(self):
        self.requests = []
        self.link = kt.docker().link
        self.link.generate = self.requests.append
        return self

    def __exit__(self, *error):
        del self.link.generate
        # The docker waits for answers that will never come.
        controller = kt.docker().controller
        for request in self.requests:
            controller._close(request.job)

    def press(self):
        """The request of one press; None where a sentence came instead."""
        before = len(self.requests)
        kt.click(kt.find("press"))
        return self.requests[-1] if len(self.requests) > before else None


def notice():
    return kt.find("notice").text() if kt.find("notice_frame").isVisible() else ""


# --- selections ------------------------------------------------------------------------------------


def takes_a_selection_mask_of_the_layer_for_the_selection():
    doc = yield from picture()
    values = kt.gradient(WIDTH, HEIGHT)
    kt.select_mask(doc, X, Y, WIDTH, HEIGHT, values)
    doc.setActiveNode(stack(doc)[0])
    yield label("Fill")
    action("add_new_selection_mask").trigger()
    yield kt.until(lambda: doc.selection() is None, 10, "the selection to become the layer's")
    yield remark("is the selection")
    yield label("Fill")
    before = kt.projection_bytes(doc)
    press()
    yield layers(doc, 2)
    yield from painted()
    after = yield from changed_only_inside(doc, before, mask_of(X, Y, WIDTH, HEIGHT, values))
    yield from taken_back_and_done_again(doc, before, after)

    layer = stack(doc)[0]
    yield from choose_layer(doc, layer)
    yield label("Fill")
    action("deselect").trigger()  # the mask stays and limits nothing
    yield label("Refine")
    yield no_remark()
    action("reselect").trigger()
    yield label("Fill")
    layer.addChildNode(doc.createSelectionMask("another"), None)
    yield from choose_layer(doc, layer)
    yield remark("several selection masks")
    kt.click(kt.find("press"))
    assert "hide all but one" in notice(), notice()
    kt.click(kt.find("dismiss"))


def says_that_a_layer_is_isolated_before_it_is_sent():
    doc = yield from picture()
    layer = yield from add_layer(doc, "mark", X, Y, WIDTH, HEIGHT)
    assert doc.activeNode() == layer
    yield no_remark()
    action("isolate_active_layer").trigger()
    try:
        yield remark("A layer is isolated")
    finally:
        action("isolate_active_layer").trigger()
    yield no_remark()


# --- enlarging -------------------------------------------------------------------------------------


def once(name, doc):
    """One undo or redo. Krita passes over it while it still draws."""
    doc.waitForDone()
    action(name).trigger()


def enlarges_the_canvas_by_side_in_one_undo():
    doc = yield from picture()
    before, tree = kt.projection_bytes(doc), kt.layer_tree(doc)
    rows = len(kt.history())
    yield label("Refine")
    kt.find("press_more").menu().findChild(QAction, "choose_expand").trigger()
    yield label("Expand")
    with Asked() as asked:
        assert asked.press() is None
        assert "choose the sides" in notice(), notice()
        kt.click(kt.find("dismiss"))
    kt.find("enlarge_by").setValue(48)
    kt.click(kt.find("enlarge_left"))
    kt.click(kt.find("enlarge_bottom"))
    press()
    yield layers(doc, 2)
    yield from painted()
    width, height = SIDE + 48, SIDE + 48
    assert (doc.width(), doc.height()) == (width, height)
    together = kt.docker().controller.results.together
    yield kt.until(lambda: together.is_settled, 10, "the rows of the History")
    assert len(kt.history()) == rows + 2, kt.history()
    after = kt.projection_bytes(doc)
    for y in range(SIDE):
        line = after[4 * (y * width + 48) : 4 * (y + 1) * width]
        assert line == before[4 * y * SIDE : 4 * (y + 1) * SIDE], f"row {y} of the picture changed"
    alpha = bytes(stack(doc)[-1].pixelData(0, 0, width, height))[3::4]
    border = [alpha[y * width : y * width + 48] for y in range(SIDE)] + [alpha[SIDE * width :]]
    assert all(set(line) == {255} for line in border), "all of the border is painted"
    chosen = [kt.find(f"enlarge_{side}") for side in ("left", "bottom")]
    yield kt.until(lambda: not any(b.isChecked() for b in chosen), 10, "no side to be chosen")

    once("edit_undo", doc)
    yield kt.until(lambda: len(stack(doc)) == 1 and doc.width() == SIDE, 10, "one undo for both")
    assert kt.projection_bytes(doc) == before
    assert kt.layer_tree(doc) == tree
    once("edit_redo", doc)
    yield kt.until(lambda: len(stack(doc)) == 2 and doc.width() == width, 10, "one redo for both")
    assert kt.projection_bytes(doc) == after
    # The painter goes another way: those rows are no pair any more.
    once("edit_undo", doc)
    yield kt.until(lambda: len(stack(doc)) == 1 and doc.width() == SIDE, 10, "one undo for both")
    doc.resizeImage(0, 0, SIDE + 9, SIDE)
    yield kt.until(lambda: len(kt.history()) == rows + 1, 10, "the painter's own row")
    yield 200
    yield from add_layer(doc, "mine", 0, 0, 9, 9)
    once("edit_undo", doc)
    yield kt.until(lambda: len(stack(doc)) == 1, 10, "the painter's own undo")
    yield 300
    assert doc.width() == SIDE + 9, "one undo too many"


# --- sources ---------------------------------------------------------------------------------------


def paints_over_the_layer_that_has_transparency_unless_something_is_selected():
    doc = yield from picture()
    paint_from("auto")
    combo = kt.find("paint_from")

    def source(words):
        return kt.until(lambda: combo.currentText() == f"{words} (auto)", 10, words)

    yield label("Refine")
    yield source("Everything visible")
    layer = yield from add_layer(doc, "mark", X, Y, WIDTH, HEIGHT)
    yield source("Current layer")
    with Asked() as asked:
        request = asked.press()
        at = request.region
        expected = bytes(layer.pixelData(at.x, at.y, at.width, at.height))
        assert request.source.data == swap_red_blue(expected, at.width, at.height)
        assert request.keep_outline
        kt.select(doc, X, Y, 20, 20)
        yield source("Everything visible")
        assert asked.press().source is None
        doc.setSelection(None)
        yield source("Current layer")
        # An empty layer says so, and offers the other.
        empty = doc.createNode("empty", "paintlayer")
        doc.rootNode().addChildNode(empty, None)
        yield from choose_layer(doc, empty)
        yield source("Current layer")
        assert asked.press() is None
        assert notice().startswith('"empty" is empty'), notice()
        other = kt.find("retry")
        assert other.text() == "Everything visible"
        kt.click(other)
        assert len(asked.requests) == 3, notice()
        assert asked.requests[-1].source is None
        assert combo.currentText() == "Everything visible"
        assert not notice()


def groups(doc):
    group = doc.createGroupLayer("group")
    doc.rootNode().addChildNode(group, None)
    inside = doc.createNode("inside", "paintlayer")
    inside.setPixelData(QByteArray(kt.noise(WIDTH, HEIGHT, 5)), X, Y, WIDTH, HEIGHT)
    group.addChildNode(inside, None)
    return group


def vectors(doc):
    vector = doc.createVectorLayer("vector")
    doc.rootNode().addChildNode(vector, None)
    # Points, of which an inch has 72; the document has 300 pixels in an inch.
    vector.addShapesFromSvg(
        '<svg xmlns="http://www.w3.org/2000/svg" width="46" height="46" viewBox="0 0 46 46">'
        '<rect x="15" y="10" width="15" height="17" fill="#a02020"/></svg>'
    )
    return vector


def fills(doc):
    fill = doc.createFillLayer("filled", "color", InfoObject(), doc_selection())
    doc.rootNode().addChildNode(fill, None)
    return fill


def doc_selection():
    from krita import Selection

    selection = Selection()
    selection.select(X, Y, WIDTH, HEIGHT, 255)
    return selection


def clipped(doc):
    layer = doc.createNode("clipped", "paintlayer")
    layer.setPixelData(QByteArray(kt.noise(WIDTH, HEIGHT, 6)), X, Y, WIDTH, HEIGHT)
    doc.rootNode().addChildNode(layer, None)
    layer.setInheritAlpha(True)
    return layer


def locked(doc):
    layer = doc.createNode("locked", "paintlayer")
    layer.setPixelData(QByteArray(kt.noise(WIDTH, HEIGHT, 7)), X, Y, WIDTH, HEIGHT)
    doc.rootNode().addChildNode(layer, None)
    layer.setLocked(True)
    return layer


def kept_layers(doc):
    """How many there are at the top level; the painter keeps what comes."""
    keeps_what_comes()
    return len(doc.topLevelNodes())


def paints_over_every_kind_of_layer_or_says_what_to_do():
    doc = yield from picture()
    paint_from("layer")
    for make in (groups, vectors, fills, clipped, locked):
        layer = make(doc)
        doc.waitForDone()
        yield from choose_layer(doc, layer)
        yield label("Refine")
        tree = [node.name() for node in doc.topLevelNodes()]
        pixels = bytes(layer.projectionPixelData(0, 0, SIDE, SIDE))
        assert any(pixels[3::4]), layer.type()
        press()
        count = len(tree) + 1
        yield kt.until(lambda n=count: kept_layers(doc) == n, 60, layer.name())
        yield from painted()
        names = [node.name() for node in doc.topLevelNodes()]
        above = names.index(layer.name()) + 1
        assert names[above].startswith("a red boat"), names
        assert names[:above] + names[above + 1 :] == tree, names
        made = doc.topLevelNodes()[above]
        new = bytes(made.pixelData(0, 0, SIDE, SIDE))
        outside = sum(a > 0 and not b for a, b in zip(new[3::4], pixels[3::4], strict=True))
        assert any(new[3::4]), layer.type()
        assert outside == 0, f"{layer.type()}: {outside} pixels outside the outline"
        assert bytes(layer.projectionPixelData(0, 0, SIDE, SIDE)) == pixels, layer.type()
        made.remove()
        layer.remove()
        doc.waitForDone()
        yield 200
    layer = yield from add_layer(doc, "mark", X, Y, WIDTH, HEIGHT)
    action("add_new_transparency_mask").trigger()
    yield kt.until(layer.childNodes, 10, "the mask")
    mask = layer.childNodes()[0]
    mask.setName("see")
    yield from choose_layer(doc, mask)
    with Asked() as asked:
        assert asked.press() is None
        assert notice().startswith('"see" is a mask: choose its layer'), notice()
        kt.click(kt.find("dismiss"))
        paint_from("visible")
        assert asked.press() is not None, notice()


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
    first = yield from picture()
    yield shows("")
    yield 600  # longer than it takes to write
    assert not first.modified(), "looking at a picture modifies it"
    sketch = stack(first)[0].uniqueId().toString()
    kt.type_text(kt.find("prompt"), "a red boat")
    kt.type_text(kt.find("avoid"), "fog")
    fold("guide", is_open=True)
    kt.find("guide_add").click()
    yield 600
    kept = bytes(first.annotation("velatura/desk"))
    assert b"a red boat" in kept, kept
    assert sketch.encode() in kept, kept
    # A press asks for what belongs to this picture, and remembers the words for all.
    with Asked() as asked:
        assert asked.press().prompt == "a red boat", notice()
    path = os.path.join(os.environ["KT_FOLDER"], "desk.kra")
    Krita.instance().setBatchmode(True)
    first.waitForDone()
    assert first.saveAs(path)
    first.waitForDone()

    second = yield from kt.new_document(SIDE, SIDE, kt.noise(SIDE, SIDE, 3))
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
    fold("guide", is_open=False)


# --- what is sent ----------------------------------------------------------------------------------


def pixel(image, x, y):
    found = image.pixelColor(x, y)
    return found.red(), found.green(), found.blue(), found.alpha()


def shows_what_is_sent_before_the_press():
    half = b"\xf0\xe0\xa0\xff" * (SIDE // 2) + b"\x20\x60\xc0\xff" * (SIDE // 2)
    doc = yield from kt.new_document(SIDE, SIDE, half * SIDE)
    yield from ready()
    view = kt.find("sent")
    scroll = kt.find("options")
    scroll.ensureWidgetVisible(view)
    choose("context", "whole")

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
    layer.setPixelData(QByteArray(b"\x00\x00\xff\xff" * SIDE * SIDE), 0, 0, SIDE, SIDE)
    doc.rootNode().addChildNode(layer, None)
    doc.refreshProjection()
    yield sent(lambda image: pixel(image, 80, 40) == (255, 0, 0, 255), "the layer above it")
    kt.docker().panel.source.leave((layer.uniqueId().toString(),))
    yield sent(lambda image: pixel(image, 80, 40) == (0x20, 0x60, 0xC0, 255), "it left out")
    kt.select(doc, 0, 0, SIDE // 2, SIDE)
    yield sent(lambda image: max(pixel(image, 80, 40)[:3]) < 0x80, "the rest darker")
    assert pixel(view.image, 10, 40) == (0xF0, 0xE0, 0xA0, 255)
    choose("context", "auto")
    kt.docker().panel.source.leave(())
    Krita.instance().action("deselect").trigger()
    yield 200


# --- the keys --------------------------------------------------------------------------------------


def gives_the_canvas_the_keys_back():
    yield from picture()

    def canvas_has_focus():
        widget = QApplication.focusWidget()
        return widget is not None and "Canvas" in widget.metaObject().className()

    yield label("Refine")
    prompt = kt.find("prompt")
    kt.main_window().activateWindow()
    prompt.setFocus()
    yield kt.until(prompt.hasFocus, 5, "the prompt to have the keys")
    QTest.keyClick(prompt, Qt.Key_Escape)
    yield kt.until(canvas_has_focus, 5, "Esc to give the canvas the keys")
    with Asked() as asked:
        prompt.setFocus()
        yield kt.until(prompt.hasFocus, 5, "the prompt to have the keys")
        QTest.keyClick(prompt, Qt.Key_Return)
        assert len(asked.requests) == 1
        yield kt.until(canvas_has_focus, 5, "Enter to give the canvas the keys")
        prompt.setFocus()
        kt.click(kt.find("press"))
        assert len(asked.requests) == 2
        yield kt.until(canvas_has_focus, 5, "the press to give the canvas the keys")
