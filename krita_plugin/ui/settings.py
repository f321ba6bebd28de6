"""What a painter sets once, in a window that leaves the canvas usable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..preferences import MOST_HISTORY, Preferences
from ..qt import QtWidgets, Signal
from ..state import MOST_PROMPTS
from .parts import column, spin
from .words import tr

# Large enough for a pen, in pixels.
_TALL = 32


class SettingsDialog(QtWidgets.QDialog):
    """changed(Preferences): at once, there is nothing to confirm. Show it with ``show``."""

    changed = Signal(object)
    strengths_reset = Signal()
    shortcuts = Signal()

    def __init__(self, preferences: Preferences, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("settings_dialog")
        self.setWindowTitle(tr("Velatura's settings"))
        self.preferences = preferences
        lines = column(self, margin=8)
        self.history = self._number(
            lines,
            "history_mb",
            MOST_HISTORY,
            preferences.history_mb,
            " MB",
            tr("Largest history of a picture"),
            tr("Older pictures leave the file first; favourites and the newest stay"),
        )
        self.prompts = self._number(
            lines,
            "most_prompts",
            MOST_PROMPTS,
            preferences.prompts,
            "",
            tr("Remembered prompts"),
            tr("How many prompts of earlier presses the prompt's history offers"),
        )
        self.strengths = self._button(
            lines,
            "reset_strengths",
            tr("First strengths"),
            tr("Set every action's strength (denoising strength) back to its first value"),
        )
        self.keys = self._button(
            lines,
            "open_shortcuts",
            tr("Keyboard shortcuts"),
            tr("Open Krita's own settings; Velatura's keys are under Keyboard Shortcuts"),
        )
        lines.addStretch(1)
        self.history.valueChanged.connect(lambda value: self._change(history_mb=value))
        self.prompts.valueChanged.connect(lambda value: self._change(prompts=value))
        self.strengths.clicked.connect(lambda checked=False: self.strengths_reset.emit())
        self.keys.clicked.connect(lambda checked=False: self.shortcuts.emit())

    def _number(
        self, lines: Any, name: str, most: int, value: int, suffix: str, text: str, tip: str
    ) -> Any:
        words = QtWidgets.QLabel(text)
        words.setToolTip(tip)
        words.setWordWrap(True)
        field = spin(name, 0, most, value, suffix, tip)
        field.setMinimumHeight(_TALL)
        lines.addWidget(words)
        lines.addWidget(field)
        return field

    def _button(self, lines: Any, name: str, text: str, tip: str) -> Any:
        button = QtWidgets.QPushButton(text)
        button.setObjectName(name)
        button.setToolTip(tip)
        button.setMinimumHeight(_TALL)
        # Enter in a number takes the number.
        button.setAutoDefault(False)
        lines.addWidget(button)
        return button

    def _change(self, **values: int) -> None:
        self.preferences = replace(self.preferences, **values)
        self.changed.emit(self.preferences)
