"""Finding and using widgets as a painter would: by mouse and keyboard."""

import subprocess

from krita import Krita
from PyQt5.QtCore import QPoint, Qt
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication, QWidget

from .stepping import until

__all__ = ["click", "docker", "find", "main_window", "press", "screenshot", "stroke", "type_text"]


def main_window():
    return Krita.instance().activeWindow().qwindow()


def docker(name="velatura"):
    """The docker of that id, made visible and raised above the others of its tab group."""
    found = [d for d in Krita.instance().dockers() if d.objectName() == name]
    assert found, f"no docker {name!r}: the plugin did not load"
    found[0].setVisible(True)
    found[0].raise_()
    return found[0]


def find(name, kind=QWidget, inside=None):
    """The one widget with that objectName in ``inside`` (by default the plugin's docker)."""
    inside = docker() if inside is None else inside
    found = inside.findChildren(kind, name)
    names = sorted({w.objectName() for w in inside.findChildren(QWidget) if w.objectName()})
    assert len(found) == 1, f"{len(found)} widgets named {name!r}; there are {names}"
    return found[0]


def click(widget, button=Qt.LeftButton, at=None):
    """A mouse click, on the middle or ``at`` (x, y). The widget must be visible and enabled."""
    assert widget.isVisible(), f"{widget.objectName()} is not visible"
    assert widget.isEnabled(), f"{widget.objectName()} is disabled"
    QTest.mouseClick(
        widget, button, Qt.NoModifier, widget.rect().center() if at is None else QPoint(*at)
    )


def type_text(widget, text):
    """Replace what a text field holds by typing."""
    widget.setFocus()
    QTest.keyClick(widget, Qt.Key_A, Qt.ControlModifier)
    QTest.keyClick(widget, Qt.Key_Delete)
    QTest.keyClicks(widget, text)


def press(widget, key, modifier=Qt.NoModifier):
    QTest.keyClick(widget, key, modifier)


def stroke(points, *, up=True, pause=0.02):
    """``yield from stroke(...)``: draw through these pixels of the screen, by the X server's mouse.

    up: False leaves the button down; ``yield from stroke([])`` lifts it.
    """
    words = ["xdotool"]
    for number, (x, y) in enumerate(points):
        words += ["mousemove", str(round(x)), str(round(y)), "sleep", str(pause)]
        if number == 0:
            words += ["mousedown", "1", "sleep", str(pause)]
    if up:
        words += ["mouseup", "1"]
    drawing = subprocess.Popen(words)
    yield until(lambda: drawing.poll() is not None, 30, "xdotool")
    assert drawing.returncode == 0, "xdotool"


def screenshot(path):
    """The whole (virtual) screen as PNG, with the canvas and everything over it."""
    assert QApplication.primaryScreen().grabWindow(0).save(str(path), "PNG"), path
