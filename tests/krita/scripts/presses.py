"""A painter's presses on the docker's real widgets; every test compares the whole canvas."""

import keeping
import kt
import paint
from krita import Krita
from PyQt5.QtCore import QByteArray, Qt
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QAction
from velatura.krita_plugin import recipe
from velatura.protocol.messages import Error


def fills_a_hard_selection():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    rows = len(kt.history())
    paint.press("a red boat")
    yield paint.layers(doc, 2)
    yield from paint.painted()
    layer = paint.stack(doc)[-1]
    assert layer.name() == "a red boat (Fill)", layer.name()
    selected = paint.mask_of(*paint.AREA)
    after = yield from paint.changed_only_inside(doc, before, selected)
    paint.never_more_than(paint.alpha_of(layer), selected)
    assert len(kt.history()) == rows + 1, kt.history()
    selection = doc.selection()
    assert (selection.x(), selection.y()) == (paint.X, paint.Y)
    assert (selection.width(), selection.height()) == (paint.WIDTH, paint.HEIGHT)
    made = recipe.from_json(paint.annotation_of(doc, layer))
    assert made.settings.prompt == "a red boat"
    assert made.settings.model == "tiny"
    assert str(made.seed) == kt.find("seed").text()
    yield from paint.taken_back_and_done_again(doc, before, after)


def fills_a_soft_selection():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    # From nothing at the left to everything at the right.
    values = kt.gradient(paint.WIDTH, paint.HEIGHT)
    kt.select_mask(doc, *paint.AREA, values)
    yield paint.label("Fill")
    paint.press()
    yield paint.layers(doc, 2)
    yield from paint.painted()
    selected = paint.mask_of(*paint.AREA, values)
    after = yield from paint.changed_only_inside(doc, before, selected)
    paint.never_more_than(paint.alpha_of(paint.stack(doc)[-1]), selected)
    yield from paint.taken_back_and_done_again(doc, before, after)


def refines_a_selection_below_full_strength():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.strength(45)
    yield paint.label("Refine selection")
    paint.press()
    yield paint.layers(doc, 2)
    yield from paint.painted()
    assert paint.stack(doc)[-1].name() == "a red boat (Refine selection)"
    after = yield from paint.changed_only_inside(doc, before, paint.mask_of(*paint.AREA))
    paint.strength(100)
    yield paint.label("Fill")
    yield from paint.taken_back_and_done_again(doc, before, after)


def refines_the_current_layer():
    doc = yield from paint.picture()
    shape = doc.createNode("shape", "paintlayer")
    pixels = kt.noise(paint.WIDTH, paint.HEIGHT, 2)
    shape.setPixelData(QByteArray(pixels), *paint.AREA)
    doc.rootNode().addChildNode(shape, None)
    cover = doc.createNode("cover", "paintlayer")
    cover.setPixelData(QByteArray(kt.noise(16, 16, 3)), 4, 4, 16, 16)
    doc.rootNode().addChildNode(cover, None)
    doc.waitForDone()
    yield 200
    doc.setActiveNode(shape)
    yield kt.until(lambda: doc.activeNode() == shape, 5, "the shape to be active")
    before = kt.projection_bytes(doc)
    yield paint.label("Refine")
    paint.paint_from("layer")
    paint.press()
    yield paint.layers(doc, 4)
    yield from paint.painted()
    names = [node.name() for node in paint.stack(doc)]
    assert names[1:] == ["shape", "a red boat (Refine)", "cover"], names
    silhouette = paint.mask_of(*paint.AREA)
    after = yield from paint.changed_only_inside(doc, before, silhouette)
    paint.never_more_than(paint.alpha_of(paint.stack(doc)[2]), silhouette)
    paint.paint_from("visible")
    yield from paint.taken_back_and_done_again(doc, before, after)


def expands_over_an_empty_border():
    inner = 128
    pixels = bytearray(paint.SIDE * paint.SIDE * 4)
    source = kt.noise(paint.SIDE, paint.SIDE)
    for y in range(paint.SIDE):
        pixels[y * paint.SIDE * 4 : (y * paint.SIDE + inner) * 4] = source[y * paint.SIDE * 4 :][
            : inner * 4
        ]
    doc = yield from kt.new_document(paint.SIDE, paint.SIDE, bytes(pixels))
    yield from paint.ready()
    before = kt.projection_bytes(doc)
    yield paint.label("Expand")
    paint.press("the sky")
    yield paint.layers(doc, 2)
    yield from paint.painted()
    empty = paint.mask_of(inner, 0, paint.SIDE - inner, paint.SIDE)
    after = yield from paint.changed_only_inside(doc, before, empty)
    alpha = after[3::4]
    assert alpha.count(0) == 0, f"{alpha.count(0)} pixels are still empty"
    yield from paint.taken_back_and_done_again(doc, before, after)


def breaks_lines_and_paints_on_enter():
    """By the keyboard alone."""
    doc = yield from paint.picture()
    yield paint.label("Refine")
    prompt = kt.find("prompt")
    kt.type_text(prompt, "a house")
    kt.press(prompt, Qt.Key_Return, Qt.AltModifier)
    QTest.keyClicks(prompt, "at night")
    assert prompt.toPlainText() == "a house\nat night", prompt.toPlainText()
    kt.press(prompt, Qt.Key_Return)
    yield paint.layers(doc, 2)
    yield from paint.painted()
    assert paint.stack(doc)[-1].name() == "a house at night (Refine)"


def generates_on_an_empty_canvas():
    doc = yield from kt.new_document(paint.SIDE, paint.SIDE)
    yield from paint.ready()
    before = kt.projection_bytes(doc)
    yield paint.label("Generate")
    assert not kt.find("strength").isEnabled()
    paint.press("a house")
    yield paint.layers(doc, 2)
    yield from paint.painted()
    assert paint.stack(doc)[-1].name() == "a house (Generate)"
    after = kt.projection_bytes(doc)
    yield paint.label("Refine")
    yield from paint.taken_back_and_done_again(doc, before, after)


def cancels():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    rows = kt.history()
    yield paint.label("Refine")
    kt.find("steps").setValue(150)
    paint.strength(100)
    paint.press()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")
    kt.click(kt.find("cancel"))
    yield from paint.painted()
    yield 300
    assert len(paint.stack(doc)) == 1
    assert kt.projection_bytes(doc) == before
    assert kt.history() == rows
    kt.find("steps").setValue(4)
    paint.strength(55)
    kt.click(kt.find("press"))
    yield paint.layers(doc, 2)
    yield from paint.painted()


def cancels_all_that_waits():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    yield paint.label("Refine")
    every = kt.find("cancel_all")
    # The first is at work however long the taps take.
    kt.find("steps").setValue(150)
    paint.strength(100)
    paint.press()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")
    assert not every.isVisible(), "one needs no more than Cancel"
    for _ in range(3):
        kt.click(kt.find("press"))
    stage = kt.find("stage")
    yield kt.until(lambda: stage.text().endswith("3 more wait"), 10, "the queue")
    kt.click(every)
    yield from paint.painted()
    assert kt.find("strip").count() <= 1, "only the first may have been finished before the tap"
    assert kt.projection_bytes(doc) == before
    kt.find("steps").setValue(4)
    paint.strength(55)


def fails(request):
    error = Error(job=request.job, code="out_of_memory", message="Too large.")
    kt.docker().link.failed.emit(error)


def asks_again_for_all_that_failed():
    yield from paint.picture()
    yield paint.label("Refine")
    retry = kt.find("retry")
    with paint.Asked() as asked:
        for prompt in ("a boat", "a house"):
            kt.type_text(kt.find("prompt"), prompt)
            asked.press()
        for request in asked.requests[:]:
            fails(request)
        assert (paint.notice(), retry.text()) == ("Too large.", "Retry all 2")
        kt.click(retry)
        assert [one.prompt for one in asked.requests[2:]] == ["a boat", "a house"]
        fails(asked.requests[2])
        assert (paint.notice(), retry.text()) == ("Too large.", "Retry")
        kt.click(kt.find("dismiss"))


# --- variants, other documents ---------------------------------------------------------------------


def keeps_one_variant_of_three():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    kt.find("variants").setValue(3)
    paint.press()
    strip = kt.find("strip")
    yield paint.waits(3)
    yield from paint.painted()
    assert kt.projection_bytes(doc) == before
    strip.setCurrentRow(1)
    kt.click(kt.find("keep"))
    yield kt.until(lambda: len(paint.stack(doc)) == 2, 10, "the layer")
    assert strip.count() == 2
    yield from paint.changed_only_inside(doc, before, paint.mask_of(*paint.AREA))
    paint.tap(strip, 0)
    for _ in range(2):
        kt.click(kt.find("discard"))
    assert not kt.find("keep").isVisible()
    assert len(paint.stack(doc)) == 2


def show(doc):
    """The painter goes to the view of that document."""
    window = Krita.instance().activeWindow()
    for view in window.views():
        if view.document() == doc:
            view.setVisible()


def comes_back_to_the_document_it_was_asked_from():
    first = yield from paint.picture()
    yield paint.label("Refine")
    kt.find("steps").setValue(60)
    paint.press()
    second = yield from kt.new_document(paint.SIDE, paint.SIDE)
    untouched = kt.projection_bytes(second)
    yield kt.until(lambda: "finished and waits there" in paint.notice(), 60, "a sentence")
    assert not kt.find("keep").isVisible(), "it is no concern of this picture"
    assert len(paint.stack(second)) == 1
    assert kt.projection_bytes(second) == untouched
    assert Krita.instance().activeDocument() == second
    show(first)
    yield paint.waits(1)
    yield kt.until(lambda: not paint.notice(), 5, "the sentence to leave: there is here now")
    yield paint.layers(first, 2)
    assert len(paint.stack(second)) == 1


def waits_when_its_document_was_closed():
    first = yield from paint.picture()
    yield paint.label("Refine")
    kt.find("steps").setValue(60)
    paint.press()
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")
    first.setModified(False)
    first.close()
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture in the strip")
    assert "was closed" in kt.find("notice").text()
    kt.click(kt.find("dismiss"))
    second = yield from kt.new_document(paint.SIDE, paint.SIDE)
    yield 1200  # the docker looks that often
    yield from waits_as_a_stray()
    yield paint.layers(second, 2)
    assert not kt.find("keep").isVisible()


def waits_when_its_document_is_closed_before_it_is_kept():
    first = yield from paint.picture()
    yield paint.label("Refine")
    paint.press()
    yield paint.waits(1)
    yield from paint.painted()
    second = yield from kt.new_document(paint.SIDE, paint.SIDE)
    yield kt.until(lambda: not kt.find("keep").isVisible(), 10, "the other picture")
    first.setModified(False)
    first.close()
    kt.docker().panel.entered.emit()
    yield paint.waits(1)
    assert "was closed" in paint.notice(), paint.notice()
    kt.click(kt.find("dismiss"))
    yield from waits_as_a_stray()
    yield paint.layers(second, 2)


def waits_as_a_stray():
    """In the strip, marked, and not over a canvas that is not its own."""
    assert keeping.over_canvas() is None, "it lies over another picture"
    strip = kt.find("strip")
    assert strip.isVisible(), "its mark is not seen"
    assert kt.find("strip_about").text() == 'a red boat (Refine), of "test", which was closed'
    paint.tap(strip, 0)
    yield 300
    assert keeping.over_canvas() is None
    assert kt.find("strip_large").image is not None


def lies_on_top_when_its_layer_was_deleted():
    doc = yield from paint.picture()
    node = doc.createNode("sketch", "paintlayer")
    node.setPixelData(QByteArray(kt.noise(paint.SIDE, paint.SIDE)), 0, 0, paint.SIDE, paint.SIDE)
    doc.rootNode().addChildNode(node, None)
    doc.setActiveNode(node)
    yield 100
    paint.paint_from("layer")
    yield paint.label("Refine layer 'sketch'")
    yield paint.started()
    node.remove()
    yield paint.layers(doc, 2)
    yield kt.until(lambda: kt.find("notice").isVisible(), 60, "a sentence")
    assert kt.find("notice").text().startswith("Its layer was deleted"), kt.find("notice").text()
    assert [layer.name() for layer in paint.stack(doc)][1:] == ["a red boat (Refine)"]
    kt.click(kt.find("dismiss"))


def waits_when_the_canvas_was_resized():
    doc = yield from paint.picture()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    yield paint.started()
    doc.resizeImage(0, 0, paint.SIDE + 64, paint.SIDE + 32)
    strip = kt.find("strip")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture in the strip")
    assert "was resized" in kt.find("notice").text(), kt.find("notice").text()
    assert [n for n in doc.annotationTypes() if n.startswith("velatura/past/")], "no history"
    assert len(paint.stack(doc)) == 1
    yield paint.layers(doc, 2)
    bounds = paint.stack(doc)[-1].bounds()
    assert (bounds.x(), bounds.y(), bounds.width(), bounds.height()) == paint.AREA
    kt.click(kt.find("dismiss"))


def offers_to_scale_a_picture_like_its_canvas():
    doc = yield from paint.picture()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.press()
    yield paint.waits(1)
    yield from paint.painted()
    scale = kt.find("strip_scale")
    assert not scale.isVisible()
    doc.scaleImage(2 * paint.SIDE, 2 * paint.SIDE, 300, 300, "Bicubic")
    yield kt.until(scale.isVisible, 20, "the offer")
    scale.click()
    yield kt.until(lambda: not scale.isVisible(), 20, "the offer to go")
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 2)
    bounds = paint.stack(doc)[-1].bounds()
    place = (bounds.x(), bounds.y(), bounds.width(), bounds.height())
    assert place == tuple(2 * value for value in paint.AREA), place


def asks_for_the_sides_until_there_are_some():
    yield from paint.picture()
    kt.find("press_more").menu().findChild(QAction, "choose_expand").trigger()
    yield paint.label("Expand")
    kt.click(kt.find("press"))
    assert "choose the sides" in paint.notice(), paint.notice()
    kt.click(kt.find("enlarge_left"))
    assert not paint.notice(), "a side is chosen"
    kt.click(kt.find("enlarge_left"))


def says_what_is_in_the_way():
    doc = yield from paint.picture()
    node = doc.createNode("empty", "paintlayer")
    doc.rootNode().addChildNode(node, None)
    doc.setActiveNode(node)
    yield 100
    paint.paint_from("layer")
    yield paint.label("Refine layer 'empty'")
    kt.click(kt.find("press"))
    assert kt.find("notice").text().startswith('"empty" is empty'), kt.find("notice").text()
    paint.paint_from("visible")
    kt.click(kt.find("retry"))
    yield paint.layers(doc, 3)
    yield from paint.painted()
