"""The docker: where a painter works with Velatura."""

from __future__ import annotations

import json
from typing import Any

from krita import DockWidget, Krita

from ...protocol.discovery import data_folder
from .. import preferences
from ..actions import KEY_ACTIONS
from ..controller import Controller
from ..document import active_document
from ..link import Link
from ..live_area import LiveChoice
from ..live_desk import LiveDesk
from ..overlay import Overlay
from ..qt import QtCore, QtGui, QtWidgets
from ..results import Shown
from ..state import Memory
from ..view import active_view
from .folders import use_folder
from .panel import Panel
from .settings import SettingsDialog
from .words import tr

_SETTINGS, _MEMORY, _LIVE = "velatura", "docker", "live"
# How long Krita may go on drawing before we look at what changed, in ms.
_SETTLE = 150
# Krita has no signal for the selection or the active document: a small look that often, in ms.
_GLANCE = 500
# How long a floating message stays, in ms.
_SAID_FOR = 2000


class Docker(DockWidget):
    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle("Velatura")
        self.panel = Panel(_recall(), self)
        self.setWidget(self.panel)
        self.panel.remembered.connect(self._remember)
        self.panel.notice.said.connect(self._say_unseen)
        self.panel.model.folder.chosen.connect(self._use_folder)
        self.panel.left.connect(self._go_to_canvas)
        self.link = Link(data_folder(), self)
        self.controller = Controller(self.panel, self.link, active_document, self)
        self.panel.live_options.choose(LiveChoice.from_json(_read(_LIVE)))
        self.live = LiveDesk(self.panel, self.link, active_document, self)
        self.live.remembered.connect(lambda choice: _write(_LIVE, choice.to_json()))
        chosen, wrong = preferences.load(data_folder())
        self._settings = SettingsDialog(chosen, self)
        self._settings.changed.connect(self._prefer)
        self._settings.strengths_reset.connect(self.panel.reset_strengths)
        # Krita's dialog runs a loop of its own: not inside our button's signal.
        self._settings.shortcuts.connect(lambda: QtCore.QTimer.singleShot(0, _open_shortcuts))
        self.panel.connection.settings_wanted.connect(self._show_settings)
        self._follow_preferences(chosen)
        if wrong:
            self.panel.notice.say(wrong)
        self._over = Overlay(self)
        self.controller.results.shown.connect(self._show_over)
        self._settle = QtCore.QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE)
        self._settle.timeout.connect(self.controller.look)
        # After undo, before anything is drawn: not inside Krita's own signal.
        self._follow = QtCore.QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.timeout.connect(self.controller.results.hiding.follow)
        self._glance = QtCore.QTimer(self)
        self._glance.timeout.connect(self._look_around)
        self._glance.start(_GLANCE)
        self._history: Any = None
        self._heard = ""
        QtWidgets.QApplication.instance().aboutToQuit.connect(self.link.stop)
        self.link.start()

    def run(self, action: str) -> None:
        """Do what a key of the painter's means (a name of KEY_ACTIONS)."""
        if action == "velatura_prompt":
            self.setVisible(True)
            self.raise_()
        self.controller.glance()
        said = KEY_ACTIONS[action].run(self.panel)
        if said and self._heard != said:
            self._say(said)
        self._heard = ""

    def _go_to_canvas(self) -> None:
        """The keys belong to the brush again, without a click that would paint."""
        view = active_view()
        if view is not None:
            view.widget.setFocus()

    def _use_folder(self, path: str) -> None:
        self.panel.notice.say(use_folder(data_folder(), path))

    def _show_settings(self) -> None:
        self._settings.show()
        self._settings.raise_()

    def _prefer(self, chosen: preferences.Preferences) -> None:
        self._follow_preferences(chosen)
        try:
            preferences.save(data_folder(), chosen)
        except OSError as error:
            self.panel.notice.say(
                tr("The settings could not be saved: {why}.", why=error.strerror or error)
            )

    def _follow_preferences(self, chosen: preferences.Preferences) -> None:
        self.controller.results.most_bytes = chosen.history_bytes
        self.panel.limit_prompts(chosen.prompts)

    def _say_unseen(self, sentence: str) -> None:
        """In canvas-only mode nobody sees the docker's line."""
        if not self.isVisible():
            self._heard = sentence
            self._say(sentence)

    def _say(self, sentence: str) -> None:
        window = Krita.instance().activeWindow()
        view = None if window is None else window.activeView()
        if view is not None:
            view.showFloatingMessage(sentence, QtGui.QIcon(), _SAID_FOR, 1)

    def _show_over(self, shown: Shown | None) -> None:
        if shown is None:
            self._over.hide()
        else:
            self._over.show(shown.image, shown.rect, document=shown.document)

    def canvasChanged(self, canvas: Any) -> None:
        """Krita calls this when another view becomes active."""
        self._over.follow()
        self._settle.start()
        self.live.follow()
        self.controller.preview.follow()

    def _look_around(self) -> None:
        if self._history is None:
            self._watch_history()
        if self.isVisible():
            self.controller.glance()

    def _watch_history(self) -> None:
        """Every undoable operation resets the model of Krita's own History docker."""
        for docker in Krita.instance().dockers():
            if docker.objectName() == "History":
                for view in docker.findChildren(QtWidgets.QAbstractItemView):
                    self._history = view.model()
                    self._history.modelReset.connect(self._settle.start)
                    self._history.modelReset.connect(self._follow.start)
                    return

    def _remember(self) -> None:
        _write(_MEMORY, self.panel.memory.to_json())


def _open_shortcuts() -> None:
    Krita.instance().action("options_configure").trigger()


def _write(name: str, value: Any) -> None:
    Krita.instance().writeSetting(_SETTINGS, name, json.dumps(value, ensure_ascii=False))


def _read(name: str) -> Any:
    try:
        return json.loads(Krita.instance().readSetting(_SETTINGS, name, "{}"))
    except ValueError:  # damaged settings: first values
        return None


def _recall() -> Memory:
    return Memory.from_json(_read(_MEMORY))
