"""qt.py and images.py under both PyQt wheels, each in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from velatura.krita_plugin import qt
from velatura.krita_plugin.qt import choose

SAME_IN_BOTH = """
import os, random, sys
from velatura.krita_plugin.qt import QT_MAJOR, QAction, QShortcut, Qt, QtCore, QtGui, Signal, Slot
from velatura.krita_plugin.images import gray_image, rgba_bytes, rgba_image, swap_red_blue

assert QT_MAJOR == int(os.environ["VELATURA_QT"])
assert not any(m.startswith(f"PyQt{11 - QT_MAJOR}.") for m in sys.modules)
assert Qt.AlignmentFlag.AlignLeft and Qt.WidgetAttribute.WA_TransparentForMouseEvents

class Emitter(QtCore.QObject):
    sent = Signal(int)
seen = []
emitter = Emitter()
emitter.sent.connect(seen.append)
emitter.sent.emit(3)
assert seen == [3]

for width, height in ((1, 1), (3, 5), (513, 17)):
    data = random.Random(1).randbytes(width * height * 4)
    assert rgba_bytes(rgba_image(data, width, height)) == data
    swapped = swap_red_blue(memoryview(data), width, height)
    assert swapped[0::4] == data[2::4] and swapped[1::4] == data[1::4]
    assert swapped[2::4] == data[0::4] and swapped[3::4] == data[3::4]
    gray = gray_image(data[: width * height], width, height)
    expected = b"".join(bytes([v, v, v, 255]) for v in data[: width * height])
    assert rgba_bytes(gray) == expected
try:
    rgba_image(bytes(15), 2, 2)
except ValueError as error:
    assert "16 bytes" in str(error)
else:
    raise AssertionError("too few bytes must be refused")
"""


@pytest.mark.parametrize("major", ["5", "6"])
def test_signals_enums_and_pixels_are_the_same_in_both(major):
    environ = {"VELATURA_QT": major, "QT_QPA_PLATFORM": "offscreen", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", SAME_IN_BOTH], env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_binding_that_is_loaded_wins_over_the_environment():
    assert choose({"PyQt6.QtCore": None}, {"VELATURA_QT": "5"}) == 6
    assert choose({"PyQt5.QtCore": None}, {"VELATURA_QT": "6"}) == 5


def test_the_environment_chooses_when_none_is_loaded():
    assert choose({}, {"VELATURA_QT": "6"}) == 6
    with pytest.raises(ImportError, match="must be 5 or 6"):
        choose({}, {"VELATURA_QT": "4"})


def test_everything_else_gets_qt_from_there():
    files = Path(qt.__file__).parent.rglob("*.py")
    named = [path.name for path in files if re.search("PyQt[56]", path.read_text("utf-8"))]
    assert named == ["qt.py"]
