"""The connection light: which server paints, how it stands, why, and the button that starts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import state
from ..qt import QActionGroup, Qt, QtCore, QtGui, QtWidgets, Signal
from ..state import LinkState
from .parts import TOUCH, ElidedLabel, WrappedLabel, column, row, shrinkable, tool_button
from .words import tr

_COLORS = {
    state.READY: "#5fb85f",
    state.LOADING: "#d8b13c",
    state.CONNECTING: "#d8b13c",
    state.RESTARTING: "#d8b13c",
    state.UNREACHABLE: "#cf5b4d",
    state.REFUSED: "#cf5b4d",
    state.FAILED: "#cf5b4d",
    state.NO_SERVER: "#cf5b4d",
}
# These have a reason that the painter must read to the end.
_WRONG = (state.UNREACHABLE, state.REFUSED, state.FAILED)
# Of a name in the menu, in pixels.
_MENU_WIDTH = 300


class Light(QtWidgets.QToolButton):
    """A dot of about the height of a letter, with a menu."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("light")
        self.setAutoRaise(True)
        self.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.color = QtGui.QColor(_COLORS[state.CONNECTING])
        self.setFixedSize(TOUCH, TOUCH)

    def paintEvent(self, event: Any) -> None:
        side = max(10, self.fontMetrics().ascent())
        dot = QtCore.QRectF(0, 0, side, side)
        dot.moveCenter(QtCore.QRectF(self.rect()).center())
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.color)
        painter.drawEllipse(dot.adjusted(1, 1, -1, -1))
        painter.end()


class ConnectionRow(QtWidgets.QWidget):
    """chosen(id): paint with that server, "" for this computer's. stop_server, repair_wanted,
    removal_wanted: of this computer's.

    can_manage: whether the server of this computer was installed from here.
    """

    start_server = Signal()
    stop_server = Signal()
    repair_wanted = Signal()
    removal_wanted = Signal()
    settings_wanted = Signal()
    chosen = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._state = LinkState(state.CONNECTING, "Looking for the server.")
        self._servers: tuple[tuple[str, str], ...] = ()
        self._server = ""
        self._owed: Mapping[str, int] = {}
        self._is_startable = True
        self._slow_words = ""
        self.can_manage: Callable[[], bool] = lambda: False
        self.light = Light(self)
        self.menu = QtWidgets.QMenu(self.light)
        self.menu.setObjectName("server_menu")
        self.menu.setToolTipsVisible(True)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.light.setMenu(self.menu)
        self.reason = ElidedLabel("reason")
        self.why = WrappedLabel("why")
        self.button = shrinkable(QtWidgets.QPushButton(tr("Start server")))
        self.button.setObjectName("start_server")
        self.button.setToolTip(tr("Start Velatura's server on this machine"))
        self.button.clicked.connect(lambda checked=False: self.start_server.emit())
        self.gear = tool_button("settings", "\u2699", tr("Settings"))
        self.gear.setAutoRaise(True)
        self.gear.setAccessibleName(tr("Settings"))
        self.gear.clicked.connect(lambda checked=False: self.settings_wanted.emit())
        lines = column(self)
        lines.addLayout(row(self.light, self.reason, self.button, self.gear, stretch=1))
        lines.addWidget(self.why)
        self._show()

    def show_state(self, link: LinkState) -> None:
        self._state = link
        self._show()

    def show_servers(self, servers: Sequence[tuple[str, str]], chosen: str) -> None:
        """servers: (id, name) of those elsewhere; chosen: an id, "" for this computer."""
        self._servers, self._server = tuple(servers), chosen
        self._show()

    def set_startable(self, is_startable: bool) -> None:
        """False while this computer has no server that a button could start."""
        self._is_startable = is_startable
        self._show()

    def show_slowness(self, words: str) -> None:
        """What to say when this computer's server is ready without a graphics card; "" for what it
        says itself."""
        self._slow_words = words
        self._show()

    def show_owed(self, owed: Mapping[str, int]) -> None:
        """How many jobs each server (by its id) has not answered yet."""
        self._owed = owed

    def _show(self) -> None:
        link, name = self._state, dict(self._servers).get(self._server, "")
        reason, is_wrong = tr(link.reason), link.kind in _WRONG
        is_slow = link.kind == state.READY and link.device.startswith("CPU") and not self._server
        if is_slow and self._slow_words:
            reason = tr(self._slow_words)
        self.light.color = QtGui.QColor(_COLORS[link.kind])
        self.light.setToolTip(tr("{reason} Tap to choose the server.", reason=reason))
        self.light.setAccessibleName(reason)
        self.light.update()
        if is_wrong:
            self.reason.setText(name or tr("This computer"))
        else:
            said = tr("{name}: {reason}", name=name, reason=reason) if name else reason
            self.reason.setText(said)
        self.why.setText(reason if is_wrong else "")
        self.why.setVisible(is_wrong)
        self.button.setVisible(link.may_start and self._is_startable)

    def _fill_menu(self) -> None:
        self.menu.clear()
        group = QActionGroup(self.menu)
        for server, name in (("", tr("This computer")), *self._servers):
            metrics = self.menu.fontMetrics()
            short = metrics.elidedText(name, Qt.TextElideMode.ElideRight, _MENU_WIDTH)
            owed = self._owed.get(server, 0)
            if owed and server != self._server:
                short = tr("{name} (still to come: {count})", name=short, count=owed)
            choice = self.menu.addAction(short.replace("&", "&&"))
            choice.setObjectName(f"server_{server or 'here'}")
            choice.setToolTip(name)
            choice.setCheckable(True)
            choice.setChecked(server == self._server)
            choice.triggered.connect(lambda checked=False, id=server: self.chosen.emit(id))
            group.addAction(choice)
        self.menu.addSeparator()
        if self._state.may_start and self._is_startable:
            start = self.menu.addAction(tr("Start server"))
            start.triggered.connect(lambda checked=False: self.start_server.emit())
        if self._state.is_connected and not self._server:
            stop = self.menu.addAction(tr("Stop server"))
            stop.triggered.connect(lambda checked=False: self.stop_server.emit())
        if self.can_manage() and not self._server:
            repair = self.menu.addAction(tr("Repair the server"))
            repair.triggered.connect(lambda checked=False: self.repair_wanted.emit())
            remove = self.menu.addAction(tr("Remove the server"))
            remove.triggered.connect(lambda checked=False: self.removal_wanted.emit())
        more = self.menu.addAction(tr("Servers and settings"))
        more.triggered.connect(lambda checked=False: self.settings_wanted.emit())
