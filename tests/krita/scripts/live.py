"""Live painting with the docker's real widgets and real strokes; the engine inverts what it sees."""

import time

import kt
from krita import Krita
from PyQt5.QtCore import QPoint, Qt
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QWidget
from velatura.krita_plugin.images import rgba_bytes
from velatura.krita_plugin.view import active_view

SIDE = 300
INVERTED = bytes(255 - value for value in range(256))
NEVER = 1.0  # seconds after which what has not come does not come


# --- what the tests share --------------------------------------------------------------------------


def docker():
    return kt.docker()


def desk():
    return docker().live


def words():
    return kt.find("live_words").text()


def says(part, seconds=20):
    return kt.until(lambda: part in words(), seconds, f"live to say {part!r}, not {words()!r}")


def sheet():
    """``doc = yield from sheet()``: white paper of which all is seen, a docker with a green light."""
    white = b"\xff" * (4 * SIDE * SIDE)
    doc = yield from kt.new_document(SIDE, SIDE, white)
    kt.docker()
    yield kt.until(lambda: kt.find("reason").text().startswith("Ready"), 60, "the light")
    options = docker().panel.live_options
    options.choose(type(options.choice)())
    Krita.instance().activeWindow().activeView().canvas().setZoomLevel(1.0)
    doc.setActiveNode(doc.topLevelNodes()[0])
    yield 200
    return doc


def switch(on):
    if kt.find("live").isChecked() != on:
        kt.click(kt.find("live"))


def inverted(doc, x=0, y=0, width=SIDE, height=SIDE):
    rgba = kt.projection_bytes(doc, x, y, width, height)
    out = bytearray(rgba.translate(INVERTED))
    out[3::4] = b"\xff" * (width * height)
    return bytes(out)


def shown():
    image = kt.find("live_picture").image
    return None if image is None else rgba_bytes(image)


def follows(doc, **rect):
    """What is shown is what the engine makes of the canvas as it is now."""
    return kt.until(lambda: shown() == inverted(doc, **rect), 20, "the preview to follow")


def point(x, y):
    """A canvas pixel on the screen."""
    view = active_view()
    at = view.to_widget().map(QPoint(x, y))
    found = view.widget.mapToGlobal(at)
    return found.x(), found.y()


def overlays():
    return [
        sheet
        for sheet in Krita.instance().activeWindow().qwindow().findChildren(QWidget)
        if sheet.objectName() == "velatura_overlay"
    ]


class Sent:
    """What the desk hands to the link from now on."""

    def __init__(self):
        self.messages = []
        link = docker().link
        self.original = link.send_live

        def send(message):
            self.messages.append(message)
            self.original(message)

        link.send_live = send

    def take(self):
        messages, self.messages = self.messages, []
        return [type(message).__name__ for message in messages]

    def stop(self):
        del docker().link.send_live


def layers(doc):
    """Bottom to top. Krita keeps the selection there too, as a mask."""
    return [node for node in doc.topLevelNodes() if node.type() == "paintlayer"]


def left_behind():
    """What of live's is still there: timers, animations, widgets, ears."""
    live = desk()
    return [
        name
        for name, there in {
            "glance": live._glance.isActive(),
            "look": live._look_timer.isActive(),
            "overlay's timer": live._overlay._back.isActive(),
            "fade": live._overlay._fade.state() != 0,
            "overlay": bool(overlays()),
            "changes": bool(live._changes._signals),
            "pen": live._pen._widget is not None,
            "overlay's pen": live._overlay._pen._widget is not None,
            "canvas": live._policy.job is not None,
        }.items()
        if there
    ]


# --- the tests -------------------------------------------------------------------------------------


def follows_the_brush():
    doc = yield from sheet()
    rows, tree = kt.history(), kt.layer_tree(doc)
    switch(True)
    yield follows(doc)
    before = shown()
    assert len(overlays()) == 1
    yield from kt.stroke([point(60, 60), point(140, 80), point(220, 60)])
    yield kt.until(lambda: len(kt.history()) == len(rows) + 1, 10, "the stroke")
    yield follows(doc)
    first = shown()
    assert first != before
    yield from kt.stroke([point(60, 200), point(140, 220), point(220, 200)])
    yield kt.until(lambda: len(kt.history()) == len(rows) + 2, 10, "the second stroke")
    yield follows(doc)
    assert shown() not in (first, before)
    yield from kt.undo(doc)
    yield follows(doc)
    assert shown() == first
    yield from kt.undo(doc)
    yield follows(doc)
    assert shown() == before
    switch(False)
    assert left_behind() == []
    assert kt.layer_tree(doc) == tree
    assert kt.history()[: len(rows)] == rows


def shows_an_unfinished_stroke():
    doc = yield from sheet()
    rows = kt.history()
    switch(True)
    yield follows(doc)
    before = shown()
    yield from kt.stroke([point(60, 60), point(140, 80), point(220, 60)], up=False)
    yield kt.until(lambda: shown() != before, 20, "the unfinished stroke in the preview")
    (over,) = overlays()
    yield kt.until(lambda: over.presence == 0, 5, "the overlay to fade")
    assert kt.history() == rows, "the stroke has ended"
    yield from kt.stroke([])
    yield follows(doc)
    yield kt.until(lambda: over.presence == 1, 5, "the overlay to come back")
    switch(False)


def keeps_one_layer():
    doc = yield from sheet()
    kt.type_text(kt.find("prompt"), "a red boat")
    switch(True)
    yield from kt.stroke([point(60, 60), point(220, 60)])
    yield follows(doc)
    rows, picture = kt.history(), shown()
    kt.click(kt.find("live_keep"))
    yield kt.until(lambda: len(layers(doc)) == 2, 10, "the layer")
    assert left_behind() == []
    yield kt.until(lambda: len(kt.history()) == len(rows) + 1, 10, "one row in the History")
    layer = layers(doc)[1]
    assert layer.name() == "a red boat (Refine)"
    yield kt.until(lambda: kt.projection_bytes(doc) == picture, 10, "the picture on the canvas")
    doc.setActiveNode(layer)

    def offers_its_recipe():
        docker().controller.look()
        return docker().panel.recipe.isVisible()

    yield kt.until(offers_its_recipe, 10, "its recipe")
    yield from kt.undo(doc)
    yield kt.until(lambda: len(layers(doc)) == 1, 10, "the layer to go")
    assert len(kt.history()) == len(rows) + 1


def keeps_and_goes_on():
    doc = yield from sheet()
    switch(True)
    yield follows(doc)
    active = doc.activeNode().uniqueId()
    kt.click(kt.find("live_keep_on"))
    yield kt.until(lambda: len(layers(doc)) == 2, 10, "the layer")
    kept = layers(doc)[1]
    assert not kept.visible()
    yield kt.until(lambda: doc.activeNode().uniqueId() == active, 10, "the painter's own layer")
    yield from kt.stroke([point(60, 60), point(220, 60)])
    yield follows(doc)
    sent = Sent()
    kept.setVisible(True)
    doc.refreshProjection()
    yield says("hide what was painted live")
    sent.take()
    yield round(1000 * NEVER)
    assert "LiveFrame" not in sent.take()
    kept.setVisible(False)
    doc.refreshProjection()
    yield follows(doc)
    sent.stop()
    switch(False)


def sends_nothing_when_nothing_changed():
    doc = yield from sheet()
    switch(True)
    yield follows(doc)
    yield 500
    sent = Sent()
    looks = [time.monotonic()]
    source = desk()._source
    read = source.read

    def counted(area):
        looks.append(time.monotonic())
        return read(area)

    source.read = counted
    # Krita draws thumbnails a while after a stroke, and says that layers changed.
    yield kt.until(lambda: time.monotonic() - looks[-1] > 1.0, 20, "no more looks at the canvas")
    assert sent.take() == []
    assert not desk()._look_timer.isActive()
    del source.read
    switch(False)
    assert sent.take() == ["LiveClose"]
    yield from kt.stroke([point(60, 60), point(220, 60)])
    yield round(1000 * NEVER)
    assert sent.take() == []
    sent.stop()


def waits_when_the_selection_is_lost():
    doc = yield from sheet()
    kt.select(doc, 40, 50, 120, 100)
    yield 200
    switch(True)
    area = lambda: desk()._policy.area  # noqa: E731
    yield kt.until(lambda: area() and shown(), 20, "a picture")
    rect = area()
    assert rect.contains(type(rect)(40, 50, 120, 100))
    alpha = rgba_bytes(kt.find("live_picture").image)[3::4]
    for x, y, seen in ((100, 100, 255), (rect.x + 1, rect.y + 1, 0)):
        assert alpha[(y - rect.y) * rect.width + x - rect.x] == seen
    sent = Sent()
    Krita.instance().action("deselect").trigger()
    yield says("the selection is gone")
    sent.take()
    yield from kt.stroke([point(60, 60), point(220, 60)])
    yield round(1000 * NEVER)
    assert sent.take() == []
    kt.click(kt.find("live_pause"))
    yield follows(doc)
    sent.stop()
    switch(False)


def keeps_inside_the_selection():
    doc = yield from sheet()
    kt.select(doc, 40, 50, 120, 100)
    before = kt.projection_bytes(doc)
    yield 200
    switch(True)
    yield kt.until(lambda: desk()._policy.area and shown(), 20, "a picture")
    hard = shown()
    mask = bytes(max(1, value) for value in kt.gradient(120, 100))  # the bounds stay
    kt.select_mask(doc, 40, 50, 120, 100, mask)
    yield kt.until(lambda: shown() != hard, 20, "the new selection")
    kt.click(kt.find("live_keep"))
    yield kt.until(lambda: len(layers(doc)) == 2, 10, "the layer")
    alpha = bytes(layers(doc)[1].pixelData(0, 0, SIDE, SIDE))[3::4]
    wanted = bytearray(SIDE * SIDE)
    for row in range(100):
        at = (50 + row) * SIDE + 40
        wanted[at : at + 120] = mask[row * 120 : (row + 1) * 120]
    assert alpha == bytes(wanted)
    yield 300
    assert kt.changed_outside(before, kt.projection_bytes(doc), SIDE, bytes(wanted)) == 0


def pauses_truly():
    doc = yield from sheet()
    switch(True)
    yield follows(doc)
    kt.click(kt.find("live_pause"))
    yield says("paused")
    sent, before = Sent(), shown()
    yield from kt.stroke([point(60, 60), point(220, 60)])
    yield round(1000 * NEVER)
    assert sent.take() == []
    assert shown() == before
    kt.click(kt.find("live_pause"))
    yield follows(doc)
    sent.stop()
    switch(False)


def new_settings_apply_to_the_next_picture():
    doc = yield from sheet()
    switch(True)
    yield follows(doc)
    yield 300
    sent = Sent()
    kt.type_text(kt.find("prompt"), "a green boat")
    kt.find("live_strength").setValue(70)
    yield kt.until(lambda: sent.messages and sent.messages[-1].prompt == "a green boat", 10)
    last = sent.messages[-1]
    assert type(last).__name__ == "LiveSettings"
    assert (last.strength, last.job) == (0.7, desk()._policy.job)
    sent.stop()
    switch(False)


def paints_from_the_current_layer_inside_its_outline():
    doc = yield from sheet()
    layer = doc.createNode("sketch", "paintlayer")
    red = QImage(60, 40, QImage.Format_ARGB32)
    red.fill(Qt.red)
    bits = red.constBits()
    bits.setsize(red.sizeInBytes())
    layer.setPixelData(bytes(bits), 100, 120, 60, 40)
    doc.rootNode().addChildNode(layer, None)
    doc.setActiveNode(layer)
    yield 300
    combo = kt.find("live_paint_from")
    combo.setCurrentIndex(combo.findData("layer"))
    switch(True)
    yield kt.until(lambda: shown(), 20, "a picture")
    pixels = shown()
    at = 4 * (130 * SIDE + 130)
    assert pixels[at : at + 4] == bytes((0, 255, 255, 255))
    assert pixels[:4] == bytes(4)
    switch(False)


def works_from_keys_in_canvas_only_mode():
    doc = yield from sheet()
    Krita.instance().action("view_show_canvas_only").trigger()
    try:
        yield 500
        Krita.instance().action("velatura_live").trigger()
        yield kt.until(lambda: len(overlays()) == 1, 10, "the overlay")
        panel = docker_without_showing().panel
        yield kt.until(lambda: panel.live.picture.image is not None, 20, "a picture")
        Krita.instance().action("velatura_live_keep").trigger()
        yield kt.until(lambda: len(layers(doc)) == 2, 10, "the layer")
        Krita.instance().action("velatura_live").trigger()
        assert not panel.live.switch.isChecked()
    finally:
        Krita.instance().action("view_show_canvas_only").trigger()
    yield 300


def docker_without_showing():
    return next(d for d in Krita.instance().dockers() if d.objectName() == "velatura")


def shows_the_picture_so_far_where_it_will_lie():
    doc = yield from sheet()
    kt.select(doc, 40, 50, 120, 100)
    yield kt.until(lambda: kt.find("press").text() == "Fill", 10, "the button to say Fill")
    rows = kt.history()
    kt.type_text(kt.find("prompt"), "slow=1000 a red boat")
    kt.click(kt.find("press"))
    yield kt.until(lambda: len(overlays()) == 1, 30, "the picture so far")
    assert kt.history() == rows
    assert len(layers(doc)) == 1
    seen = overlays()[0]._shown
    image, rect = seen.image, seen.rect

    def alpha(x, y):
        x, y = x - rect.x, y - rect.y
        at = image.pixelColor(x * image.width() // rect.width, y * image.height() // rect.height)
        return at.alpha()

    assert alpha(100, 100) == 255
    assert alpha(rect.x, rect.y) == 0
    kt.press(docker().panel, Qt.Key_Escape)
    yield kt.until(lambda: not overlays(), 10, "the canvas to be clear")
    seen = kt.find("preview").image
    yield kt.until(lambda: kt.find("preview").image is not seen, 10, "the painting to go on")
    assert not overlays()
    kt.click(kt.find("cancel"))
    yield kt.until(lambda: not kt.find("cancel").isVisible(), 30, "the painting to end")
    assert not overlays()
    assert kt.history() == rows
