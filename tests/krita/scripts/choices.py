"""What a painter sets beside the prompt, on the docker's real widgets."""

import os

import kt
import paint
from krita import Krita


def ends_the_layer_with_the_soft_edge_asked_for():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    selected = paint.mask_of(*paint.AREA)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    edge = kt.find("soft_edge")
    assert edge.text() == "Auto, 4 px", edge.text()
    paint.choose("context", "tight")
    tight = kt.find("enlarged").text()
    paint.choose("context", "whole")
    assert "enlarged 3.0 times" in kt.find("enlarged").text(), kt.find("enlarged").text()
    assert tight != kt.find("enlarged").text()
    for count, width in ((2, 0), (3, 20)):
        edge.setValue(width)
        paint.press()
        yield paint.layers(doc, count)
        yield from paint.painted()
        alpha = paint.alpha_of(paint.stack(doc)[-1])
        middle = alpha[(paint.Y + paint.HEIGHT // 2) * paint.SIDE + paint.X :][: paint.WIDTH]
        if width == 0:
            assert alpha == selected
        else:
            assert middle[0] < 64 < middle[10] < 255, list(middle)
            assert middle[paint.WIDTH // 2] == 255
        yield from paint.changed_only_inside(doc, before, selected)
    edge.setValue(-1)
    paint.choose("context", "auto")


def traces_a_guide_and_leaves_it_out_of_the_source():
    doc = yield from paint.picture()
    before, own = kt.projection_bytes(doc), paint.stack(doc)[0]
    yield from paint.choose_layer(doc, own)
    yield paint.label("Refine")
    paint.fold("guide", is_open=True)
    kt.find("guide_add").click()
    paint.choose("guide_kind_1", "line")
    kt.find("guide_trace_1").click()
    yield paint.layers(doc, 2)
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 10, "where the map is")
    assert "new hidden layer" in kt.find("notice").text()
    kt.click(kt.find("dismiss"))
    guide = paint.stack(doc)[-1]
    assert guide.name() == "Line art (Trace)", guide.name()
    assert not guide.visible()
    assert kt.projection_bytes(doc) == before
    yield 500
    assert doc.activeNode() == own, "the painter's next stroke goes to a hidden layer"
    assert kt.find("guide_layer_1").currentText() == guide.name()
    kt.type_text(kt.find("prompt"), "a red boat")
    kt.find("seed").setText("7")
    kt.find("seed_lock").setChecked(True)

    hidden = yield from paint.painted_and_taken_back(doc, 3)
    guide.setVisible(True)
    doc.refreshProjection()
    yield 200
    shown = kt.projection_bytes(doc)
    assert shown != before
    yield paint.label("Refine")
    rows = kt.history()
    visible = yield from paint.painted_and_taken_back(doc, 3)
    assert visible == hidden, "a visible guide was painted over"
    assert guide.visible()
    assert kt.projection_bytes(doc) == shown
    assert kt.history()[: len(rows)] == rows
    guide.setVisible(False)
    kt.find("guide_on_1").click()
    assert (yield from paint.painted_and_taken_back(doc, 3)) != hidden, "the guide has no influence"
    assert Krita.instance().activeDocument() == doc
    kt.find("guide_remove_1").click()
    paint.fold("guide", is_open=False)
    kt.find("seed_lock").setChecked(False)


def same_pixels_again(doc, count):
    """Reopen the current layer's recipe and press: the new layer, which is taken back."""
    kt.select(doc, 0, 0, 9, 9)
    kt.type_text(kt.find("prompt"), "something else")
    kt.find("seed_lock").setChecked(False)
    kt.find("steps").setValue(2)
    reopen = kt.find("reopen")
    yield kt.until(lambda: reopen.isVisible(), 10, "the button")
    layer = doc.activeNode()
    kt.click(reopen)
    assert not kt.find("notice_frame").isVisible(), kt.find("notice").text()
    assert kt.find("prompt").toPlainText() == "a red boat"
    assert kt.find("leave_out").text() == layer.name()
    yield paint.label("Fill")
    selection = doc.selection()
    assert (selection.x(), selection.y()) == (paint.X, paint.Y), (selection.x(), selection.y())
    assert (selection.width(), selection.height()) == (paint.WIDTH, paint.HEIGHT)
    kt.click(kt.find("press"))
    yield paint.layers(doc, count)
    yield from paint.painted()
    names = [node.name() for node in paint.stack(doc)]
    new = paint.stack(doc)[names.index(layer.name()) + 1]
    assert new.name() == "a red boat (Fill)", names
    pixels = bytes(new.pixelData(0, 0, paint.SIDE, paint.SIDE))
    yield from kt.undo(doc)
    return pixels


def filled(doc):
    """``layer = yield from filled(doc)``: what a press made of a part of the picture."""
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.press()
    yield paint.layers(doc, 2)
    yield from paint.painted()
    return paint.stack(doc)[-1]


def paints_the_same_pixels_from_a_reopened_recipe():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    original = yield from filled(doc)
    pixels = bytes(original.pixelData(0, 0, paint.SIDE, paint.SIDE))
    assert (yield from same_pixels_again(doc, 3)) == pixels

    # A copy, renamed, whose original is gone.
    doc.setActiveNode(original)
    yield 200
    Krita.instance().action("duplicatelayer").trigger()
    yield paint.layers(doc, 3)
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "the copy to have the recipe")
    copy = doc.activeNode()
    assert copy.uniqueId() != original.uniqueId()
    original.remove()
    copy.setName("mine")
    yield 300  # Krita chooses another layer when one goes
    doc.setActiveNode(copy)
    yield kt.until(lambda: doc.activeNode() == copy, 5, "the copy to be active")
    yield 300
    assert (yield from same_pixels_again(doc, 3)) == pixels

    # The file, opened again.
    path = os.path.join(os.environ["KT_FOLDER"], "recipe.kra")
    Krita.instance().setBatchmode(True)
    doc.waitForDone()
    doc.setSelection(None)
    assert doc.saveAs(path)
    doc.waitForDone()
    doc.setModified(False)  # taking the selection away may still arrive: closing would ask
    doc.close()
    again = Krita.instance().openDocument(path)
    Krita.instance().activeWindow().addView(again)
    yield kt.until(lambda: Krita.instance().activeDocument() == again, 10, "the file")
    yield from paint.ready()
    assert kt.projection_bytes(again) != before
    again.setActiveNode(paint.stack(again)[-1])
    yield 200
    assert (yield from same_pixels_again(again, 3)) == pixels

    again.setActiveNode(paint.stack(again)[0])
    yield kt.until(lambda: not kt.find("reopen").isVisible(), 10, "no recipe on the background")
    kt.find("seed_lock").setChecked(False)


def reopened(doc, layer):
    """``request = yield from reopened(...)``: the painter has gone to another layer and back."""
    yield from paint.choose_layer(doc, paint.stack(doc)[0])
    yield kt.until(lambda: not kt.find("reopen").isVisible(), 10, "no recipe there")
    yield from paint.choose_layer(doc, layer)
    doc.setSelection(None)
    kt.type_text(kt.find("prompt"), "something else")
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "the button")
    kt.click(kt.find("reopen"))
    assert kt.find("leave_out").text() == layer.name()
    yield paint.label("Fill")
    with paint.Asked() as asked:
        return asked.press()


def move(doc, layer, parent, above):
    """As a painter drags it in the list of layers: the same layer, somewhere else."""
    doc.waitForDone()
    layer.remove()
    parent.addChildNode(layer, above)
    doc.waitForDone()


def reopens_the_recipe_of_a_layer_that_was_moved():
    doc = yield from paint.picture()
    layer = yield from filled(doc)
    yield kt.until(lambda: paint.recipes_of(doc), 10, "the recipe")
    first = yield from reopened(doc, layer)
    yield from paint.add_layer(doc, "mark", 5, 5, 20, 20)
    move(doc, layer, doc.rootNode(), paint.stack(doc)[-1])
    assert paint.stack(doc)[-1] == layer
    assert (yield from reopened(doc, layer)).prompt == first.prompt == "a red boat"
    group = doc.createGroupLayer("group")
    doc.rootNode().addChildNode(group, None)
    move(doc, layer, group, None)
    assert group.childNodes() == [layer]
    request = yield from reopened(doc, layer)
    assert (request.prompt, request.seed) == (first.prompt, first.seed)
    assert request.selection == first.selection
    # The new one lies above it, in the group.
    kt.click(kt.find("press"))
    yield paint.waits(1)
    yield from paint.painted()
    kt.click(kt.find("keep"))
    yield kt.until(lambda: len(group.childNodes()) == 2, 20, "the new layer in the group")
    assert group.childNodes()[0] == layer
    yield kt.until(lambda: not layer.visible(), 10, "the old one to be hidden")
    kt.find("seed_lock").setChecked(False)
    kt.docker().panel.source.leave(())


def expands_over_the_white_of_an_enlarged_canvas():
    doc = yield from kt.new_document(128, paint.SIDE, kt.noise(128, paint.SIDE))
    yield from paint.ready()
    doc.resizeImage(0, 0, paint.SIDE, paint.SIDE)
    doc.waitForDone()
    before = kt.projection_bytes(doc)
    assert before[4 * (paint.SIDE - 1) :][:4] == b"\xff\xff\xff\xff", "Krita filled it with white"
    yield paint.label("Expand")
    paint.press()
    yield paint.layers(doc, 2)
    yield from paint.painted()
    border = paint.mask_of(128, 0, paint.SIDE - 128, paint.SIDE)
    after = yield from paint.changed_only_inside(doc, before, border)
    alpha = paint.alpha_of(paint.stack(doc)[-1])
    assert all(a == 255 for a, b in zip(alpha, border, strict=True) if b), "all of it is painted"
    yield from paint.taken_back_and_done_again(doc, before, after)


def key(name):
    action = Krita.instance().action(name)
    assert action is not None, name
    action.trigger()


def works_by_keys_alone_without_the_docker():
    doc = yield from paint.picture()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    kt.find("variants").setValue(2)
    docker = kt.docker()
    key("velatura_strength_down")
    key("velatura_strength_up")
    assert kt.find("strength", inside=docker).value() == 100
    paint.press()
    strip = kt.find("strip", inside=docker)
    yield kt.until(lambda: strip.count() == 2, 60, "two pictures")
    docker.setVisible(False)
    key("velatura_next")
    key("velatura_compare")
    key("velatura_keep")
    yield kt.until(lambda: len(paint.stack(doc)) == 2, 10, "the layer")
    # After Keep none is looked at, and there is no thumbnail to tap.
    key("velatura_discard")
    assert strip.count() == 1
    key("velatura_next")
    key("velatura_discard")
    assert strip.count() == 0
    kt.find("variants", inside=docker).setValue(1)
    assert not docker.isVisible(), "kt.find made it visible"
    key("velatura_generate")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture")
    key("velatura_keep")
    # Krita handles events while it adds a layer: the recipe comes after it.
    yield kt.until(lambda: len(paint.recipes_of(doc)) == 2, 60, "the recipe of the new layer")
    assert len(paint.stack(doc)) == 3
    key("velatura_prompt")
    assert docker.isVisible()
    key("velatura_remove_recipes")
    assert not paint.recipes_of(doc)
    assert kt.find("notice").text().startswith("2 recipes were removed")
    kt.click(kt.find("dismiss"))


def what_reopening_set_goes_with_the_next_picture():
    doc = yield from paint.picture()
    yield from filled(doc)
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "the button")
    paint.paint_from("auto")
    kt.find("variants").setValue(2)
    kt.click(kt.find("reopen"))
    said, lock = kt.find("borrowed"), kt.find("seed_lock")
    assert lock.isChecked()
    assert kt.find("paint_from").currentText() == "Everything visible"
    assert said.isVisible(), "nothing says that a recipe set them"
    assert f"seed {kt.find('seed').text()} (locked)" in said.text(), said.text()
    assert "paint from Everything visible" in said.text(), said.text()
    other = yield from kt.new_document(paint.SIDE, paint.SIDE, kt.noise(paint.SIDE, paint.SIDE))
    yield kt.until(lambda: not said.isVisible(), 10, "the recipe to go")
    assert not lock.isChecked()
    assert kt.find("paint_from").currentData() == "auto"
    assert kt.find("variants").value() == 2
    assert kt.docker().panel.memory.paint_from == "auto"
    other.setModified(False)
    other.close()
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "the first picture")
    kt.click(kt.find("reopen"))
    assert lock.isChecked()
    kt.find("borrowed_back").click()
    assert not lock.isChecked()
    assert not said.isVisible()
    kt.find("variants").setValue(1)
