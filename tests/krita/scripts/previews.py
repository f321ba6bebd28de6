"""The picture so far lies over the canvas where its layer will lie, in the layer's shape."""

import keeping
import kt
import paint
from PyQt5.QtCore import Qt
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QAction

# Steps of 8 bits by which the small picture's alpha may differ from the layer's, on average.
TOLERANCE = 4
# Not the same to any side, so that a shape that is scaled or moved is seen.
TRIANGLE = b"".join(
    b"\xff" * (paint.WIDTH - paint.WIDTH * y // paint.HEIGHT)
    + bytes(paint.WIDTH * y // paint.HEIGHT)
    for y in range(paint.HEIGHT)
)


def seen_while_painted():
    """``shown = yield from seen_while_painted()``: the picture so far, as it lies over the canvas."""
    sheet = None

    def there():
        nonlocal sheet
        sheet = keeping.over_canvas()
        return sheet is not None and kt.find("cancel").isVisible()

    yield kt.until(there, 60, "the picture so far over the canvas")
    return sheet._shown


def alpha_bytes(image):
    image = image.convertToFormat(QImage.Format_RGBA8888)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return bytes(bits)[3::4]


def lies_where_its_layer_lies(doc, moved=(0, 0)):
    """moved: by how much Keep moves what is on the canvas."""
    shown = yield from seen_while_painted()
    rect, alpha = shown.rect, alpha_bytes(shown.image)
    yield paint.waits(1)
    yield from paint.painted()
    count = len(paint.stack(doc))
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, count + 1)
    layer = paint.stack(doc)[-1]
    place = (rect.x + moved[0], rect.y + moved[1], rect.width, rect.height)
    bounds = layer.bounds()
    assert (bounds.x(), bounds.y(), bounds.width(), bounds.height()) == place, (bounds, place)
    kept = QImage(bytes(layer.pixelData(*place)), *place[2:], QImage.Format_ARGB32)
    kept = kept.scaled(shown.image.size(), Qt.IgnoreAspectRatio, Qt.SmoothTransformation)
    off = sum(abs(a - b) for a, b in zip(alpha, alpha_bytes(kept), strict=True)) / len(alpha)
    kt.say(f"{rect}: {shown.image.width()} x {shown.image.height()}, {off:.1f} steps off")
    assert off < TOLERANCE, f"its alpha differs by {off:.1f} steps on average"


def of_a_selection(percent, label):
    doc = yield from paint.picture()
    kt.select_mask(doc, *paint.AREA, TRIANGLE)
    yield paint.label("Fill")
    paint.strength(percent)
    yield paint.label(label)
    kt.find("steps").setValue(150)
    paint.press()
    yield from lies_where_its_layer_lies(doc)
    paint.strength(100)


def of_a_fill():
    yield from of_a_selection(100, "Fill")


def of_a_refined_selection():
    yield from of_a_selection(45, "Refine selection")


SIDES = {"left": (48, 0), "top": (0, 48), "right": (0, 0), "bottom": (0, 0)}


def of_an_expansion_to_each_side():
    for side, moved in SIDES.items():
        doc = yield from paint.picture()
        kt.find("press_more").menu().findChild(QAction, "choose_expand").trigger()
        yield paint.label("Expand")
        kt.find("enlarge_by").setValue(48)
        kt.click(kt.find(f"enlarge_{side}"))
        kt.find("steps").setValue(150)
        paint.press()
        yield from lies_where_its_layer_lies(doc, moved)
        rows = kt.docker().controller.results.together
        yield kt.until(lambda rows=rows: rows.is_settled, 10, "the rows of the History")
        paint.empty_strip()
