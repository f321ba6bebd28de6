"""The docker's main states, one after the other, with a picture of each at two widths.

KT_PICTURES is the folder where they go, as STATE-WIDTH.png.
"""

import contextlib
import os
import signal
from pathlib import Path

import kt
from PyQt5.QtCore import QPoint
from PyQt5.QtGui import QColor, QImage, QPainter
from PyQt5.QtWidgets import QAbstractButton, QDialog, QLabel, QScrollArea
from velatura.protocol.discovery import data_folder, read_running

WIDTHS, HEIGHT = (260, 400), 480
WIDTH, TALL = 768, 512
SECONDS = 240
PROMPT = "a red boat on the sea at sunset, mountains"
LONG = "A very long name of a layer that somebody once wrote down in full"


def photograph(state, shown="", while_said=""):
    """``yield from photograph(...)``: with the widget of that name in sight.

    while_said: what the light or the bar says, of a state that passes by itself.
    """
    docker = kt.docker()
    for width in WIDTHS:
        docker.resize(width, HEIGHT)
        yield 150
        if shown:
            # At the top, so that what belongs to it is seen too.
            area, widget = kt.find("options", QScrollArea), kt.find(shown)
            area.verticalScrollBar().setValue(widget.mapTo(area.widget(), QPoint(0, 0)).y() - 8)
        yield 250
        assert docker.width() == width, f"{state} makes the docker {docker.width()} wide"
        for widget in cut(docker):
            kt.say(f"{state} at {width}: {widget.objectName()} cuts {widget.text()!r}")
        save(docker, f"{state}-{width}")
        said = kt.find("reason").text() + kt.find("stage").text()
        assert while_said in said, f"{state} was over at {width}: {said}"


def save(widget, name):
    assert widget.grab().save(str(Path(os.environ["KT_PICTURES"]) / f"{name}.png"), "PNG")


def cut(docker):
    """Buttons and words that are seen and lack the room for their text."""
    for widget in docker.findChildren(QAbstractButton) + docker.findChildren(QLabel):
        if not widget.isVisible() or not widget.text() or "Elided" in type(widget).__name__:
            continue
        wide = widget.fontMetrics().horizontalAdvance(widget.text())
        if getattr(widget, "wordWrap", lambda: False)():
            wide = max(
                widget.fontMetrics().horizontalAdvance(word) for word in widget.text().split()
            )
        if wide > widget.width():
            yield widget


def in_sight(name):
    """Whether all of that widget is seen without scrolling."""
    widget, docker = kt.find(name), kt.docker()
    return widget.visibleRegion().boundingRect() == widget.rect() and docker.rect().contains(
        widget.mapTo(docker, widget.rect().bottomRight())
    )


def says(word, seconds=SECONDS):
    return kt.until(
        lambda: word in kt.find("reason").text() + kt.find("why").text(),
        seconds,
        f"the light to say {word!r}",
    )


def rest():
    return kt.until(lambda: not kt.find("cancel").isVisible(), SECONDS, "the painting to end")


@contextlib.contextmanager
def stopped_worker():
    """What the server's worker does lasts as long as this."""
    server = Path("/proc", str(read_running(data_folder()).pid))
    (worker,) = {pid for t in server.glob("task/*/children") for pid in t.read_text().split()}
    os.kill(int(worker), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(int(worker), signal.SIGCONT)


def fold(name, is_open):
    if kt.find(name).isChecked() != is_open:
        kt.click(kt.find(name))


def line_art():
    """A drawing of a boat, dark on nothing."""
    image = QImage(WIDTH, TALL, QImage.Format_ARGB32)
    image.fill(0)
    painter = QPainter(image)
    painter.setPen(QColor("black"))
    painter.drawLine(200, 330, 520, 330)
    painter.end()
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return bytes(bits)


def walks():
    docker = kt.docker()
    docker.setFloating(True)
    yield says("No server")
    yield from photograph("1 nothing connected")
    kt.click(kt.find("start_server"))
    yield says("starting")
    yield from photograph("2 starting", while_said="starting")
    doc = yield from kt.new_document(WIDTH, TALL)
    yield says("loading")
    yield from photograph("3 connected", while_said="loading")
    yield says("Ready")
    yield kt.until(lambda: kt.find("press").text() == "Generate", 10, "Generate")
    kt.type_text(kt.find("prompt"), PROMPT)
    yield from photograph("4 ready")
    kt.find("variants").setValue(3)
    fold("advanced", True)
    kt.find("steps").setValue(12)
    fold("advanced", False)
    kt.click(kt.find("press"))
    loading = "Loading the model"
    yield kt.until(lambda: loading in kt.find("stage").text(), 30, "the model to load")
    with stopped_worker():
        yield from photograph("5 loading", while_said=loading)
    preview = kt.find("preview")
    yield kt.until(preview.isVisible, SECONDS, "the picture so far")
    yield from photograph("6 painting", "preview")
    yield kt.until(lambda: kt.find("strip").count() == 3, SECONDS, "three pictures")
    yield rest()
    kt.find("options", QScrollArea).verticalScrollBar().setValue(0)
    yield from photograph("7 variants")
    docker.resize(WIDTHS[0], HEIGHT)
    yield 200
    for name in ("keep", "keep_mask", "compare", "discard"):
        assert in_sight(name), f"{name} needs a scroll at {WIDTHS[0]} x {HEIGHT}"
    kt.click(kt.find("compare"))
    yield from photograph("8 compare")
    kt.click(kt.find("compare"))
    kt.click(kt.find("keep"))
    paint = lambda: [n for n in doc.topLevelNodes() if n.type() == "paintlayer"]  # noqa: E731
    yield kt.until(lambda: len(paint()) == 2, 20, "the layer")
    kt.click(kt.find("discard_all"))
    for name, pixels in (("Line art", line_art()), (LONG, b"")):
        layer = doc.createNode(name, "paintlayer")
        layer.setPixelData(pixels, 0, 0, WIDTH, TALL) if pixels else None
        doc.rootNode().addChildNode(layer, None)
    doc.setActiveNode(paint()[1])
    kt.select(doc, 260, 180, 260, 200)
    yield kt.until(lambda: kt.find("press").text() == "Fill", 10, "Fill")
    yield kt.until(lambda: kt.find("sent").image is not None, 20, "what is sent")
    yield from photograph("9 fill", "paint_from")
    kt.docker().panel.press.choices["expand"].trigger()
    kt.click(kt.find("enlarge_right"))
    yield from photograph("10 expand")
    kt.docker().panel.press.choices[""].trigger()
    fold("guide", True)
    for _ in range(2):
        kt.click(kt.find("guide_add"))
    yield 200
    kt.find("guide_layer_1").setCurrentIndex(kt.find("guide_layer_1").findText(LONG))
    yield from photograph("11 guides", "guide")
    for number in (1, 2):
        kt.click(kt.find(f"guide_remove_{number}"))
    fold("guide", False)
    fold("advanced", True)
    yield from photograph("12 model", "style")
    fold("advanced", False)
    fold("past", True)
    yield 500
    yield from photograph("13 history", "past")
    fold("past", False)
    doc.setSelection(None)
    doc.setActiveNode(paint()[1])
    yield kt.until(lambda: doc.activeNode() == paint()[1], 10, "the picture to be active")
    kt.click(kt.find("live"))
    picture = kt.find("live_picture")
    yield kt.until(lambda: picture.image is not None, SECONDS, "the live picture")
    fold("live_options", True)
    yield from photograph("14 live", "live_picture")
    fold("live_options", False)
    kt.click(kt.find("live"))
    kt.click(kt.find("settings"))
    found = [d for d in docker.findChildren(QDialog, "settings_dialog") if d.isVisible()]
    assert len(found) == 1
    found[0].resize(WIDTHS[0], HEIGHT)
    yield 300
    save(found[0], f"16 settings-{WIDTHS[0]}")
    found[0].close()
    doc.setActiveNode(doc.nodeByName(LONG))
    paint_from = kt.find("paint_from")
    paint_from.setCurrentIndex(paint_from.findData("layer"))
    yield kt.until(lambda: "layer" in paint_from.currentText(), 10, "the empty layer")
    kt.click(kt.find("press"))
    yield kt.until(lambda: kt.find("retry").isVisible(), 10, "the sentence")
    yield from photograph("15 error", "notice_frame")
    docker.setFloating(False)
    doc.setModified(False)
