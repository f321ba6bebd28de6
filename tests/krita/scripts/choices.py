"""What a painter sets beside the prompt, on the docker's real widgets."""

import os

import kt
from krita import Krita
from paint import (
    HEIGHT,
    SIDE,
    WIDTH,
    X,
    Y,
    alpha_of,
    changed_only_inside,
    fold,
    label,
    layers,
    mask_of,
    painted,
    picture,
    press,
    ready,
    stack,
    taken_back_and_done_again,
)


def choose(name, data):
    combo = kt.find(name)
    combo.setCurrentIndex(combo.findData(data))


def ends_the_layer_with_the_soft_edge_asked_for():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    selected = mask_of(X, Y, WIDTH, HEIGHT)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    edge = kt.find("soft_edge")
    assert edge.text() == "Auto, 4 px", edge.text()
    choose("context", "tight")
    tight = kt.find("enlarged").text()
    choose("context", "whole")
    assert "enlarged 3.0 times" in kt.find("enlarged").text(), kt.find("enlarged").text()
    assert tight != kt.find("enlarged").text()
    for count, width in ((2, 0), (3, 20)):
        edge.setValue(width)
        press()
        yield layers(doc, count)
        yield from painted()
        alpha = alpha_of(stack(doc)[-1])
        middle = alpha[(Y + HEIGHT // 2) * SIDE + X :][:WIDTH]
        if width == 0:
            assert alpha == selected
        else:
            assert middle[0] < 64 < middle[10] < 255, list(middle)
            assert middle[WIDTH // 2] == 255
        yield from changed_only_inside(doc, before, selected)
    edge.setValue(-1)
    choose("context", "auto")


def painted_with_guide(doc, count):
    """``pixels = yield from painted_with_guide(doc, count)``: the new layer, taken back again."""
    press()
    yield layers(doc, count)
    yield from painted()
    pixels = bytes(stack(doc)[-1].pixelData(0, 0, SIDE, SIDE))
    yield from kt.undo(doc)
    yield layers(doc, count - 1)
    return pixels


def traces_a_guide_and_leaves_it_out_of_the_source():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    yield label("Refine")
    fold("guide", is_open=True)
    kt.find("guide_add").click()
    choose("guide_kind_1", "line")
    kt.find("guide_trace_1").click()
    yield layers(doc, 2)
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 10, "where the map is")
    assert "new hidden layer" in kt.find("notice").text()
    kt.click(kt.find("dismiss"))
    guide = stack(doc)[-1]
    assert guide.name() == "Line art (Trace)", guide.name()
    assert not guide.visible()
    assert kt.projection_bytes(doc) == before
    assert kt.find("guide_layer_1").currentText() == guide.name()
    kt.find("seed").setText("7")
    kt.find("seed_lock").setChecked(True)

    hidden = yield from painted_with_guide(doc, 3)
    guide.setVisible(True)
    doc.refreshProjection()
    yield 200
    shown = kt.projection_bytes(doc)
    assert shown != before
    yield label("Refine")
    rows = kt.history()
    visible = yield from painted_with_guide(doc, 3)
    assert visible == hidden, "a visible guide was painted over"
    assert guide.visible()
    assert kt.projection_bytes(doc) == shown
    assert kt.history()[: len(rows)] == rows
    guide.setVisible(False)
    kt.find("guide_on_1").click()
    assert (yield from painted_with_guide(doc, 3)) != hidden, "the guide has no influence"
    assert Krita.instance().activeDocument() == doc
    kt.find("guide_remove_1").click()
    fold("guide", is_open=False)
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
    yield label("Fill")
    selection = doc.selection()
    assert (selection.x(), selection.y()) == (X, Y), (selection.x(), selection.y())
    assert (selection.width(), selection.height()) == (WIDTH, HEIGHT)
    kt.click(kt.find("press"))
    yield layers(doc, count)
    yield from painted()
    names = [node.name() for node in stack(doc)]
    new = stack(doc)[names.index(layer.name()) + 1]
    assert new.name() == "a red boat (Fill)", names
    pixels = bytes(new.pixelData(0, 0, SIDE, SIDE))
    yield from kt.undo(doc)
    return pixels


def paints_the_same_pixels_from_a_reopened_recipe():
    doc = yield from picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    press()
    yield layers(doc, 2)
    yield from painted()
    original = stack(doc)[-1]
    pixels = bytes(original.pixelData(0, 0, SIDE, SIDE))
    assert (yield from same_pixels_again(doc, 3)) == pixels

    # A copy, renamed, whose original is gone.
    doc.setActiveNode(original)
    yield 200
    Krita.instance().action("duplicatelayer").trigger()
    yield layers(doc, 3)
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
    doc.close()
    again = Krita.instance().openDocument(path)
    Krita.instance().activeWindow().addView(again)
    yield kt.until(lambda: Krita.instance().activeDocument() == again, 10, "the file")
    yield from ready()
    assert kt.projection_bytes(again) != before
    again.setActiveNode(stack(again)[-1])
    yield 200
    assert (yield from same_pixels_again(again, 3)) == pixels

    again.setActiveNode(stack(again)[0])
    yield kt.until(lambda: not kt.find("reopen").isVisible(), 10, "no recipe on the background")
    kt.find("seed_lock").setChecked(False)


def expands_over_the_white_of_an_enlarged_canvas():
    doc = yield from kt.new_document(128, SIDE, kt.noise(128, SIDE))
    yield from ready()
    doc.resizeImage(0, 0, SIDE, SIDE)
    doc.waitForDone()
    before = kt.projection_bytes(doc)
    assert before[4 * (SIDE - 1) :][:4] == b"\xff\xff\xff\xff", "Krita filled it with white"
    yield label("Expand")
    press()
    yield layers(doc, 2)
    yield from painted()
    border = mask_of(128, 0, SIDE - 128, SIDE)
    after = yield from changed_only_inside(doc, before, border)
    alpha = alpha_of(stack(doc)[-1])
    assert all(a == 255 for a, b in zip(alpha, border, strict=True) if b), "all of it is painted"
    yield from taken_back_and_done_again(doc, before, after)


def key(name):
    action = Krita.instance().action(name)
    assert action is not None, name
    action.trigger()


def kept_recipes(doc):
    return [name for name in doc.annotationTypes() if name.startswith("velatura/recipe/")]


def works_by_keys_alone_without_the_docker():
    doc = yield from picture()
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.find("variants").setValue(2)
    docker = kt.docker()
    key("velatura_strength_down")
    key("velatura_strength_up")
    assert kt.find("strength", inside=docker).value() == 100
    press()
    strip = kt.find("strip", inside=docker)
    yield kt.until(lambda: strip.count() == 2, 60, "two pictures")
    docker.setVisible(False)
    key("velatura_next")
    key("velatura_compare")
    key("velatura_keep")
    yield kt.until(lambda: len(stack(doc)) == 2, 10, "the layer")
    key("velatura_discard")
    assert strip.count() == 0
    kt.find("variants", inside=docker).setValue(1)
    assert not docker.isVisible(), "kt.find made it visible"
    key("velatura_generate")
    yield kt.until(lambda: strip.count() == 1, 60, "the picture")
    key("velatura_keep")
    # Krita handles events while it adds a layer: the recipe comes after it.
    yield kt.until(lambda: len(kept_recipes(doc)) == 2, 60, "the recipe of the new layer")
    assert len(stack(doc)) == 3
    key("velatura_prompt")
    assert docker.isVisible()
    key("velatura_remove_recipes")
    assert not kept_recipes(doc)
    assert kt.find("notice").text().startswith("2 recipes were removed")
    kt.click(kt.find("dismiss"))
