"""The docker: where a painter works with Velatura."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from krita import DockWidget, Krita

from ...protocol.discovery import data_folder
from .. import defaults, preferences
from ..actions import KEY_ACTIONS
from ..controller import Controller
from ..display import Shown
from ..document import active_document
from ..install_desk import InstallDesk
from ..link import Link
from ..live_area import LiveChoice
from ..live_desk import LiveDesk
from ..live_keeper import LiveKeeper
from ..overlay import Overlay
from ..qt import QtCore, QtGui, QtWidgets
from ..server_desk import ServerDesk
from ..shortcuts import open_page
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
        self._chosen, wrong = preferences.load(data_folder())
        self.panel = Panel(Memory.from_json(_read(_MEMORY), self._chosen.memory), self)
        defaults.use(self.panel, self._chosen, ["soft_edge"])  # the others are remembered
        self.setWidget(self.panel)
        self.panel.remembered.connect(self._remember)
        self.panel.notice.said.connect(self._say_unseen)
        self.panel.model.folder.chosen.connect(self._use_folder)
        self.panel.left.connect(self._go_to_canvas)
        self.link = Link(data_folder())
        self.controller = Controller(self.panel, self.link, active_document, self)
        self.panel.live_options.choose(LiveChoice.from_json(_read(_LIVE)))
        keeper = LiveKeeper(self.panel, self.controller.results.strokes)
        self.live = LiveDesk(self.panel, self.link, active_document, keeper, self)
        self.live.remembered.connect(lambda choice: _write(_LIVE, choice.to_json()))
        self.servers = ServerDesk(self.panel, self.link, self.controller, self)
        self.servers.told.connect(self._say)
        self.panel.connection.chosen.connect(self._choose_server)
        self.installation = InstallDesk(self.panel.install, data_folder(), parent=self)
        self.installation.startable.connect(self.panel.connection.set_startable)
        self.installation.slowness.connect(self.panel.connection.show_slowness)
        self.installation.start_wanted.connect(self.panel.connection.start_server)
        self.installation.said.connect(self.panel.notice.say)
        self.link.state_changed.connect(self.installation.link_changed)
        self.panel.connection.repair_wanted.connect(self.installation.repair)
        self.panel.connection.removal_wanted.connect(self.installation.ask_removal)
        self.panel.connection.can_manage = lambda: self.installation.can_manage
        self._settings = SettingsDialog(self)
        self._settings.changed.connect(self._prefer)
        self._settings.reset.connect(
            lambda: defaults.use(self.panel, self._chosen, preferences.DEFAULTS)
        )
        self._settings.shortcuts.connect(open_page)
        self.panel.connection.settings_wanted.connect(self._show_settings)
        if wrong:
            self.panel.notice.say(tr(wrong))
        self._over = Overlay(self)
        display = self.controller.results.display
        display.shown.connect(self._show_over)
        self._over.stroked.connect(display.put_away)
        self._over.escaped.connect(display.put_away)
        self._settle = QtCore.QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE)
        self._settle.timeout.connect(self.controller.look)
        # After undo, before anything is drawn: not inside Krita's own signal.
        self._follow = QtCore.QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.timeout.connect(self.controller.results.hiding.follow)
        self._follow.timeout.connect(self.controller.back.follow)
        self._glance = QtCore.QTimer(self)
        self._glance.timeout.connect(self._look_around)
        self._glance.start(_GLANCE)
        self._history: Any = None
        self._heard = ""
        self._is_guest = False  # shown in canvas-only mode for the prompt alone
        QtWidgets.QApplication.instance().aboutToQuit.connect(self.link.stop)
        QtWidgets.QApplication.instance().aboutToQuit.connect(self.installation.end)
        QtWidgets.QApplication.instance().aboutToQuit.connect(
            lambda: self.servers.end(self._chosen.stays)
        )
        # Its window was closed.
        self.destroyed.connect(self.link.hang_up)
        self.destroyed.connect(self.controller.results.workshop.close)
        self._follow_preferences()
        if self._chosen.starts_with_krita and not self._chosen.chosen.id:
            self.servers.start_with_krita()

    def run(self, action: str) -> None:
        """Do what a key of the painter's means (a name of KEY_ACTIONS)."""
        if action == "velatura_prompt":
            self._is_guest = not self.isVisible() and _is_canvas_only()
            self.setVisible(True)
            self.raise_()
        self.controller.glance()
        said = KEY_ACTIONS[action].run(self.panel)
        if said and self._heard != said:
            self._say(said)
        self._heard = ""

    def _go_to_canvas(self) -> None:
        """The keys belong to the brush again, without a click that would paint."""
        if self._is_guest:
            self.setVisible(False)
            self._is_guest = False
        view = active_view()
        if view is not None:
            view.widget.setFocus()

    def _use_folder(self, path: str) -> None:
        self.panel.notice.say(use_folder(data_folder(), path))

    def _show_settings(self) -> None:
        # Another window may have changed them; which server paints is each window's own.
        stored, wrong = preferences.load(data_folder())
        self._chosen = replace(stored, server=self._chosen.server)
        self._follow_preferences()
        if wrong:
            self.panel.notice.say(tr(wrong))
        self._settings.show_preferences(self._chosen)
        self._settings.show()
        self._settings.raise_()

    def _prefer(self, changes: dict[str, Any]) -> None:
        self._chosen = replace(self._chosen, **changes)
        self._follow_preferences()
        defaults.use(self.panel, self._chosen, set(changes) & set(preferences.DEFAULTS))
        try:
            preferences.save(data_folder(), self._chosen, changes)
        except OSError as error:
            self.panel.notice.say(
                tr("The settings could not be saved: {why}.", why=error.strerror or error)
            )

    def _choose_server(self, server: str) -> None:
        if server == self._chosen.chosen.id:
            self.servers.use(self._chosen.chosen)
        else:
            self._prefer({"server": server})

    def _follow_preferences(self) -> None:
        self.controller.results.most_bytes = self._chosen.history_bytes
        self.panel.limit_prompts(self._chosen.prompts)
        self.servers.follow(self._chosen)
        self.installation.follow(not self._chosen.chosen.id)

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
            if docker.objectName() == "History" and docker.window() == self.window():
                for view in docker.findChildren(QtWidgets.QAbstractItemView):
                    self._history = view.model()
                    self._history.modelReset.connect(self._settle.start)
                    self._history.modelReset.connect(self._follow.start)
                    for over in (self._over, self.controller.preview.overlay):
                        self._history.modelReset.connect(over.hear_change)
                    return

    def _remember(self) -> None:
        _write(_MEMORY, self.panel.habits.to_json())


def _is_canvas_only() -> bool:
    return bool(Krita.instance().action("view_show_canvas_only").isChecked())


def _write(name: str, value: Any) -> None:
    Krita.instance().writeSetting(_SETTINGS, name, json.dumps(value, ensure_ascii=False))


def _read(name: str) -> Any:
    try:
        return json.loads(Krita.instance().readSetting(_SETTINGS, name, "{}"))
    except ValueError:  # damaged settings: first values
        return None
