"""What Krita loads: the docker and the actions."""

from __future__ import annotations

from typing import Any

from krita import DockWidgetFactory, DockWidgetFactoryBase, Extension, Krita

from .actions import KEY_ACTIONS
from .ui.docker import Docker
from .ui.words import tr

DOCKER = "velatura"


class Actions(Extension):
    """Entries of Krita's menus and shortcuts (velatura.action)."""

    def setup(self) -> None:
        pass

    def createActions(self, window: Any) -> None:
        show = window.createAction("velatura_show", "Velatura", "tools/scripts")
        show.triggered.connect(lambda checked=False: _show_docker())
        for name, action in KEY_ACTIONS.items():
            made = window.createAction(name, tr(action.text), action.menu)
            made.triggered.connect(lambda checked=False, name=name: _run(name))


def _dockers() -> list[Any]:
    """Those of the active window first: every window has its own."""
    # Not window.dockers: Krita deletes that window right after createActions, and 5.1 lacks it.
    found = [d for d in Krita.instance().dockers() if d.objectName() == DOCKER]
    active = Krita.instance().activeWindow()
    if active is not None:
        found.sort(key=lambda docker: docker.window() != active.qwindow())
    return found


def _show_docker() -> None:
    for docker in _dockers():
        docker.setVisible(True)
        docker.raise_()


def _run(action: str) -> None:
    for docker in _dockers()[:1]:
        docker.run(action)


def register() -> None:
    """Called once, when Krita imports the plugin."""
    app = Krita.instance()
    app.addDockWidgetFactory(
        DockWidgetFactory(DOCKER, DockWidgetFactoryBase.DockPosition.DockRight, Docker)
    )
    app.addExtension(Actions(app))
