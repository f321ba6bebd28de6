"""A docker of its own, and a painter at the link to real server processes."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "server"))

from harness import ServerProcess
from velatura.krita_plugin import state
from velatura.krita_plugin.link import Link
from velatura.krita_plugin.qt import QT_MAJOR, QtWidgets
from velatura.krita_plugin.ui.panel import Panel


@pytest.fixture(scope="session")
def app():
    assert int(os.environ["VELATURA_QT"]) == QT_MAJOR
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture(scope="session")
def panels(app):
    """All that were made: in Krita Qt deletes them, and PyQt6 may crash where Python collects them."""
    return []


@pytest.fixture
def panel(app, panels):
    """As small as a docker gets."""
    made = Panel()
    panels.append(made)
    made.resize(260, 480)
    made.show()
    app.processEvents()
    return made


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "velatura"
    path.mkdir()
    return path


@pytest.fixture
def start(tmp_path):
    """``start(folder)``: a server process of this computer; ``start()``: one of another."""
    made = []

    def run(at=None, **settings):
        made.append(ServerProcess(at or tmp_path / f"there-{len(made)}", **settings))
        return made[-1].start()

    yield run
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.stop()


@pytest.fixture
def serve(folder, start):
    return partial(start, folder)


class Painter:
    """The GUI's side: what the link has said, in order."""

    def __init__(self, app, folder, places=True):
        self.app, self.link = app, Link(folder)
        self.states, self.models, self.results, self.errors, self.news = [], [], [], [], []
        self.link.state_changed.connect(self.states.append)
        self.link.catalogue.connect(self.models.append)
        self.maps = []
        self.link.control_map.connect(self.maps.append)
        self.link.failed.connect(self.errors.append)
        self.link.result.connect(self._arrived)
        self.link.news.connect(lambda: self.news.extend(self.link.take_news()))
        self.places = places
        self.link.start()

    def _arrived(self, result):
        self.results.append(result)
        if self.places:
            self.link.placed(result.job, result.variant)

    def until(self, condition, seconds=30, what=""):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (what, self.states, self.errors)
            self.app.processEvents()
            time.sleep(0.005)

    def rest(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.005)

    def ready(self):
        self.until(lambda: self.states and self.states[-1].kind == state.READY, what="ready")
        self.until(lambda: self.models)

    @property
    def kinds(self):
        return [each.kind for each in self.states]


@pytest.fixture
def painter(app, folder):
    painters = []

    def make(**options):
        painters.append(Painter(app, folder, **options))
        return painters[-1]

    yield make
    for each in painters:
        each.link.stop()
