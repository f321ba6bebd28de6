"""The settings' window, by mouse and keyboard, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

import importlib

import pytest
from velatura.krita_plugin.preferences import Preferences
from velatura.krita_plugin.qt import QT_MAJOR, Qt, QtWidgets
from velatura.krita_plugin.state import FIRST_STRENGTHS, Memory, Settings
from velatura.krita_plugin.ui.panel import Panel
from velatura.krita_plugin.ui.settings import SettingsDialog

QTest = importlib.import_module(f"PyQt{QT_MAJOR}.QtTest").QTest
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="session")
def app():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture
def dialog(app):
    made = SettingsDialog(Preferences())
    made.show()
    yield made
    made.close()


def heard_by(signal):
    heard = []
    signal.connect(lambda *values: heard.append(values))
    return heard


def test_a_number_typed_is_told_once_and_enter_presses_no_button(dialog):
    changed, reset = heard_by(dialog.changed), heard_by(dialog.strengths_reset)
    dialog.history.selectAll()
    QTest.keyClicks(dialog.history, "12")
    QTest.keyClick(dialog.history, Qt.Key.Key_Return)
    assert changed == [(Preferences(history_mb=12),)]
    dialog.prompts.setValue(3)
    assert changed[1:] == [(Preferences(history_mb=12, prompts=3),)]
    assert not reset


def test_each_button_tells_its_wish(dialog):
    for button, signal in (
        (dialog.strengths, dialog.strengths_reset),
        (dialog.keys, dialog.shortcuts),
    ):
        heard = heard_by(signal)
        QTest.mouseClick(button, LEFT)
        assert heard == [()]


def test_it_holds_up_no_one_and_fits_a_small_screen_and_a_pen(dialog):
    assert not dialog.isModal()
    assert dialog.minimumSizeHint().width() <= 260
    for field in (dialog.history, dialog.prompts, dialog.strengths, dialog.keys):
        assert field.height() >= 32
        assert field.toolTip()


def test_the_gear_asks_for_the_settings_and_does_not_widen_the_docker(app):
    panel = Panel()
    heard = heard_by(panel.connection.settings_wanted)
    QTest.mouseClick(panel.connection.gear, LEFT)
    assert heard == [()]
    assert panel.minimumSizeHint().width() <= 260
    assert panel.connection.minimumSizeHint().width() <= 252


def test_fewer_prompts_are_forgotten_at_once_and_stay_so(app):
    panel = Panel(Memory(FIRST_STRENGTHS, prompts=("c", "b", "a")))
    remembered = heard_by(panel.remembered)
    panel.limit_prompts(2)
    assert panel.memory.prompts == ("c", "b")
    assert len(remembered) == 1
    panel.sent(Settings(prompt="d"), 1)
    assert panel.memory.prompts == ("d", "c")


def test_the_strengths_go_back_to_their_first_values(app):
    panel = Panel(Memory({**FIRST_STRENGTHS, "refine": 7}))
    panel.reset_strengths()
    assert panel.memory.strengths == FIRST_STRENGTHS
