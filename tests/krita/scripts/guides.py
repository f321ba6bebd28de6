"""Guides: what is sent of them, what the recipe keeps, and what Trace makes."""

import kt
import paint
from velatura.krita_plugin.images import swap_red_blue


def set_guide(number, kind, layer, influence, start, until):
    kt.click(kt.find("guide_add"))
    yield kt.until(lambda: kt.find(f"guide_on_{number}").isVisible(), 5, "the guide's row")
    paint.choose(f"guide_kind_{number}", kind)
    paint.choose(f"guide_layer_{number}", layer)
    for name, value in (("influence", influence), ("from", start), ("until", until)):
        kt.find(f"guide_{name}_{number}").setValue(value)


def remove_guides():
    for row in list(kt.docker().panel.guide.rows):
        kt.click(row.remove)


def sends_guides_as_they_are_set_and_brings_them_back():
    doc = yield from paint.picture()
    plain = kt.projection_bytes(doc)
    hidden = yield from paint.add_layer(doc, "hidden", 33, 21, 71, 53, 11)
    hidden.setVisible(False)
    off = yield from paint.add_layer(doc, "off", 101, 31, 71, 53, 12)
    with_off = kt.projection_bytes(doc)
    seen = yield from paint.add_layer(doc, "seen", 71, 91, 71, 53, 13)
    doc.refreshProjection()
    yield 200
    tree, rows, shown = kt.layer_tree(doc), kt.history(), kt.projection_bytes(doc)
    assert len({plain, with_off, shown}) == 3
    yield paint.label("Refine")
    paint.fold("guide", is_open=True)
    ids = {node.name(): node.uniqueId().toString() for node in (hidden, off, seen)}
    yield from set_guide(1, "line", ids["hidden"], 60, 10, 80)
    yield from set_guide(2, "depth", ids["seen"], 130, 0, 45)
    yield from set_guide(3, "pose", "derived", 100, 0, 100)
    yield from set_guide(4, "scribble", ids["off"], 100, 0, 100)
    kt.click(kt.find("guide_on_4"))
    with paint.Asked() as asked:
        request = asked.press()
    assert request is not None, paint.notice()
    assert request.surroundings.data == with_off, "a guide that is on is no part of the source"

    def pixels(node):
        side = paint.SIDE
        return swap_red_blue(bytes(node.pixelData(0, 0, side, side)), side, side)

    sent = [
        (c.kind, c.picture and c.picture.data, c.weight, c.start, c.end) for c in request.controls
    ]
    assert sent == [
        ("line", pixels(hidden), 0.6, 0.1, 0.8),
        ("depth", pixels(seen), 1.3, 0.0, 0.45),
        ("pose", None, 1.0, 0.0, 1.0),
    ]
    assert (kt.layer_tree(doc), kt.history(), kt.projection_bytes(doc)) == (tree, rows, shown)
    assert [hidden.visible(), off.visible(), seen.visible()] == [False, True, True]

    # The recipe has them all, and the numbers of the one that was off.
    guides = kt.docker().panel.guide.guides
    paint.press()
    yield paint.layers(doc, 5)
    yield from paint.painted()
    yield kt.until(lambda: paint.recipes_of(doc), 10, "the recipe")
    remove_guides()
    yield from paint.choose_layer(doc, paint.stack(doc)[-1])
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "the button")
    kt.click(kt.find("reopen"))
    assert kt.docker().panel.guide.guides == guides
    assert kt.find("leave_out").text() == "a red boat (Refine)"

    # Trace: what is visible without the guides, and without what is left out.
    yield kt.until(lambda: kt.find("guide_trace_1").isVisible(), 5, "the rows")
    kt.click(kt.find("guide_trace_1"))
    yield paint.layers(doc, 6)
    traced = paint.stack(doc)[-1]
    yield kt.until(lambda: paint.notice(), 10, "where the map is")
    kt.click(kt.find("dismiss"))
    assert not traced.visible()
    assert pixels(traced) == with_off
    assert kt.find("guide_layer_1").currentData() == traced.uniqueId().toString()
    remove_guides()
    kt.docker().panel.source.leave(())
    paint.fold("guide", is_open=False)
