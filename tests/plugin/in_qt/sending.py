"""The thumbnail of what a press would send. Run by test_in_qt.py."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from velatura.krita_plugin import canvas, sending
from velatura.krita_plugin.capture import Plan
from velatura.krita_plugin.qt import QtWidgets
from velatura.krita_plugin.ui.sent import SentRow
from velatura.protocol.region import Rect, Size

sys.path.insert(0, str(Path(__file__).parents[1]))
easel = importlib.import_module("easel")
SIZE = Size(96, 80)
WHOLE = Rect(0, 0, 96, 80)
PAPER = easel.Sheet("paper", (0, 0, 96, 80), easel.WHITE)
MARK = easel.Sheet("mark", (48, 0, 48, 80), easel.RED)
PLAN = Plan(action="refine", canvas=SIZE, region=WHOLE)


@pytest.fixture(scope="session", autouse=True)
def app():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


def colour(image, x, y):
    found = image.pixelColor(x, y)
    return found.red(), found.green(), found.blue(), found.alpha()


@pytest.mark.parametrize("by_lines", [False, True])
def test_the_region_is_shown_in_its_proportions(monkeypatch, by_lines):
    if by_lines:
        monkeypatch.setattr(sending, "_WHOLE", 0)
    document = easel.Easel(96, 80, [PAPER, MARK])
    image = sending.picture(document, PLAN, 48)
    assert (image.width(), image.height()) == (48, 40)
    assert colour(image, 10, 20) == (255, 255, 255, 255)
    assert colour(image, 40, 20) == (255, 0, 0, 255)


@pytest.mark.parametrize("by_lines", [False, True])
def test_what_is_not_selected_is_darker(monkeypatch, by_lines):
    if by_lines:
        monkeypatch.setattr(sending, "_WHOLE", 0)
    document = easel.Easel(96, 80, [PAPER], (Rect(0, 0, 48, 80), 255))
    image = sending.picture(document, replace(PLAN, action="fill", selected=True), 48)
    assert colour(image, 10, 20) == (255, 255, 255, 255)
    assert max(colour(image, 40, 20)[:3]) < 128


def test_layers_left_out_are_not_shown_and_one_layer_is_shown_alone():
    document = easel.Easel(96, 80, [PAPER, MARK])
    left_out = sending.picture(document, replace(PLAN, left_out=frozenset({"mark"})), 48)
    assert colour(left_out, 40, 20) == (255, 255, 255, 255)
    alone = sending.picture(document, replace(PLAN, layer="mark"), 48)
    assert colour(alone, 10, 20)[3] == 0
    assert colour(alone, 40, 20) == (255, 0, 0, 255)


def test_the_border_to_be_painted_is_empty():
    document = easel.Easel(96, 80, [PAPER])
    seen = canvas.enlarged(canvas.look(document), canvas.Sides(left=96))
    plan = Plan(
        action="expand",
        canvas=seen.size,
        region=Rect(0, 0, 192, 80),
        painted=seen.painted,
        origin=seen.origin,
    )
    image = sending.picture(document, plan, 96)
    assert (image.width(), image.height()) == (96, 40)
    assert colour(image, 20, 20)[3] == 0
    assert colour(image, 70, 20) == (255, 255, 255, 255)


def test_a_picture_is_asked_for_only_while_it_is_seen(app):
    row = SentRow()
    wishes = []
    row.wanted.connect(lambda: wishes.append(1))
    row.refresh()
    app.processEvents()
    assert wishes == []
    row.show()
    for _ in range(20):
        app.processEvents()
    assert len(wishes) == 1
    row.refresh()
    row.refresh()
    for _ in range(20):
        app.processEvents()
    assert len(wishes) == 2
