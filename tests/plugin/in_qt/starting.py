"""A press while no server runs, and who starts and ends one. Run by test_in_qt.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from panels import click, find
from tiny import MODEL
from velatura.krita_plugin import state
from velatura.krita_plugin.first_press import FirstPress
from velatura.krita_plugin.line import STARTING
from velatura.krita_plugin.link import Link
from velatura.krita_plugin.server_desk import ServerDesk
from velatura.krita_plugin.state import LinkState

READY = LinkState(state.READY, "Ready on CPU.")
STOPPED = LinkState(state.NO_SERVER, "The server stopped (1): boom")


@pytest.fixture
def link(folder):
    made = Link(folder)
    yield made
    made.stop()


@pytest.fixture
def presses(panel, link):
    made = []
    link.first = FirstPress(panel, link, lambda: made.append(1))
    return made


def may_start(folder):
    (folder / "launch.json").write_text(json.dumps({"command": [sys.executable, "-c", "pass"]}))


def show_model(panel, link):
    panel.show_models((MODEL,))
    link.catalogue.emit((MODEL,))


def test_without_anything_to_start_the_press_is_not_kept(app, panel, link, presses):
    assert not link.first.ask()
    link.state_changed.emit(READY)
    show_model(panel, link)
    app.processEvents()
    assert presses == []


@pytest.mark.parametrize("models_first", [True, False])
def test_the_press_is_made_once_when_the_server_can_paint(
    app, panel, link, folder, presses, models_first
):
    may_start(folder)
    assert link.first.ask()
    assert find(panel, "notice").text().startswith("The server is starting")
    link.state_changed.emit(STARTING)
    if models_first:
        show_model(panel, link)
        link.state_changed.emit(READY)
    else:
        link.state_changed.emit(READY)
        show_model(panel, link)
    app.processEvents()
    link.state_changed.emit(READY)
    app.processEvents()
    assert presses == [1]


def test_cancel_forgets_it(app, panel, link, folder, presses):
    may_start(folder)
    link.first.ask()
    click(panel, "retry")
    link.state_changed.emit(READY)
    show_model(panel, link)
    app.processEvents()
    assert presses == []


def test_a_server_that_does_not_start_says_why_and_the_press_is_made_no_more(
    app, panel, link, folder, presses
):
    may_start(folder)
    link.first.ask()
    link.state_changed.emit(STARTING)
    link.state_changed.emit(STOPPED)
    assert find(panel, "notice").text() == STOPPED.reason
    link.state_changed.emit(READY)
    show_model(panel, link)
    app.processEvents()
    assert presses == []


@pytest.mark.parametrize(
    ("started", "stays", "ends"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_a_server_ends_with_the_krita_that_started_it_unless_it_shall_stay(
    panel, link, folder, monkeypatch, started, stays, ends
):
    monkeypatch.setenv("VELATURA_HOME", str(folder))
    desk = ServerDesk(panel, link, None)
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        about = {"pid": server.pid, "host": "127.0.0.1", "port": 1}
        (folder / "server.json").write_text(json.dumps(about))
        link.has_started = started
        desk.end(stays)
        if ends:
            assert server.wait(20) != 0
        else:
            assert server.poll() is None
    finally:
        server.kill()
        server.wait()


def test_with_krita_it_starts_only_where_one_is_installed_and_none_runs(
    panel, link, folder, monkeypatch
):
    monkeypatch.setenv("VELATURA_HOME", str(folder))
    desk = ServerDesk(panel, link, None)
    desk.start_with_krita()
    assert not link.has_started
    may_start(folder)
    about = {"pid": os.getpid(), "host": "127.0.0.1", "port": 1}
    (folder / "server.json").write_text(json.dumps(about))
    desk.start_with_krita()
    assert not link.has_started
    (folder / "server.json").unlink()
    desk.start_with_krita()
    assert link.has_started
