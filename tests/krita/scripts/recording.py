"""A small picture painted with Krita's own brush, and what the canvas held meanwhile, again and again.

KT_FRAMES: a folder for frames, each what the document holds as BGRA, packed by zlib; their names are
the milliseconds since the first stroke.
"""

import math
import os
import time
import zlib
from pathlib import Path

import kt
from krita import Krita, ManagedColor
from PyQt5.QtCore import QPointF, QTimer
from velatura.krita_plugin import view

SIDE = 1024
FRAMES = Path(os.environ["KT_FRAMES"])
EVERY_MS = 25


def hill(x):
    return 690 + 25 * math.sin(x / 140)


def arc(x, y, across, down, begin, end, count):
    turns = [begin + (end - begin) * i / count for i in range(count + 1)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in turns]


# Colour in parts of 255, width of the brush in pixels of the canvas, and the places it goes through.
STROKES = (
    ((150, 190, 230), 220, [(x, 150 + 30 * math.sin(x / 90)) for x in range(60, 980, 30)]),
    ((172, 206, 236), 220, [(x, 360 + 20 * math.sin(x / 120)) for x in range(970, 50, -30)]),
    ((96, 140, 70), 200, [(x, hill(x) + 60) for x in range(40, 1000, 30)]),
    ((80, 124, 60), 200, [(x, hill(x) + 220) for x in range(990, 40, -30)]),
    ((96, 66, 44), 130, [(300 + y / 30, y) for y in range(720, 420, -15)]),
    ((40, 110, 52), 180, arc(305, 350, 120, 90, 0, 2 * math.pi, 32)),
    ((58, 132, 64), 150, arc(300, 330, 60, 50, math.pi, 3 * math.pi, 20)),
    ((246, 214, 96), 140, arc(820, 170, 45, 45, 0, 2 * math.pi, 16)),
    ((176, 60, 48), 140, [(640, 660), (700, 600), (760, 540), (820, 600), (880, 660)]),
    ((226, 210, 180), 150, [(x, 720) for x in range(670, 870, 15)]),
    ((60, 100, 52), 130, [(x, 900 + 25 * math.sin(x / 40)) for x in range(80, 960, 22)]),
)


def test():
    app = Krita.instance()
    doc = yield from kt.new_document(SIDE, SIDE)
    window = app.activeWindow().activeView()
    canvas = view.active_view()
    to_widget = canvas.to_widget()
    seen, start = [0], time.perf_counter()

    def look():
        pixels = bytes(doc.pixelData(0, 0, SIDE, SIDE))
        mark = zlib.crc32(pixels)
        if mark != seen[-1]:
            seen.append(mark)
            milliseconds = round(1e3 * (time.perf_counter() - start))
            (FRAMES / f"{milliseconds:06}").write_bytes(zlib.compress(pixels, 1))

    look()
    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(EVERY_MS)
    for colour, width, places in STROKES:
        ink = ManagedColor("RGBA", "U8", "")
        red, green, blue = (part / 255 for part in colour)
        ink.setComponents([blue, green, red, 1.0])
        window.setForeGroundColor(ink)
        window.setBrushSize(width)
        yield 150
        spots = [canvas.widget.mapToGlobal(to_widget.map(QPointF(*p)).toPoint()) for p in places]
        yield from kt.stroke([(spot.x(), spot.y()) for spot in spots])
        yield 250
    timer.stop()
    doc.waitForDone()
    look()
    doc.setModified(False)
    kt.report(frames=len(seen))
