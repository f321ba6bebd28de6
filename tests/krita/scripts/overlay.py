"""A picture over the canvas: where it lies, what it lets through, and that it is no part of the file."""

import os
import zipfile
import zlib
from array import array
from collections import Counter
from pathlib import Path

import kt
from krita import InfoObject, Krita
from PyQt5.QtCore import QEvent, QPoint, QPointF, Qt
from PyQt5.QtGui import QColor, QImage, QPainter, QTabletEvent
from PyQt5.QtWidgets import QApplication, QMdiArea
from velatura.krita_plugin.document import active_document
from velatura.krita_plugin.overlay import Overlay
from velatura.krita_plugin.view import active_view
from velatura.protocol.region import Rect

WIDTH, HEIGHT = 400, 300
PLACE = Rect(40, 60, 200, 160)
# In the order left above, right above, left below, right below; the document has their opposites.
COLOURS = ("#e01010", "#10e010", "#1010e0", "#e0e010")
PAPER = "#808080"


def quarters(colours):
    image = QImage(PLACE.width, PLACE.height, QImage.Format_RGB32)
    painter = QPainter(image)
    for number, colour in enumerate(colours):
        x, y = number % 2 * PLACE.width // 2, number // 2 * PLACE.height // 2
        painter.fillRect(x, y, PLACE.width // 2, PLACE.height // 2, QColor(colour))
    painter.end()
    return image


def opposite(colour):
    colour = QColor(colour)
    return QColor(255 - colour.red(), 255 - colour.green(), 255 - colour.blue()).name()


def painted():
    """``doc = yield from painted()``: grey paper with the opposites of COLOURS at PLACE."""
    page = QImage(WIDTH, HEIGHT, QImage.Format_RGBA8888)
    page.fill(QColor(PAPER))
    painter = QPainter(page)
    painter.drawImage(PLACE.x, PLACE.y, quarters([opposite(colour) for colour in COLOURS]))
    painter.end()
    bits = page.constBits()
    bits.setsize(page.sizeInBytes())
    doc = yield from kt.new_document(WIDTH, HEIGHT, bytes(bits))
    return doc


def overlay():
    found = Overlay()
    found.show(quarters(COLOURS), PLACE, document=active_document())
    return found


def seen():
    """What the screen shows where the canvas is, as one number (0xffRRGGBB) for each pixel."""
    widget = active_view().widget
    corner = widget.mapToGlobal(widget.rect().topLeft())
    shot = widget.screen().grabWindow(0, corner.x(), corner.y(), widget.width(), widget.height())
    image = shot.toImage().convertToFormat(QImage.Format_RGB32)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return array("I", bytes(bits))


def near(colour, name):
    parts = (colour >> 16 & 255, colour >> 8 & 255, colour & 255)
    return all(abs(a - b) < 24 for a, b in zip(parts, QColor(name).getRgb(), strict=False))


def count_misplaced(without, over):
    """(pixels where the picture belongs, those of them that show something else, those beside it)."""
    belongs = misplaced = beside = 0
    for (a, b), count in Counter(zip(without, over, strict=True)).items():
        quarter = next((i for i, name in enumerate(COLOURS) if near(a, opposite(name))), None)
        if quarter is not None:
            belongs += count
            misplaced += 0 if near(b, COLOURS[quarter]) else count
        elif any(near(b, name) for name in COLOURS):
            beside += count
    return belongs, misplaced, beside


POSES = {
    "small": lambda canvas: canvas.setZoomLevel(0.57),
    "large": lambda canvas: canvas.setZoomLevel(2.3),
    "turned": lambda canvas: (canvas.setZoomLevel(1.0), canvas.setRotation(33.0)),
    "mirrored": lambda canvas: canvas.setMirror(True),
    "turned and mirrored": lambda canvas: (canvas.setZoomLevel(1.6), canvas.setRotation(250.0)),
}


def follows_zoom_pan_rotation_and_mirror():
    yield from painted()
    canvas = Krita.instance().activeWindow().activeView().canvas()
    for name, pose in POSES.items():
        pose(canvas)
        without = yield from scrolled(37, -21)
        over = overlay()
        counts = ()

        def lies_there(without=without):
            nonlocal counts
            counts = count_misplaced(without, seen())
            belongs, misplaced, beside = counts
            # One pixel of the screen off is three times that at the smallest of these.
            return belongs > 5000 and misplaced + beside <= 0.01 * belongs

        try:
            yield kt.until(lies_there, 15, f"the picture to lie where it belongs, {name}")
        finally:
            kt.say(name, counts)
        over.hide()
        yield kt.until(
            lambda without=without: seen() == without, 15, f"the canvas to be clear, {name}"
        )


def scrolled(x, y):
    """``screen = yield from scrolled(...)``: pan by the scroll bars, and let Krita draw."""
    area = active_view().widget.parentWidget().parentWidget()
    for bar, by in ((area.horizontalScrollBar(), x), (area.verticalScrollBar(), y)):
        bar.setValue(bar.value() + by)
    before, alike = None, 0
    while alike < 2:
        yield 150
        now = seen()
        alike, before = (alike + 1 if now == before else 0), now
    return before


def is_no_part_of_the_picture():
    doc = yield from painted()
    folder = Path(os.environ["KT_SAVES"])
    Krita.instance().setBatchmode(True)
    doc.topLevelNodes()[0].setName("paper")  # modified, so that Krita saves it
    without = yield from save(doc, folder / "without.kra")
    before = facts(doc)
    over = overlay()
    yield 300
    assert facts(doc) == before
    assert (yield from save(doc, folder / "with.kra")) == without
    over.hide()
    yield 100
    assert facts(doc) == before
    Krita.instance().setBatchmode(False)


def facts(doc):
    return (
        kt.history(),
        kt.layer_tree(doc),
        doc.activeNode().uniqueId(),
        doc.modified(),
        kt.projection_bytes(doc),
        doc.annotationTypes(),
    )


def save(doc, path):
    """``entries = yield from save(...)``: what the file holds, without the time of saving.

    An autosave is the same export to another place.
    """
    doc.waitForDone()
    modified = doc.modified()
    assert doc.exportImage(str(path), InfoObject())
    yield kt.until(path.exists, 20, f"{path.name}")
    doc.setModified(modified)
    with zipfile.ZipFile(path) as file:
        return {
            name.partition("/")[2] or name: zlib.crc32(file.read(name))
            for name in file.namelist()
            if not name.endswith(("documentinfo.xml", "maindoc.xml"))
        }


def on_screen(x):
    view = active_view()
    return view.widget.mapToGlobal(view.to_widget().map(QPoint(x, 100)))


def makes_way(touch, lift):
    """``yield from makes_way(touch, lift)``, two generators that draw a stroke."""
    doc = yield from painted()
    over = overlay()
    sheet = over._sheet
    before, rows = kt.projection_bytes(doc), kt.history()
    yield from touch()
    yield kt.until(lambda: sheet.presence == 0, 5, "the picture to go")
    yield from lift()
    yield kt.until(lambda: len(kt.history()) == len(rows) + 1, 10, "the stroke")
    assert kt.projection_bytes(doc) != before
    yield kt.until(lambda: sheet.presence == 1, 5, "the picture to come back")
    over.hide()


def lets_the_pen_through_and_makes_way_for_it():
    def touch():
        points = [on_screen(x) for x in (80, 140, 200)]
        yield from kt.stroke([(point.x(), point.y()) for point in points], up=False)

    yield from makes_way(touch, lambda: kt.stroke([]))


def makes_way_for_a_tablets_pen():
    """As Qt hears of a tablet: the window gets events with a pressure, and no button of a mouse."""

    def pen(kind, x):
        window, there = active_view().widget.window().windowHandle(), on_screen(x)
        down = Qt.NoButton if kind == QEvent.TabletRelease else Qt.LeftButton
        event = QTabletEvent(
            *(kind, QPointF(window.mapFromGlobal(there)), QPointF(there)),
            *(QTabletEvent.Stylus, QTabletEvent.Pen, 0.8, 0, 0, 0.0, 0.0, 0, Qt.NoModifier, 7),
            *(Qt.NoButton if kind == QEvent.TabletMove else Qt.LeftButton, down),
        )
        QApplication.sendEvent(window, event)

    def touch():
        pen(QEvent.TabletPress, 80)
        yield 10

    def lift():
        for x in range(90, 210, 10):
            pen(QEvent.TabletMove, x)
            yield 10
        pen(QEvent.TabletRelease, 200)

    yield from makes_way(touch, lift)


def belongs_to_its_document():
    first = yield from painted()
    over = overlay()
    assert over._sheet is not None
    second = yield from kt.new_document(100, 100)
    over.follow()
    assert over._sheet is None
    area = Krita.instance().activeWindow().qwindow().findChild(QMdiArea)
    area.setActiveSubWindow(area.subWindowList()[-2])
    yield kt.until(lambda: Krita.instance().activeDocument() == first, 10, "the first document")
    over.follow()
    assert over._sheet is not None
    for doc in (first, second):
        doc.waitForDone()
        doc.setModified(False)
        doc.close()
    yield 300
    assert over._sheet is None, "its widget outlived the view"
    over.follow()
    over.hide()
