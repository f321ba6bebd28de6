"""What is painted over: selections and sources, and what Krita keeps from us."""

import os

import kt
import paint
from krita import InfoObject, Selection
from PyQt5.QtCore import QByteArray
from PyQt5.QtGui import QColor, QImage
from velatura.krita_plugin.images import swap_red_blue


def remark(words):
    return kt.until(
        lambda: kt.find("remark").isVisible() and words in kt.find("remark").text(),
        10,
        f"the remark {words!r}",
    )


def no_remark():
    return kt.until(lambda: not kt.find("remark").isVisible(), 10, "no remark")


# --- selections ------------------------------------------------------------------------------------


def takes_a_selection_mask_of_the_layer_for_the_selection():
    doc = yield from paint.picture()
    values = kt.gradient(paint.WIDTH, paint.HEIGHT)
    kt.select_mask(doc, *paint.AREA, values)
    doc.setActiveNode(paint.stack(doc)[0])
    yield paint.label("Fill")
    paint.trigger("add_new_selection_mask")
    yield kt.until(lambda: doc.selection() is None, 10, "the selection to become the layer's")
    yield remark("is the selection")
    yield paint.label("Fill")
    before = kt.projection_bytes(doc)
    paint.press()
    yield paint.layers(doc, 2)
    yield from paint.painted()
    after = yield from paint.changed_only_inside(doc, before, paint.mask_of(*paint.AREA, values))
    yield from paint.taken_back_and_done_again(doc, before, after)

    layer = paint.stack(doc)[0]
    yield from paint.choose_layer(doc, layer)
    yield paint.label("Fill")
    paint.trigger("deselect")  # the mask stays and limits nothing
    yield paint.label("Refine")
    yield no_remark()
    paint.trigger("reselect")
    yield paint.label("Fill")
    layer.addChildNode(doc.createSelectionMask("another"), None)
    yield from paint.choose_layer(doc, layer)
    yield remark("several selection masks")
    kt.click(kt.find("press"))
    assert "hide all but one" in paint.notice(), paint.notice()
    kt.click(kt.find("dismiss"))


def says_that_a_layer_is_isolated_before_it_is_sent():
    doc = yield from paint.picture()
    layer = yield from paint.add_layer(doc, "mark", *paint.AREA)
    assert doc.activeNode() == layer
    yield no_remark()
    paint.trigger("isolate_active_layer")
    try:
        yield remark("A layer is isolated")
        with paint.Asked() as asked:
            request = asked.press()
        whole = bytes(layer.pixelData(0, 0, paint.SIDE, paint.SIDE))
        assert request.surroundings.data == swap_red_blue(whole, paint.SIDE, paint.SIDE)
        # Its own selection counts as well, and both are said.
        values = kt.gradient(paint.WIDTH, paint.HEIGHT)
        kt.select_mask(doc, *paint.AREA, values)
        yield paint.label("Fill")
        paint.trigger("add_new_selection_mask")
        yield kt.until(lambda: doc.selection() is None, 10, "the selection to become the layer's")
        yield remark("A layer is isolated")
        yield remark("is the selection")
        with paint.Asked() as asked:
            request = asked.press()
        at = request.region
        whole = bytes(layer.pixelData(at.x, at.y, at.width, at.height))
        assert request.surroundings.data == swap_red_blue(whole, at.width, at.height)
        expected = crop_of(paint.mask_of(*paint.AREA, values), at.x, at.y, at.width, at.height)
        assert request.selection.data == expected
    finally:
        paint.trigger("isolate_active_layer")
    yield kt.until(lambda: "isolated" not in kt.find("remark").text(), 10, "it to be seen again")
    yield remark("is the selection")
    paint.trigger("deselect")
    yield no_remark()


# --- sources ---------------------------------------------------------------------------------------


def paints_over_everything_visible_unless_one_cut_out_is_all_there_is():
    """Krita's default document is a Background and a layer with transparency, for the sketch."""
    doc = yield from paint.picture()
    paint.paint_from("auto")
    combo = kt.find("paint_from")

    def source(words):
        return kt.until(lambda: combo.currentText() == f"{words} (auto)", 10, words)

    def press_over(layer):
        """It is sent alone, and keeps its outline."""
        request = asked.press()
        at = request.region
        expected = bytes(layer.pixelData(at.x, at.y, at.width, at.height))
        assert request.source.data == swap_red_blue(expected, at.width, at.height)
        assert request.keep_outline

    yield paint.label("Refine")
    yield source("Everything visible")
    background = paint.stack(doc)[0]
    layer = yield from paint.add_layer(doc, "Lines", *paint.AREA)
    lines = bytearray(kt.noise(paint.WIDTH, paint.HEIGHT, 4))
    lines[3::4] = bytes(255 * (i % 7 == 0) for i in range(paint.WIDTH * paint.HEIGHT))
    layer.setPixelData(QByteArray(bytes(lines)), *paint.AREA)
    with paint.Asked() as asked:
        yield from drawn(doc)
        yield source("Everything visible")
        yield paint.label("Refine")
        request = asked.press()
        assert request.source is None
        assert not request.keep_outline
        assert request.surroundings.data == kt.projection_bytes(doc)
        # Alone, it is what is meant, and the button says so.
        background.setVisible(False)
        yield from drawn(doc)
        yield paint.label("Refine layer 'Lines'")
        yield source("Current layer")
        press_over(layer)
        kt.select(doc, paint.X, paint.Y, 20, 20)
        yield source("Everything visible")
        yield paint.label("Fill")
        assert asked.press().source is None
        doc.setSelection(None)
        yield paint.label("Refine layer 'Lines'")
        # A hidden one is not painted from unasked.
        layer.setVisible(False)
        background.setVisible(True)
        yield from drawn(doc)
        yield paint.label("Refine")
        assert asked.press().source is None
        # The painter's word holds, and is seen.
        paint.paint_from("layer")
        assert kt.find("press").text() == "Refine layer 'Lines'"
        press_over(layer)
        # An empty layer says so, and offers the other.
        empty = doc.createNode("empty", "paintlayer")
        doc.rootNode().addChildNode(empty, None)
        yield from paint.choose_layer(doc, empty)
        yield paint.label("Refine layer 'empty'")
        assert asked.press() is None
        assert paint.notice().startswith('"empty" is empty'), paint.notice()
        other = kt.find("retry")
        assert other.text() == "Everything visible"
        kt.click(other)
        assert asked.requests[-1].source is None
        assert combo.currentText() == "Everything visible"
        assert not paint.notice()


def drawn(doc):
    doc.refreshProjection()
    doc.waitForDone()
    yield 1200  # the docker looks that often


def groups(doc):
    group = doc.createGroupLayer("group")
    doc.rootNode().addChildNode(group, None)
    inside = doc.createNode("inside", "paintlayer")
    inside.setPixelData(QByteArray(kt.noise(paint.WIDTH, paint.HEIGHT, 5)), *paint.AREA)
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
    selection = Selection()
    selection.select(*paint.AREA, 255)
    return selection


def papers(doc, name, seed):
    layer = doc.createNode(name, "paintlayer")
    layer.setPixelData(QByteArray(kt.noise(paint.WIDTH, paint.HEIGHT, seed)), *paint.AREA)
    doc.rootNode().addChildNode(layer, None)
    return layer


def clipped(doc):
    layer = papers(doc, "clipped", 6)
    layer.setInheritAlpha(True)
    return layer


def locked(doc):
    layer = papers(doc, "locked", 7)
    layer.setLocked(True)
    return layer


def copies(doc):
    """A clone layer of the one below, moved, so that it has transparency."""
    copy = doc.createCloneLayer("copy", paint.stack(doc)[0])
    doc.rootNode().addChildNode(copy, None)
    copy.move(31, 17)
    return copy


def files(doc):
    """A file layer: a picture beside the document, drawn a little later."""
    path = os.path.join(os.environ["KT_FOLDER"], "file.png")
    image = QImage(paint.SIDE, paint.SIDE, QImage.Format_ARGB32)
    image.fill(0)
    for y in range(paint.Y, paint.Y + 20):
        for x in range(paint.X, paint.X + 30):
            image.setPixelColor(x, y, QColor(3 * x % 256, 5 * y % 256, 90))
    assert image.save(path)
    layer = doc.createFileLayer("file", path, "None")
    doc.rootNode().addChildNode(layer, None)
    return layer


def beyond(doc):
    """Paint of every alpha, some of it outside the canvas."""
    layer = papers(doc, "beyond", 8)
    across, down = paint.SIDE + 34, 90
    pixels = bytearray(kt.noise(across, down, 9))
    pixels[3::4] = bytes(i * 7 % 256 for i in range(across * down))
    layer.setPixelData(QByteArray(bytes(pixels)), -17, -21, across, down)
    return layer


def inverted(bgra):
    """As the engine paints them: no colour where there is no paint."""
    made = bytearray(bgra)
    for at in range(0, len(bgra), 4):
        alpha = bgra[at + 3]
        made[at : at + 3] = bytes(255 - v for v in bgra[at : at + 3]) if alpha else b"\0\0\0"
    return bytes(made)


def shown(layer):
    """Its pixels with masks and members (BGRA8), over the whole canvas."""
    return bytes(layer.projectionPixelData(0, 0, paint.SIDE, paint.SIDE))


def kept_layers(doc):
    """How many there are at the top level; the painter keeps what comes."""
    paint.keeps_what_comes()
    return len(doc.topLevelNodes())


def paints_over_every_kind_of_layer():
    doc = yield from paint.picture()
    paint.paint_from("layer")
    for make in (groups, vectors, fills, clipped, locked, copies, files, beyond):
        layer = make(doc)
        doc.waitForDone()
        yield from paint.choose_layer(doc, layer)
        yield paint.label(f"Refine layer '{layer.name()}'")
        tree = [node.name() for node in doc.topLevelNodes()]
        # Krita draws vectors a little later.
        yield kt.until(lambda x=layer: any(shown(x)[3::4]), 20, layer.name())
        pixels = shown(layer)
        paint.press()
        count = len(tree) + 1
        yield kt.until(lambda n=count: kept_layers(doc) == n, 60, layer.name())
        yield from paint.painted()
        names = [node.name() for node in doc.topLevelNodes()]
        above = names.index(layer.name()) + 1
        assert names[above].startswith("a red boat"), names
        assert names[:above] + names[above + 1 :] == tree, names
        made = doc.topLevelNodes()[above]
        new = bytes(made.pixelData(0, 0, paint.SIDE, paint.SIDE))
        assert new == inverted(pixels), layer.name()
        assert made.inheritAlpha() == layer.inheritAlpha()
        assert not layer.visible()
        assert shown(layer) == pixels, layer.name()
        for node in (made, layer):
            node.remove()
            # Krita 5.1 can crash when the second goes while it draws what the first has left.
            doc.waitForDone()
            yield 200


def says_what_to_do_where_a_mask_is_active():
    doc = yield from paint.picture()
    for kind in ("transparency", "colorize"):
        layer = yield from paint.add_layer(doc, kind, *paint.AREA)
        paint.trigger(f"add_new_{kind}_mask")
        yield kt.until(layer.childNodes, 10, "the mask")
        mask = layer.childNodes()[0]
        assert mask.type() == f"{kind}mask"
        mask.setName("see")
        yield from paint.choose_layer(doc, mask)
        yield paint.label("Refine")
        paint.paint_from("layer")
        with paint.Asked() as asked:
            assert asked.press() is None
            assert paint.notice().startswith('"see" is a mask: choose its layer'), paint.notice()
            kt.click(kt.find("dismiss"))
            paint.paint_from("visible")
            assert asked.press() is not None, paint.notice()


def takes_a_groups_selection_mask_where_krita_does():
    """It limits the group, not its members."""
    doc = yield from paint.picture()
    group = groups(doc)
    yield from paint.choose_layer(doc, group)
    values = kt.gradient(paint.WIDTH, paint.HEIGHT)
    kt.select_mask(doc, *paint.AREA, values)
    yield paint.label("Fill")
    paint.trigger("add_new_selection_mask")
    yield kt.until(lambda: doc.selection() is None, 10, "the selection to become the group's")
    inside = next(node for node in group.childNodes() if node.name() == "inside")
    yield from paint.choose_layer(doc, inside)
    yield paint.label("Refine")
    kt.select(doc, 5, 7, 21, 23)
    yield paint.label("Fill")
    paint.trigger("fill_selection_foreground_color")
    yield kt.until(lambda: inside.pixelData(5, 7, 1, 1) != QByteArray(bytes(4)), 10, "paint")
    painted = bytes(inside.pixelData(0, 0, 30, 34))[3::4]
    assert painted == crop_of(paint.mask_of(5, 7, 21, 23), 0, 0, 30, 34), "what Krita does"
    with paint.Asked() as asked:
        request = asked.press()
        at = request.region
        expected = crop_of(paint.mask_of(5, 7, 21, 23), at.x, at.y, at.width, at.height)
        assert request.selection.data == expected
        yield from paint.choose_layer(doc, group)
        yield remark("is the selection")
        request = asked.press()
    at = request.region
    expected = crop_of(paint.mask_of(*paint.AREA, values), at.x, at.y, at.width, at.height)
    assert request.selection.data == expected


def crop_of(mask, x, y, width, height):
    rows = range(y, y + height)
    return b"".join(mask[row * paint.SIDE + x :][:width] for row in rows)


def gives_a_picture_back_that_a_locked_group_refuses():
    doc = yield from paint.picture()
    group = groups(doc)
    yield from paint.choose_layer(doc, group.childNodes()[0])
    paint.paint_from("layer")
    yield paint.label("Refine layer 'inside'")
    paint.press("")  # the picture says enough
    yield paint.waits(1)
    yield from paint.painted()
    group.setLocked(True)
    before = kt.projection_bytes(doc)
    kt.click(kt.find("keep"))
    yield kt.until(lambda: len(group.childNodes()) == 2 or paint.notice(), 20, "an answer")
    if paint.notice():
        assert "unlock the group" in paint.notice(), paint.notice()
        assert kt.projection_bytes(doc) == before
        kt.click(kt.find("dismiss"))
        group.setLocked(False)
        kt.click(kt.find("keep"))
    yield kt.until(lambda: len(group.childNodes()) == 2, 20, "the layer in the group")
    inside, made = group.childNodes()
    assert (inside.name(), made.name()) == ("inside", "Refine")
    paint.paint_from("visible")
