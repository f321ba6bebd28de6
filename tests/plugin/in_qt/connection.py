"""The light, its menu, and what the docker shows of several servers. Run by test_in_qt.py."""

from __future__ import annotations

import pytest
from panels import find, heard, thumbnails
from velatura.krita_plugin import state
from velatura.krita_plugin.qt import QtCore
from velatura.krita_plugin.state import LinkState

READY = LinkState(state.READY, "Ready on CPU.")


def opened(connection):
    """The entries of the light's menu: text -> action."""
    connection.menu.aboutToShow.emit()
    return {action.text(): action for action in connection.menu.actions() if action.text()}


def test_the_menu_offers_every_server_and_checks_the_one_that_paints(panel):
    connection = panel.connection
    connection.show_servers([("a1b2c3d4", "studio & co"), ("b1b2c3d4", "cellar")], "b1b2c3d4")
    entries = opened(connection)
    assert list(entries) == ["This computer", "studio && co", "cellar", "Servers and settings"]
    assert [text for text, entry in entries.items() if entry.isChecked()] == ["cellar"]
    chosen, wanted = heard(connection.chosen), heard(connection.settings_wanted)
    for entry in entries.values():
        entry.trigger()
    assert chosen == [("",), ("a1b2c3d4",), ("b1b2c3d4",)]
    assert wanted == [()]


def test_the_menu_says_what_other_servers_still_owe_and_starts_only_where_that_helps(panel):
    connection = panel.connection
    connection.show_servers([("a1b2c3d4", "studio")], "")
    connection.show_owed({"": 3, "a1b2c3d4": 2})
    panel.show_link(READY)
    assert list(opened(connection))[:2] == ["This computer", "studio (still to come: 2)"]
    assert "Start server" not in opened(connection)
    panel.show_link(LinkState(state.NO_SERVER, "No server yet."))
    starts = heard(connection.start_server)
    opened(connection)["Start server"].trigger()
    assert starts == [()]


def test_the_row_says_which_server_it_is_where_it_is_not_this_computers(panel):
    panel.show_link(READY)
    assert find(panel, "reason").text() == "Ready on CPU."
    panel.connection.show_servers([("a1b2c3d4", "studio")], "a1b2c3d4")
    assert find(panel, "reason").text() == "studio: Ready on CPU."
    panel.show_link(LinkState(state.UNREACHABLE, "Nothing answers."))
    assert find(panel, "reason").text() == "studio"
    assert find(panel, "why").text() == "Nothing answers."


def test_long_names_and_reasons_neither_widen_the_docker_nor_outgrow_it(panel, app):
    long = "a name that is far too long for any docker"
    panel.connection.show_servers([("a1b2c3d4", long)], "a1b2c3d4")
    panel.show_link(LinkState(state.UNREACHABLE, long + ": " + long))
    app.processEvents()
    app.processEvents()
    assert (panel.width(), panel.height()) == (260, 480)
    assert panel.minimumSizeHint().width() <= 260
    assert panel.connection.light.height() >= 24


@pytest.mark.parametrize("is_painting", [False, True])
def test_keep_is_there_without_scrolling_when_pictures_come(panel, app, is_painting):
    options = find(panel, "options")
    options.verticalScrollBar().setValue(options.verticalScrollBar().maximum())
    panel.show_painting(is_painting)
    if is_painting:
        panel.progress.show_stage("Painting", 0.5)
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    for _ in range(3):
        app.processEvents()
    assert panel.height() == 480
    for name in ("strip", "keep", "keep_mask", "compare", "discard"):
        widget = find(panel, name)
        seen = widget.visibleRegion().boundingRect()
        assert seen.size() == widget.size(), name
    # What the painter scrolled to stays when more come.
    options.verticalScrollBar().setValue(options.verticalScrollBar().maximum())
    QtCore.QCoreApplication.processEvents()
    there = options.verticalScrollBar().value()
    panel.strip.show_pictures(thumbnails(0, 1, 2, 3))
    for _ in range(3):
        app.processEvents()
    assert options.verticalScrollBar().value() == there > 0


def test_what_went_wrong_is_seen_also_while_pictures_wait(panel, app):
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    panel.notice.say("The device ran out of memory.", lambda: None)
    for _ in range(3):
        app.processEvents()
    for name in ("notice", "retry"):
        widget = find(panel, name)
        assert widget.visibleRegion().boundingRect().size() == widget.size(), name


class Paints(QtCore.QObject):
    """How often a widget was painted."""

    count = 0

    def eventFilter(self, watched, event):
        self.count += event.type() == QtCore.QEvent.Type.Paint
        return False


def test_the_bar_is_painted_with_the_next_frame_not_in_the_middle_of_ours(panel, app):
    panel.progress.show_stage("Painting", 0.1)
    app.processEvents()
    paints = Paints()
    panel.progress.bar.installEventFilter(paints)
    for done in (0.3, 0.5, 0.7):
        panel.progress.show_stage("Painting", done)
    assert paints.count == 0
    app.processEvents()
    assert paints.count == 1
    assert panel.progress.bar.value() == 700
