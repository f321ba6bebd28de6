"""The connection light: how the server stands, why, and the button that starts it."""

from __future__ import annotations

from typing import Any

from .. import state
from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from ..state import LinkState
from .parts import ElidedLabel, row
from .words import tr

_COLORS = {
    state.READY: "#5fb85f",
    state.LOADING: "#d8b13c",
    state.CONNECTING: "#d8b13c",
    state.RESTARTING: "#d8b13c",
    state.REFUSED: "#cf5b4d",
    state.FAILED: "#cf5b4d",
    state.NO_SERVER: "#cf5b4d",
}


class Light(QtWidgets.QWidget):
    """A dot of about the height of a letter."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("light")
        self.color = QtGui.QColor(_COLORS[state.CONNECTING])
        side = max(10, self.fontMetrics().ascent())
        self.setFixedSize(side, side)

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.color)
        painter.drawEllipse(QtCore.QRectF(self.rect()).adjusted(1, 1, -1, -1))
        painter.end()


class ConnectionRow(QtWidgets.QWidget):
    start_server = Signal()
    settings_wanted = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.light = Light(self)
        self.reason = ElidedLabel("reason")
        self.button = QtWidgets.QPushButton(tr("Start server"))
        self.button.setObjectName("start_server")
        self.button.setToolTip(tr("Start Velatura's server on this machine"))
        self.button.clicked.connect(lambda checked=False: self.start_server.emit())
        self.gear = QtWidgets.QToolButton()
        self.gear.setObjectName("settings")
        self.gear.setText("\u2699")
        self.gear.setAutoRaise(True)
        self.gear.setToolTip(tr("Settings"))
        self.gear.setAccessibleName(tr("Settings"))
        self.gear.clicked.connect(lambda checked=False: self.settings_wanted.emit())
        self.setLayout(row(self.light, self.reason, self.button, self.gear, stretch=1))
        self.show_state(LinkState(state.CONNECTING, "Looking for the server."))

    def show_state(self, link: LinkState) -> None:
        self.light.color = QtGui.QColor(_COLORS[link.kind])
        self.light.setToolTip(tr(link.reason))
        self.light.update()
        self.reason.setText(tr(link.reason))
        self.button.setVisible(link.may_start)
