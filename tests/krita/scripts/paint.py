"""A painter's presses on the docker's real widgets; every test compares the whole canvas."""

import json
import os
import signal

import kt
from krita import Krita
from PyQt5.QtCore import QByteArray, Qt
from PyQt5.QtTest import QTest
from velatura.krita_plugin import recipe

SIDE = 192
X, Y, WIDTH, HEIGHT = 60, 40, 64, 72


# --- what the tests share --------------------------------------------------------------------------


def light(word, seconds=90):
    return kt.until(
        lambda: kt.find("reason").text().startswith(word), seconds, f"the light to say {word!r}"
    )


def ready():
    """A docker as a new painter finds it, with a green light."""
    kt.docker()
    yield light("Ready")
    fold("advanced", is_open=True)
    combo = kt.find("model")
    combo.setCurrentIndex(max(0, combo.findText("tiny")))
    for name, value in (("steps", 4), ("variants", 1)):
        kt.find(name).setValue(value)
    kt.find("seed_lock").setChecked(False)
    paint_from("visible")
    empty_strip()


def empty_strip():
    """Discard what an earlier test left there."""
    while kt.find("discard").isVisible():
        kt.click(kt.find("discard"))


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
    """Tap Keep if a picture waits."""
    keep = kt.find("keep")
    if keep.isVisible():
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


# --- the actions -----------------------------------------------------------------------------------


def fills_a_hard_selection():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    rows = len(kt.history())
    press("a red boat")
    yield layers(doc, 2)
    yield from painted()
    layer = stack(doc)[-1]
    assert layer.name() == "a red boat (Fill)", layer.name()
    selected = mask_of(X, Y, WIDTH, HEIGHT)
    after = yield from changed_only_inside(doc, before, selected)
    never_more_than(alpha_of(layer), selected)
    assert len(kt.history()) == rows + 1, kt.history()
    selection = doc.selection()
    assert (selection.x(), selection.y()) == (X, Y)
    assert (selection.width(), selection.height()) == (WIDTH, HEIGHT)
    made = recipe.from_json(annotation_of(doc, layer))
    assert made.settings.prompt == "a red boat"
    assert made.settings.model == "tiny"
    assert str(made.seed) == kt.find("seed").text()
    yield from taken_back_and_done_again(doc, before, after)


def recipes_of(doc):
    return [name for name in doc.annotationTypes() if name.startswith("velatura/recipe/")]


def annotation_of(doc, layer):
    names = [name.partition("/")[2] for name in doc.annotationTypes()]
    key = recipe.find(names, layer.uniqueId().toString())
    return json.loads(bytes(doc.annotation("velatura/" + key)))


def fills_a_soft_selection():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    # From nothing at the left to everything at the right.
    values = kt.gradient(WIDTH, HEIGHT)
    kt.select_mask(doc, X, Y, WIDTH, HEIGHT, values)
    yield label("Fill")
    press()
    yield layers(doc, 2)
    yield from painted()
    selected = mask_of(X, Y, WIDTH, HEIGHT, values)
    after = yield from changed_only_inside(doc, before, selected)
    never_more_than(alpha_of(stack(doc)[-1]), selected)
    yield from taken_back_and_done_again(doc, before, after)


def refines_a_selection_below_full_strength():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    strength(45)
    yield label("Refine selection")
    press()
    yield layers(doc, 2)
    yield from painted()
    assert stack(doc)[-1].name() == "a red boat (Refine selection)"
    after = yield from changed_only_inside(doc, before, mask_of(X, Y, WIDTH, HEIGHT))
    strength(100)
    yield label("Fill")
    yield from taken_back_and_done_again(doc, before, after)


def refines_the_current_layer():
    doc = yield from picture()
    shape = doc.createNode("shape", "paintlayer")
    pixels = kt.noise(WIDTH, HEIGHT, 2)
    shape.setPixelData(QByteArray(pixels), X, Y, WIDTH, HEIGHT)
    doc.rootNode().addChildNode(shape, None)
    cover = doc.createNode("cover", "paintlayer")
    cover.setPixelData(QByteArray(kt.noise(16, 16, 3)), 4, 4, 16, 16)
    doc.rootNode().addChildNode(cover, None)
    doc.waitForDone()
    yield 200
    doc.setActiveNode(shape)
    yield kt.until(lambda: doc.activeNode() == shape, 5, "the shape to be active")
    before = kt.projection_bytes(doc)
    yield label("Refine")
    paint_from("layer")
    press()
    yield layers(doc, 4)
    yield from painted()
    names = [node.name() for node in stack(doc)]
    assert names[1:] == ["shape", "a red boat (Refine)", "cover"], names
    silhouette = mask_of(X, Y, WIDTH, HEIGHT)
    after = yield from changed_only_inside(doc, before, silhouette)
    never_more_than(alpha_of(stack(doc)[2]), silhouette)
    paint_from("visible")
    yield from taken_back_and_done_again(doc, before, after)


def expands_over_an_empty_border():
    inner = 128
    pixels = bytearray(SIDE * SIDE * 4)
    source = kt.noise(SIDE, SIDE)
    for y in range(SIDE):
        pixels[y * SIDE * 4 : (y * SIDE + inner) * 4] = source[y * SIDE * 4 :][: inner * 4]
    doc = yield from kt.new_document(SIDE, SIDE, bytes(pixels))
    yield from ready()
    before = kt.projection_bytes(doc)
    yield label("Expand")
    press("the sky")
    yield layers(doc, 2)
    yield from painted()
    empty = mask_of(inner, 0, SIDE - inner, SIDE)
    after = yield from changed_only_inside(doc, before, empty)
    alpha = after[3::4]
    assert alpha.count(0) == 0, f"{alpha.count(0)} pixels are still empty"
    yield from taken_back_and_done_again(doc, before, after)


def breaks_lines_and_paints_on_enter():
    """By the keyboard alone."""
    doc = yield from picture()
    yield label("Refine")
    prompt = kt.find("prompt")
    kt.type_text(prompt, "a house")
    kt.press(prompt, Qt.Key_Return, Qt.AltModifier)
    QTest.keyClicks(prompt, "at night")
    assert prompt.toPlainText() == "a house\nat night", prompt.toPlainText()
    kt.press(prompt, Qt.Key_Return)
    yield layers(doc, 2)
    yield from painted()
    assert stack(doc)[-1].name() == "a house at night (Refine)"


def generates_on_an_empty_canvas():
    doc = yield from kt.new_document(SIDE, SIDE)
    yield from ready()
    before = kt.projection_bytes(doc)
    yield label("Generate")
    assert not kt.find("strength").isEnabled()
    press("a house")
    yield layers(doc, 2)
    yield from painted()
    assert stack(doc)[-1].name() == "a house (Generate)"
    after = kt.projection_bytes(doc)
    yield label("Refine")
    yield from taken_back_and_done_again(doc, before, after)


def cancels():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    rows = kt.history()
    yield label("Refine")
    kt.find("steps").setValue(150)
    strength(100)
    press()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")
    kt.click(kt.find("cancel"))
    yield from painted()
    yield 300
    assert len(stack(doc)) == 1
    assert kt.projection_bytes(doc) == before
    assert kt.history() == rows
    kt.find("steps").setValue(4)
    strength(55)
    kt.click(kt.find("press"))
    yield layers(doc, 2)
    yield from painted()


# --- variants, other documents ---------------------------------------------------------------------


def keeps_one_variant_of_three():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.find("variants").setValue(3)
    press()
    strip = kt.find("strip")
    yield waits(3)
    yield from painted()
    assert kt.projection_bytes(doc) == before
    strip.setCurrentRow(1)
    kt.click(kt.find("keep"))
    yield kt.until(lambda: len(stack(doc)) == 2, 10, "the layer")
    assert strip.count() == 2
    yield from changed_only_inside(doc, before, mask_of(X, Y, WIDTH, HEIGHT))
    for _ in range(2):
        kt.click(kt.find("discard"))
    assert not kt.find("keep").isVisible()
    assert len(stack(doc)) == 2
    kt.find("variants").setValue(1)


def show(doc):
    """The painter goes to the view of that document."""
    window = Krita.instance().activeWindow()
    for view in window.views():
        if view.document() == doc:
            view.setVisible()


def comes_back_to_the_document_it_was_asked_from():
    first = yield from picture()
    yield label("Refine")
    kt.find("steps").setValue(60)
    press()
    second = yield from kt.new_document(SIDE, SIDE)
    untouched = kt.projection_bytes(second)
    notice = kt.find("notice")
    yield kt.until(lambda: "finished and waits there" in notice.text(), 60, "a sentence")
    kt.click(kt.find("dismiss"))
    assert not kt.find("keep").isVisible(), "it is no concern of this picture"
    assert len(stack(second)) == 1
    assert kt.projection_bytes(second) == untouched
    assert Krita.instance().activeDocument() == second
    show(first)
    yield layers(first, 2)
    assert len(stack(second)) == 1


def waits_when_its_document_was_closed():
    first = yield from picture()
    yield label("Refine")
    kt.find("steps").setValue(60)
    press()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")
    first.setModified(False)
    first.close()
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture in the strip")
    assert "was closed" in kt.find("notice").text()
    kt.click(kt.find("dismiss"))
    second = yield from kt.new_document(SIDE, SIDE)
    yield layers(second, 2)
    assert not kt.find("keep").isVisible()


def started():
    """A painting that takes long enough to change the document under it."""
    kt.find("steps").setValue(60)
    press()
    return kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")


def lies_on_top_when_its_layer_was_deleted():
    doc = yield from picture()
    node = doc.createNode("sketch", "paintlayer")
    node.setPixelData(QByteArray(kt.noise(SIDE, SIDE)), 0, 0, SIDE, SIDE)
    doc.rootNode().addChildNode(node, None)
    doc.setActiveNode(node)
    yield 100
    paint_from("layer")
    yield label("Refine")
    yield started()
    node.remove()
    yield layers(doc, 2)
    yield kt.until(lambda: kt.find("notice").isVisible(), 60, "a sentence")
    assert kt.find("notice").text().startswith("Its layer was deleted"), kt.find("notice").text()
    assert [layer.name() for layer in stack(doc)][1:] == ["a red boat (Refine)"]
    kt.click(kt.find("dismiss"))


def waits_when_the_canvas_was_resized():
    doc = yield from picture()
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    yield started()
    doc.resizeImage(0, 0, SIDE + 64, SIDE + 32)
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture in the strip")
    assert "was resized" in kt.find("notice").text(), kt.find("notice").text()
    assert len(stack(doc)) == 1
    yield layers(doc, 2)
    bounds = stack(doc)[-1].bounds()
    assert (bounds.x(), bounds.y(), bounds.width(), bounds.height()) == (X, Y, WIDTH, HEIGHT)
    kt.click(kt.find("dismiss"))


def says_what_is_in_the_way():
    doc = yield from picture()
    node = doc.createNode("empty", "paintlayer")
    doc.rootNode().addChildNode(node, None)
    doc.setActiveNode(node)
    yield 100
    paint_from("layer")
    yield label("Refine")
    kt.click(kt.find("press"))
    assert kt.find("notice").text().startswith('"empty" is empty'), kt.find("notice").text()
    paint_from("visible")
    kt.click(kt.find("retry"))
    yield layers(doc, 3)
    yield from painted()


# --- servers that come and go ----------------------------------------------------------------------


def starts_the_server_from_the_docker():
    doc = yield from kt.new_document(SIDE, SIDE, kt.noise(SIDE, SIDE))
    kt.docker()
    yield light("No server", 20)
    kt.click(kt.find("start_server"))
    yield from ready()
    assert not kt.find("start_server").isVisible()
    before = kt.projection_bytes(doc)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    press()
    yield layers(doc, 2)
    yield from painted()
    yield from changed_only_inside(doc, before, mask_of(X, Y, WIDTH, HEIGHT))


def finds_a_server_that_starts_later():
    """The test starts it when the file appears."""
    yield from kt.new_document(SIDE, SIDE, kt.noise(SIDE, SIDE))
    kt.docker()
    yield light("No server", 20)
    with open(os.environ["KT_SIGNAL"], "w"):
        pass
    yield from ready()


def kill_server():
    with open(os.path.join(os.environ["VELATURA_HOME"], "server.json"), encoding="utf-8") as file:
        os.kill(json.load(file)["pid"], signal.SIGKILL)


def survives_a_killed_server():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.find("steps").setValue(150)
    kt.find("variants").setValue(2)
    press()
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the first variant")
    kill_server()
    yield light("No server", 20)
    assert kt.find("cancel").isVisible()
    kt.click(kt.find("start_server"))
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 30, "the server's sentence")
    assert "finished variants are kept" in kt.find("notice").text()
    kt.click(kt.find("retry"))
    yield kt.until(lambda: strip.count() == 2, 120, "the second variant")
    yield from painted()
    assert kt.projection_bytes(doc) == before
    for count in (2, 3):
        kt.click(kt.find("keep"))
        yield kt.until(lambda count=count: len(stack(doc)) == count, 10, f"{count} layers")
    assert not kt.find("keep").isVisible()
    yield from changed_only_inside(doc, before, mask_of(X, Y, WIDTH, HEIGHT))


def survives_a_server_killed_before_anything_was_finished():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.find("steps").setValue(150)
    press()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")
    kill_server()
    yield light("No server", 20)
    assert kt.find("stage").text() == "Goes on as soon as the server is back"
    kt.click(kt.find("start_server"))
    yield layers(doc, 2)
    yield from painted()
    yield 500
    assert len(stack(doc)) == 2
    yield from changed_only_inside(doc, before, mask_of(X, Y, WIDTH, HEIGHT))


def asks_and_is_killed():
    """Krita's own crash, first half: the test kills Krita when this returns."""
    yield from picture()
    yield label("Refine")
    kt.find("steps").setValue(100)
    press("before the crash")
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")


def finds_it_again():
    """Second half, in a new Krita."""
    kt.docker()
    yield light("Ready")
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture in the strip")
    doc = yield from kt.new_document(SIDE, SIDE, kt.noise(SIDE, SIDE))
    yield layers(doc, 2)
    assert not kt.find("keep").isVisible()
