"""The main button, whose label says what will happen, and Cancel."""

from __future__ import annotations

from typing import Any

from ..qt import QActionGroup, Qt, QtWidgets, Signal
from ..state import ACTIONS
from .parts import row, tool_button
from .words import tr

_Policy = QtWidgets.QSizePolicy.Policy


class PressRow(QtWidgets.QWidget):
    """pressed: paint now. chosen(key or ""): the menu's action, "" to follow the canvas."""

    pressed = Signal()
    cancelled = Signal()
    chosen = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.button = tool_button("press", "", "", shares=True)
        font = self.button.font()
        font.setBold(True)
        self.button.setFont(font)
        self.button.setMinimumHeight(round(2.2 * self.button.fontMetrics().height()))
        self.cancel = QtWidgets.QPushButton(tr("Cancel"))
        self.cancel.setObjectName("cancel")
        self.cancel.setToolTip(tr("Stop painting; finished pictures stay"))
        self.cancel.setSizePolicy(_Policy.Fixed, _Policy.Expanding)
        self.cancel.setVisible(False)
        self.more = tool_button("press_more", "", tr("Choose what it does"))
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self.more.setArrowType(Qt.ArrowType.DownArrow)
        self.more.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setSizePolicy(_Policy.Fixed, _Policy.Expanding)
        # The menu opens below; a second arrow would only take room.
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.menu = QtWidgets.QMenu(self.more)
        self.menu.setObjectName("press_menu")
        self.menu.setToolTipsVisible(True)
        self._group = QActionGroup(self.menu)
        self.choices = {"": self._choice("", tr("Follow the canvas"))}
        self.choices[""].setChecked(True)
        self.menu.addSeparator()
        for name, action in ACTIONS.items():
            self.choices[name] = self._choice(name, tr(action.label))
            self.choices[name].setToolTip(tr(action.help))
        self.more.setMenu(self.menu)
        self.setLayout(row(self.button, self.more, self.cancel, stretch=0))
        self.button.clicked.connect(lambda checked=False: self.pressed.emit())
        self.cancel.clicked.connect(lambda checked=False: self.cancelled.emit())
        self.show_action("generate")

    def _choice(self, name: str, text: str) -> Any:
        choice = self.menu.addAction(text)
        choice.setObjectName(f"choose_{name or 'follow'}")
        choice.setCheckable(True)
        choice.triggered.connect(lambda checked=False: self.chosen.emit(name))
        self._group.addAction(choice)
        return choice

    def show_action(self, action: str, layer: str = "") -> None:
        """layer: the name of the layer that alone is painted over, "" for none."""
        shown = ACTIONS[action]
        words = tr(shown.of_layer, layer=layer) if layer and shown.of_layer else tr(shown.label)
        self.button.setText(words.replace("&", "&&"))  # else it underlines what follows
        self.button.setToolTip(f"{words}: {tr(shown.help)}")

    def show_choice(self, name: str, *, selection: bool) -> None:
        """Check the menu's entry and disable those that this canvas cannot have."""
        self.choices[name].setChecked(True)
        for key, action in ACTIONS.items():
            self.choices[key].setEnabled(selection or not action.needs_selection)
