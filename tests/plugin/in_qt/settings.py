"""The settings' window, by mouse and keyboard, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
from velatura.krita_plugin import defaults
from velatura.krita_plugin.preferences import DEFAULTS, MOST_SERVERS, Preferences
from velatura.krita_plugin.qt import QT_MAJOR, Qt, QtWidgets
from velatura.krita_plugin.servers import Server
from velatura.krita_plugin.state import FIRST_STRENGTHS, LAYER, Memory, Settings
from velatura.krita_plugin.ui.panel import Panel
from velatura.krita_plugin.ui.settings import SettingsDialog

QTest = importlib.import_module(f"PyQt{QT_MAJOR}.QtTest").QTest
LEFT = Qt.MouseButton.LeftButton
STUDIO = Server("a1b2c3d4", "studio", "studio.local", "secret")


@pytest.fixture
def dialog(app):
    made = SettingsDialog()
    made.show()
    yield made
    made.close()


def heard_by(signal):
    heard = []
    signal.connect(lambda *values: heard.append(values))
    return heard


def write(line, text):
    line.selectAll()
    QTest.keyClicks(line, text)
    QTest.keyClick(line, Qt.Key.Key_Return)


def test_a_number_typed_is_told_once_and_enter_presses_no_button(dialog):
    changed, reset = heard_by(dialog.changed), heard_by(dialog.reset)
    write(dialog.history, "12")
    assert changed == [({"history_mb": 12},)]
    dialog.prompts.setValue(3)
    assert changed[1:] == [({"prompts": 3},)]
    assert not reset


def test_every_field_tells_what_it_is_and_shows_what_was_stored(dialog):
    changed = heard_by(dialog.changed)
    dialog.variants.setValue(4)
    dialog.soft_edge.setValue(0)
    dialog.soft_edge.setValue(-1)
    dialog.refine.setValue(60)
    dialog.refine_selection.setValue(30)
    dialog.paint_from.choose(LAYER)
    assert [change for (change,) in changed] == [
        {"variants": 4},
        {"soft_edge": 0},
        {"soft_edge": None},
        {"refine": 60},
        {"refine_selection": 30},
        {"paint_from": LAYER},
    ]
    changed.clear()
    stored = Preferences(9, 8, 7, 6, LAYER, 5, 4, (STUDIO,))
    dialog.show_preferences(stored)
    assert changed == []
    shown = (dialog.history, dialog.prompts, dialog.variants, dialog.soft_edge)
    assert [field.value() for field in shown] == [9, 8, 7, 6]
    assert (dialog.refine.value(), dialog.refine_selection.value()) == (5, 4)
    assert dialog.paint_from.currentData() == LAYER
    assert dialog.servers.name.text() == "studio"
    assert dialog.servers.token.displayText() != "secret", "it is hidden"
    dialog.show_preferences(Preferences())
    assert dialog.soft_edge.text() == dialog.variants.text() == "Automatic"


def test_each_button_tells_its_wish(dialog):
    for button, signal in ((dialog.back, dialog.reset), (dialog.keys, dialog.shortcuts)):
        heard = heard_by(signal)
        QTest.mouseClick(button, LEFT)
        assert heard == [()]


def test_it_holds_up_no_one_and_fits_a_small_screen_and_a_pen(dialog):
    assert not dialog.isModal()
    dialog.servers.show_servers((replace(STUDIO, name="far too long a name " * 3),))
    dialog.resize(260, 480)
    QtWidgets.QApplication.processEvents()
    assert (dialog.width(), dialog.height()) == (260, 480)
    scroll = dialog.findChild(QtWidgets.QScrollArea)
    assert scroll.widget().width() <= scroll.viewport().width()
    fields = (
        *dialog.findChildren(QtWidgets.QSpinBox),
        *dialog.findChildren(QtWidgets.QComboBox),
        *dialog.findChildren(QtWidgets.QPushButton),
        *(x for x in dialog.findChildren(QtWidgets.QLineEdit) if x.objectName().startswith("s")),
    )
    assert len(fields) == 13
    for field in fields:
        assert field.height() >= 32, field.objectName()
        assert field.toolTip(), field.objectName()


def test_a_server_is_added_written_and_removed(dialog):
    servers, changed = dialog.servers, heard_by(dialog.changed)
    assert not servers.fields.isVisible()
    QTest.mouseClick(servers.add, LEFT)
    (added,) = changed[-1][0]["servers"]
    assert added.name == "Server 1"
    assert dialog.focusWidget() is servers.name
    write(servers.name, "studio & co")
    write(servers.address, " 10.0.0.2:7900 ")
    write(servers.token, "secret")
    assert changed[-1] == (
        {"servers": (Server(added.id, "studio & co", "10.0.0.2:7900", "secret"),)},
    )
    assert not servers.wrong.isVisible()
    QTest.mouseClick(servers.add, LEFT)
    first, second = changed[-1][0]["servers"]
    assert first.id != second.id
    assert servers.list.currentData() == second.id
    QTest.mouseClick(servers.remove, LEFT)
    assert changed[-1] == ({"servers": (first,)},)
    assert servers.name.text() == "studio & co"


def test_a_server_keeps_its_name_when_it_is_emptied(dialog):
    dialog.show_preferences(Preferences(servers=(STUDIO,)))
    changed = heard_by(dialog.changed)
    write(dialog.servers.name, " ")
    assert changed == []
    assert dialog.servers.name.text() == "studio"


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("address", "my studio", "The address must be a name or a number"),
        ("token", "two words", "The token must be one word"),
    ],
)
def test_what_cannot_be_right_is_said_under_the_field_and_is_kept(dialog, field, text, words):
    dialog.show_preferences(Preferences(servers=(STUDIO,)))
    changed = heard_by(dialog.changed)
    write(getattr(dialog.servers, field), text)
    assert dialog.servers.wrong.isVisible()
    assert dialog.servers.wrong.text().startswith(words)
    assert changed == [({"servers": (replace(STUDIO, **{field: text}),)},)]


def test_no_more_servers_than_can_be_stored(dialog):
    many = tuple(replace(STUDIO, id=f"{n:08x}") for n in range(1, MOST_SERVERS + 1))
    dialog.show_preferences(Preferences(servers=many))
    assert not dialog.servers.add.isEnabled()
    dialog.show_preferences(Preferences(servers=many[1:]))
    assert dialog.servers.add.isEnabled()


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


def test_the_docker_goes_back_to_what_it_begins_with(app):
    first = Preferences(variants=2, soft_edge=9, paint_from=LAYER, refine=60, refine_selection=30)
    panel = Panel(Memory({**FIRST_STRENGTHS, "refine": 7}, variants=5))
    defaults.use(panel, first, ["refine"])
    assert panel.memory.strengths == {**FIRST_STRENGTHS, "refine": 60}
    assert panel.memory.variants == 5
    assert panel.settings.soft_edge is None
    defaults.use(panel, first, DEFAULTS)
    assert panel.memory.strengths == first.memory.strengths
    assert (panel.memory.variants, panel.memory.paint_from) == (2, LAYER)
    assert (panel.settings.variants, panel.settings.soft_edge) == (2, 9)


def test_a_docker_that_remembers_nothing_begins_with_the_defaults():
    first = Preferences(variants=2, paint_from=LAYER, refine=60)
    assert Memory.from_json({}, first.memory) == first.memory
    kept = Memory.from_json({"variants": 3, "strengths": {"refine": 9}}, first.memory)
    assert (kept.variants, kept.paint_from, kept.strengths["refine"]) == (3, LAYER, 9)
