"""The plugin's Document against a real Krita. Each function is one promise; all share one Krita."""

import time

import kt
from krita import Krita
from PyQt5.QtCore import QByteArray

WIDTH, HEIGHT = 301, 203  # odd on purpose: padded rows would show


def opened(width=WIDTH, height=HEIGHT, **kwargs):
    """(Krita's document, ours)"""
    from velatura.krita_plugin.document import active_document

    doc = yield from kt.new_document(width, height, kt.noise(width, height), **kwargs)
    return doc, active_document()


def rect(x, y, width, height):
    from velatura.protocol.region import Rect

    return Rect(x, y, width, height)


def crop(data, width, x, y, w, h):
    return b"".join(data[4 * (row * width + x) :][: 4 * w] for row in range(y, y + h))


def translucent(width, height):
    """Pixels of every alpha, transparent ones with a colour too."""
    data = bytearray(kt.noise(width, height, seed=7))
    data[3::4] = bytes(i % 256 for i in range(width * height))
    return bytes(data)


def projection_is_the_pixels_painted():
    _, ours = yield from opened()
    painted = kt.noise(WIDTH, HEIGHT)
    assert (ours.size.width, ours.size.height) == (WIDTH, HEIGHT)
    assert ours.read_projection(rect(0, 0, WIDTH, HEIGHT)) == painted
    assert ours.read_projection(rect(7, 11, 13, 17)) == crop(painted, WIDTH, 7, 11, 13, 17)
    assert ours.read_projection(rect(WIDTH - 1, HEIGHT - 1, 1, 1)) == painted[-4:]


def selection_is_read_with_its_soft_values():
    doc, ours = yield from opened()
    assert ours.selection_bounds() is None
    assert ours.read_selection(rect(0, 0, 5, 5)) is None
    mask = kt.gradient(51, 31)
    kt.select_mask(doc, 20, 10, 51, 31, mask)
    yield 100
    # The first column of the gradient is 0, not selected at all.
    assert ours.selection_bounds() == rect(21, 10, 50, 31), ours.selection_bounds()
    assert ours.read_selection(rect(20, 10, 51, 31)) == mask
    assert ours.read_selection(rect(0, 0, 20, 10)) == bytes(200)
    kt.select(doc, 3, 4, 5, 6, value=128)
    yield 100
    assert ours.read_selection(rect(2, 4, 3, 1)) == bytes([0, 128, 128])


def a_selection_beyond_the_canvas_is_cut_to_it():
    doc, ours = yield from opened()
    app = Krita.instance()
    kt.select(doc, 280, 190, 500, 500)
    yield 100
    assert ours.selection_bounds() == rect(280, 190, WIDTH - 280, HEIGHT - 190)
    kt.select(doc, 20, 10, 51, 31)
    yield 100
    app.action("invert_selection").trigger()
    yield 200
    assert ours.selection_bounds() == rect(0, 0, WIDTH, HEIGHT)
    row = ours.read_selection(rect(0, 10, WIDTH, 1))
    assert row == b"\xff" * 20 + bytes(51) + b"\xff" * (WIDTH - 71)
    app.action("select_all").trigger()
    yield 200
    assert ours.selection_bounds() == rect(0, 0, WIDTH, HEIGHT)
    app.action("deselect").trigger()
    yield 200
    assert ours.selection_bounds() is None
    assert ours.read_selection(rect(0, 0, 5, 5)) is None
    kt.select(doc, -50, -50, 20, 20)
    yield 100
    assert ours.selection_bounds() is None


def a_layer_goes_in_and_out_with_one_undo():
    doc, ours = yield from opened()
    whole = rect(0, 0, WIDTH, HEIGHT)
    mask = kt.gradient(51, 31)
    kt.select_mask(doc, 20, 10, 51, 31, mask)
    yield 100
    before = kt.projection_bytes(doc)
    rows = kt.history()
    pixels = translucent(51, 31)

    layer = ours.add_layer("new", rect(20, 10, 51, 31), pixels)
    ours.wait_for_idle()
    assert ours.read_layer(layer, rect(20, 10, 51, 31)) == pixels
    assert [entry.name for entry in ours.layers()] == ["Background", "new"]
    yield kt.until(lambda: ours.active_layer == layer, 5, "the new layer to be active")
    assert ours.layer(layer).bounds[:2] != (0, 0)
    assert ours.read_selection(rect(20, 10, 51, 31)) == mask, "the selection must stay"
    yield 200
    assert kt.history() == [*rows, "Add Layer"], kt.history()

    inside = bytearray(WIDTH * HEIGHT)
    for y in range(10, 41):
        inside[y * WIDTH + 20 : y * WIDTH + 71] = b"\1" * 51
    after = ours.read_projection(whole)
    assert after != before
    assert kt.changed_outside(before, after, WIDTH, bytes(inside)) == 0

    yield from kt.undo(doc)
    assert kt.projection_bytes(doc) == before
    assert [entry.name for entry in ours.layers()] == ["Background"]
    yield from kt.redo(doc)
    assert kt.projection_bytes(doc) == after
    assert ours.read_layer(layer, rect(20, 10, 51, 31)) == pixels, "same id, same pixels"


def a_layer_goes_above_the_one_named():
    from velatura.krita_plugin.document import LayerGone

    doc, ours = yield from opened()
    spot, red = rect(0, 0, 3, 3), b"\xff\0\0\xff" * 9
    bottom = ours.layers()[0].id
    top = ours.add_layer("top", spot, red)
    ours.add_layer("middle", spot, red, above=bottom)
    assert [name for name, *_ in kt.layer_tree(doc)] == ["Background", "middle", "top"]

    group = doc.createNode("group", "grouplayer")
    doc.rootNode().addChildNode(group, None)
    member = doc.createNode("member", "paintlayer")
    group.addChildNode(member, None)
    kt.select(doc, 0, 0, 50, 50)
    yield 100
    doc.setActiveNode(member)
    yield 100
    Krita.instance().action("add_new_transparency_mask").trigger()
    yield kt.until(lambda: member.childNodes(), 10, "the mask")
    mask = next(layer for layer in ours.layers() if layer.type == "transparencymask")
    assert not mask.is_picture
    ours.add_layer("above mask", spot, red, above=mask.id)
    assert [row[:2] for row in kt.layer_tree(doc)[-1][2]] == [
        ["member", "paintlayer"],
        ["above mask", "paintlayer"],
    ]
    parents = {layer.name: layer.parent for layer in ours.layers()}
    ids = {layer.name: layer.id for layer in ours.layers()}
    assert parents["member"] == ids["group"]
    assert parents["group"] is None
    assert parents[mask.name] == ids["member"]

    next(n for n in doc.topLevelNodes() if n.name() == "top").remove()
    yield 100
    kt.refused(LayerGone, lambda: ours.add_layer("lost", spot, red, above=top))


def a_layer_is_read_with_its_mask_and_a_group_with_its_members():
    from velatura.krita_plugin.document import DocumentError

    doc, ours = yield from opened()
    pixels = kt.noise(40, 40, seed=3)
    group = doc.createNode("group", "grouplayer")
    doc.rootNode().addChildNode(group, None)
    yield 100
    inner = doc.createNode("inner", "paintlayer")
    group.addChildNode(inner, None)
    below = next(entry.id for entry in ours.layers() if entry.name == "inner")
    layer = ours.add_layer("picture", rect(10, 10, 40, 40), pixels, above=below)
    ours.wait_for_idle()
    assert ours.layer(layer).parent is not None
    found = {entry.name: entry.id for entry in ours.layers()}
    assert ours.read_layer(found["group"], rect(10, 10, 40, 40)) == pixels
    kt.select(doc, 10, 10, 20, 40)
    yield 100
    ours.activate_layer(layer)
    Krita.instance().action("add_new_transparency_mask").trigger()
    yield kt.until(
        lambda: any(entry.type == "transparencymask" for entry in ours.layers()), 10, "the mask"
    )
    yield 200
    ours.wait_for_idle()
    read = ours.read_layer(layer, rect(10, 10, 40, 40))
    assert read[:4] == pixels[:4]
    assert read[39 * 4 + 3] == 0, "what the mask hides is transparent"
    mask = next(entry for entry in ours.layers() if entry.type == "transparencymask")
    sentence = kt.refused(DocumentError, lambda: ours.read_layer(mask.id, rect(0, 0, 4, 4)))
    assert "mask" in sentence


def annotations_are_saved_with_the_picture():
    from velatura.krita_plugin.document import active_document

    doc, ours = yield from opened()
    app = Krita.instance()
    app.setBatchmode(True)
    layer = ours.add_layer("new", rect(0, 0, 3, 3), b"\xff\0\0\xff" * 9)
    recipe = {"prompt": "ein Häuschen, 月", "seed": 2**63, "list": [1, 2.5, None]}
    ours.set_annotation(f"recipe/{layer}", {"old": True})
    ours.set_annotation(f"recipe/{layer}", recipe)
    ours.set_annotation("gone", 1)
    ours.remove_annotation("gone")
    assert ours.annotation("gone") is None
    import os

    path = os.path.join(os.environ["HOME"], "saved.kra")
    assert doc.saveAs(path)
    doc.waitForDone()
    doc.setModified(False)
    doc.close()
    yield 300
    assert not ours.is_open
    again = app.openDocument(path)
    app.activeWindow().addView(again)
    yield kt.until(lambda: app.activeDocument() == again, 10, "the loaded document")
    loaded = active_document()
    assert loaded.name == "saved.kra"
    assert loaded.annotation_keys() == [f"recipe/{layer}"], loaded.annotation_keys()
    assert loaded.annotation(f"recipe/{layer}") == recipe
    assert layer in [entry.id for entry in loaded.layers()], "layer ids outlive saving"


def a_document_is_found_again_and_known_to_be_closed():
    from velatura.krita_plugin.document import DocumentClosed, open_documents

    app = Krita.instance()
    first, ours = yield from opened(64, 48)
    assert ours.is_active
    app.action("create_copy").trigger()  # its root has the same id
    yield kt.until(lambda: len(app.documents()) == 2, 10, "the copy")
    yield 300
    copy = next(other for other in open_documents() if other != ours)
    assert ours in open_documents()
    second, theirs = yield from opened(32, 32)
    assert not ours.is_active
    assert theirs != ours
    layer = ours.add_layer("late", rect(0, 0, 2, 2), b"\xff\0\0\xff" * 4)
    assert [name for name, *_ in kt.layer_tree(first)] == ["Background", "late"]
    assert len(kt.layer_tree(second)) == 1
    assert len(copy.layers()) == 1
    first.setModified(False)
    first.close()
    yield 300
    assert not ours.is_open
    assert copy.is_open
    for attempt in (
        lambda: ours.size,
        lambda: ours.layers(),
        lambda: ours.read_projection(rect(0, 0, 1, 1)),
        lambda: ours.add_layer("x", rect(0, 0, 1, 1), b"\0\0\0\0"),
        lambda: ours.annotation(layer),
    ):
        assert "closed" in kt.refused(DocumentClosed, attempt)


def the_canvas_grows_on_every_side():
    doc, ours = yield from opened(40, 30)
    before = kt.projection_bytes(doc)
    ours.resize_canvas(rect(-10, -5, 60, 50))
    yield 200
    assert (ours.size.width, ours.size.height) == (60, 50)
    ours.wait_for_idle()
    assert ours.read_projection(rect(10, 5, 40, 30)) == before
    yield from kt.undo(doc)
    assert kt.projection_bytes(doc) == before


def wrong_sizes_are_refused():
    doc, ours = yield from opened(40, 30)
    short = bytes(399)
    sentence = kt.refused(ValueError, lambda: ours.add_layer("short", rect(0, 0, 10, 10), short))
    assert "400 bytes" in sentence
    assert len(kt.layer_tree(doc)) == 1


def timings():
    doc, ours = yield from opened(1024, 1024)
    whole, pixels = rect(0, 0, 1024, 1024), kt.noise(1024, 1024, seed=2)
    ours.wait_for_idle()

    def measure(action, times=5):
        spent = []
        for _ in range(times):
            start = time.perf_counter()
            action()
            spent.append((time.perf_counter() - start) * 1e3)
        return round(sorted(spent)[times // 2], 2)

    read = measure(lambda: ours.read_projection(whole))
    bottom = ours.active_layer
    layer = measure(lambda: ours.read_layer(bottom, whole))
    add = measure(lambda: ours.add_layer("new", whole, pixels))
    kt.select_mask(doc, 0, 0, 1024, 1024, kt.gradient(1024, 1024))
    selection = measure(lambda: ours.read_selection(whole))
    kt.report(
        projection=read, layer=layer, add=add, selection=selection, layers=measure(ours.layers)
    )
    yield 0


def a_layer_is_left_out_without_being_hidden():
    doc, ours = yield from opened()
    whole = rect(0, 0, WIDTH, HEIGHT)
    before = ours.read_projection(whole)
    group = doc.createNode("group", "grouplayer")
    doc.rootNode().addChildNode(group, None)
    inner = doc.createNode("inner", "paintlayer")
    group.addChildNode(inner, None)
    below = next(entry.id for entry in ours.layers() if entry.name == "inner")
    guide = ours.add_layer("guide", rect(20, 10, 51, 31), kt.noise(51, 31, 3), above=below)
    yield 200
    ours.wait_for_idle()
    after, rows = ours.read_projection(whole), kt.history()
    assert after != before
    doc.setModified(False)
    with ours.without([guide, "{gone}"]) as seen:
        assert seen.read_projection(whole) == before
        assert seen.read_layer(guide, rect(20, 10, 51, 31)) == kt.noise(51, 31, 3)
        assert seen.size == ours.size
    with ours.without([]) as seen:
        assert seen is ours
    yield 200
    ours.wait_for_idle()
    assert ours.read_projection(whole) == after
    assert ours.layer(guide).visible
    assert ours.is_active
    assert kt.history() == rows
    assert not doc.modified()


def a_selection_is_put_back_with_its_values():
    _, ours = yield from opened()
    mask = kt.gradient(51, 31)
    ours.select(rect(20, 10, 51, 31), mask)
    yield 200
    assert ours.read_selection(rect(20, 10, 51, 31)) == mask
    ours.select(None)
    yield 200
    assert ours.selection_bounds() is None


def a_copy_of_a_layer_has_the_same_fingerprint_until_it_is_painted_on():
    doc, ours = yield from opened()
    layer = ours.add_layer("made", rect(20, 10, 51, 31), translucent(51, 31))
    ours.wait_for_idle()
    print_ = ours.fingerprint(layer)
    yield kt.until(lambda: ours.active_layer == layer, 5, "the new layer to be active")
    Krita.instance().action("duplicatelayer").trigger()
    yield kt.until(lambda: len(ours.layers()) == 3, 5, "the copy")
    yield 200
    copy = next(x.id for x in ours.layers() if x.name not in ("Background", "made"))
    kt.say("copy is named", ours.layer(copy).name)
    assert copy != layer
    assert ours.fingerprint(copy) == print_
    node = doc.activeNode()
    node.move(100, 50)
    yield 100
    assert ours.fingerprint(copy) == print_
    node.setPixelData(QByteArray(b"\0\0\0\xff"), 120, 60, 1, 1)
    assert ours.fingerprint(copy) != print_


def leaving_out_costs():
    for side in (1024, 4096):
        yield from kt.new_document(side, side)
        from velatura.krita_plugin.document import active_document

        ours = active_document()
        layer = ours.add_layer("guide", rect(0, 0, 512, 512), kt.noise(512, 512))
        yield 500
        spot = rect(0, 0, 512, 512)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            with ours.without([layer]) as seen:
                seen.read_projection(spot)
            times.append(round(1e3 * (time.perf_counter() - start), 1))
        kt.report(**{f"side_{side}": sorted(times)})
