"""A picture over the canvas: where it lies, what it lets through, and that it is no part of the file."""

from array import array
from collections import Counter

import kt
from krita import Krita
from PyQt5.QtGui import QColor, QImage, QPainter
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
    "as it was": lambda canvas: None,
    "small": lambda canvas: canvas.setZoomLevel(0.57),
    "large": lambda canvas: canvas.setZoomLevel(2.3),
    "turned": lambda canvas: (canvas.setZoomLevel(1.0), canvas.setRotation(33.0)),
    "mirrored": lambda canvas: canvas.setMirror(True),
    "turned and mirrored": lambda canvas: (canvas.setZoomLevel(1.6), canvas.setRotation(250.0)),
    "back": lambda canvas: (canvas.setMirror(False), canvas.setRotation(0), canvas.setZoomLevel(1)),
}


def follows_zoom_pan_rotation_and_mirror():
    yield from painted()
    canvas = Krita.instance().activeWindow().activeView().canvas()
    for name, pose in POSES.items():
        pose(canvas)
        yield from scroll(37, -21)
        without = seen()
        over = overlay()
        yield 200
        counts = count_misplaced(without, seen())
        kt.say(name, counts)
        belongs, misplaced, beside = counts
        over.hide()
        yield 100
        assert belongs > 5000, (name, counts)
        # One pixel of the screen off is three times that at the smallest of these.
        assert misplaced + beside <= 0.01 * belongs, (name, counts)
        assert seen() == without, f"{name}: something is left on the canvas"


def scroll(x, y):
    """Pan by the scroll bars."""
    area = active_view().widget.parentWidget().parentWidget()
    for bar, by in ((area.horizontalScrollBar(), x), (area.verticalScrollBar(), y)):
        bar.setValue(bar.value() + by)
    yield 200
