"""What the tests of the docker's widgets share."""

from __future__ import annotations

import importlib

from velatura.krita_plugin.canvas import Canvas
from velatura.krita_plugin.images import png_bytes
from velatura.krita_plugin.qt import QT_MAJOR, Qt, QtGui, QtWidgets
from velatura.krita_plugin.ui.strip import Thumbnail
from velatura.protocol.region import Rect, Size

QTest = importlib.import_module(f"PyQt{QT_MAJOR}.QtTest").QTest
KEY, LEFT = Qt.Key, Qt.MouseButton.LeftButton
SIZE = Size(100, 100)
SELECTED = Canvas(SIZE, Rect(1, 1, 9, 9))
FROM_PICTURE = "From a picture (PNG)..."
LONG = "a name that is far too long for any docker " * 4


def find(panel, name):
    (found,) = panel.findChildren(QtWidgets.QWidget, name)
    return found


def click(panel, name):
    QTest.mouseClick(find(panel, name), LEFT)


def heard(signal):
    calls = []
    signal.connect(lambda *values: calls.append(values))
    return calls


def choose(panel, action):
    panel.press.choices[action].trigger()


def thumbnails(*variants, about="a boat"):
    image = QtGui.QImage(40, 20, QtGui.QImage.Format.Format_RGBA8888)
    image.fill(Qt.GlobalColor.red)
    return [Thumbnail(("job", n), png_bytes(image), about) for n in variants]
