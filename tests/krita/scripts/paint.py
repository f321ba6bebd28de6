"""What the scripts share: the docker's real widgets, and what became of a document."""

import json

import kt
from krita import Krita
from PyQt5.QtCore import QByteArray, Qt
from PyQt5.QtTest import QTest
from velatura.krita_plugin import recipe

SIDE = 192
AREA = X, Y, WIDTH, HEIGHT = 60, 40, 64, 72


def light(word, seconds=90):
    return kt.until(
        lambda: kt.find("reason").text().startswith(word), seconds, f"the light to say {word!r}"
    )


def light_is_green():
    kt.docker()
    yield light("Ready")


def ready():
    """A docker as a new painter finds it, with a green light."""
    yield from light_is_green()
    fold("advanced", is_open=True)
    combo = kt.find("model")
    combo.setCurrentIndex(max(0, combo.findText("tiny")))
    for name, value in (("steps", 4), ("variants", 1), ("soft_edge", -1)):
        kt.find(name).setValue(value)
    kt.find("seed_lock").setChecked(False)
    paint_from("visible")
    empty_strip()
    # As when the pen comes in: a choice made before it looks is one for the picture before.
    kt.docker().panel.entered.emit()


def empty_strip():
    """Discard what an earlier test left there."""
    if kt.find("strip").count():
        kt.find("discard_all").click()


def paint_from(what):
    combo = kt.find("paint_from")
    combo.setCurrentIndex(combo.findData(what))


def fold(name, is_open):
    head = kt.find(name)
    if head.isChecked() != is_open:
        kt.click(head)


def label(text):
    return kt.until(lambda: kt.find("press").text() == text, 10, f"the button to say {text}")


def strength(percent):
    kt.find("strength_number").setValue(percent)


def press(prompt="a red boat"):
    kt.type_text(kt.find("prompt"), prompt)
    kt.click(kt.find("press"))


def stack(doc):
    """The layers, bottom to top. Krita keeps the selection there too, as a mask."""
    return [node for node in doc.topLevelNodes() if node.type() == "paintlayer"]


def keeps_what_comes():
    """Tap Keep if a picture waits and is looked at."""
    keep = kt.find("keep")
    if keep.isVisible() and keep.isEnabled():
        kt.click(keep)


def layers(doc, count):
    """The painter keeps what comes, until there are so many layers."""

    def there():
        if len(stack(doc)) < count:
            keeps_what_comes()
        return len(stack(doc)) == count

    return kt.until(there, 60, f"{count} layers")


def waits(count=1):
    """So many finished pictures in the strip."""
    return kt.until(lambda: kt.find("strip").count() == count, 60, f"{count} pictures")


def painted():
    """The docker is at rest and has nothing to complain about."""
    yield kt.until(lambda: not kt.find("cancel").isVisible(), 60, "the painting to end")
    assert not kt.find("notice_frame").isVisible(), kt.find("notice").text()


def picture():
    """``doc = yield from picture()``: a canvas where every pixel is another one."""
    doc = yield from kt.new_document(SIDE, SIDE, kt.noise(SIDE, SIDE))
    yield from ready()
    return doc


def mask_of(x, y, width, height, values=None, size=(SIDE, SIDE)):
    """One byte for every pixel of the canvas; ``values`` for those inside the rectangle."""
    mask = bytearray(size[0] * size[1])
    for row in range(height):
        part = b"\xff" * width if values is None else values[row * width : (row + 1) * width]
        mask[(y + row) * size[0] + x : (y + row) * size[0] + x + width] = part
    return bytes(mask)


def changed_only_inside(doc, before, selected):
    """``after = yield from changed_only_inside(...)``: the whole canvas, pixel by pixel.

    Krita refreshes a new layer from its event loop, on threads of its own; a slow machine needs
    longer. So what is held to the promise at once is each new layer, and what is seen once Krita
    is done.
    """
    for layer in stack(doc)[1:]:
        if layer.name().startswith("a red boat"):
            outside = sum(a > 0 for a, s in zip(alpha_of(layer), selected, strict=True) if not s)
            assert outside == 0, f"{layer.name()} has {outside} pixels outside the selection"
    yield 200
    counts = []

    def settled():
        counts.append(kt.changed_outside(before, kt.projection_bytes(doc), SIDE, selected))
        return counts[-1] == 0

    try:
        yield kt.until(settled, 5, "nothing to be changed outside the selection")
    finally:
        if counts[0]:
            kt.say("pixels changed outside the selection, from read to read:", counts[:9])
    after = kt.projection_bytes(doc)
    assert before != after
    return after


def alpha_of(node):
    return bytes(node.pixelData(0, 0, SIDE, SIDE))[3::4]


def never_more_than(alpha, selected):
    too_much = sum(a > s for a, s in zip(alpha, selected, strict=True))
    assert too_much == 0, f"{too_much} pixels of the layer are more opaque than the selection"
    assert max(alpha) > 0


def taken_back_and_done_again(doc, before, after):
    yield from kt.undo(doc)
    assert kt.projection_bytes(doc) == before
    yield from kt.redo(doc)
    assert kt.projection_bytes(doc) == after


def annotation_of(doc, layer):
    names = [name.partition("/")[2] for name in doc.annotationTypes()]
    key = recipe.find(names, layer.uniqueId().toString())
    return json.loads(bytes(doc.annotation("velatura/" + key)))


def recipes_of(doc):
    return [name for name in doc.annotationTypes() if name.startswith("velatura/recipe/")]


def started():
    """A painting that takes long enough to change the document under it."""
    kt.find("steps").setValue(60)
    press()
    return kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")


def painted_and_taken_back(doc, count):
    """``pixels = yield from painted_and_taken_back(doc, count)``: of the new layer."""
    kt.click(kt.find("press"))
    yield layers(doc, count)
    yield from painted()
    pixels = bytes(stack(doc)[-1].pixelData(0, 0, SIDE, SIDE))
    yield from kt.undo(doc)
    yield layers(doc, count - 1)
    return pixels


def add_words(name):
    """``yield from add_words(...)``: from the menu beside the prompt."""
    button = kt.find("prompt_add")
    yield kt.until(button.isEnabled, 20, "what the model takes")
    found = [entry for entry in button.menu().actions() if entry.text() == name]
    assert len(found) == 1, [entry.text() for entry in button.menu().actions()]
    found[0].trigger()


def trigger(name):
    """An entry of Krita's menus."""
    Krita.instance().action(name).trigger()


def there_are(doc, count, type_="paintlayer"):
    """So many layers of that type at the top of the tree, without a tap on Keep."""
    return kt.until(
        lambda: sum(node.type() == type_ for node in doc.topLevelNodes()) == count,
        20,
        f"{count} of type {type_}",
    )


def one_row_more(rows):
    """Krita's History docker hears of a new row from the event loop."""
    return kt.until(lambda: len(kt.history()) == rows + 1, 10, f"{rows + 1} rows in the History")


def choose(name, data):
    combo = kt.find(name)
    combo.setCurrentIndex(combo.findData(data))


def tap(list_widget, row):
    list_widget.scrollToItem(list_widget.item(row))
    place = list_widget.visualItemRect(list_widget.item(row)).center()
    QTest.mouseClick(list_widget.viewport(), Qt.LeftButton, Qt.NoModifier, place)


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


def saved_and_opened(doc, path):
    """``again = yield from saved_and_opened(doc, path)``"""
    app = Krita.instance()
    app.setBatchmode(True)
    doc.waitForDone()
    doc.setSelection(None)
    assert doc.saveAs(path)
    doc.waitForDone()
    doc.setModified(False)
    doc.close()
    yield 300
    again = app.openDocument(path)
    app.activeWindow().addView(again)
    yield kt.until(lambda: app.activeDocument() == again, 10, "the file")
    again.waitForDone()
    yield 300
    return again


def notice():
    return kt.find("notice").text() if kt.find("notice_frame").isVisible() else ""


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
