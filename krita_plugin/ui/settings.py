"""What a painter sets once, in a window that leaves the canvas usable."""

from __future__ import annotations

from typing import Any

from ...protocol.messages import MOST_VARIANTS
from ..preferences import MOST_HISTORY, Preferences
from ..qt import Qt, QtCore, QtWidgets, Signal
from ..state import AUTOMATIC, LAYER, MOST_PROMPTS, VISIBLE, WIDEST_EDGE
from .parts import Combo, column, spin
from .servers import ServersGroup
from .words import tr

# Large enough for a pen, in pixels.
_TALL = 32
# The spin boxes' lowest value stands for what suits the picture.
_AUTOMATIC = -1


class SettingsDialog(QtWidgets.QDialog):
    """changed(dict of fields of Preferences): at once, there is nothing to confirm. Show it with
    ``show_preferences`` and ``show``. reset: the docker's fields should go back to the defaults."""

    changed = Signal(object)
    reset = Signal()
    shortcuts = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("settings_dialog")
        self.setWindowTitle(tr("Velatura's settings"))
        self._is_showing = False
        inner = QtWidgets.QWidget()
        self._lines = column(inner, margin=8)
        self._head(tr("Servers"))
        self.servers = ServersGroup()
        self._lines.addWidget(self.servers)
        self.starts_with_krita = self._tick(
            "starts_with_krita", tr("Start the server with Krita"),
            tr("This computer's; otherwise it starts with the first press"),
        )  # fmt: skip
        self.stays = self._tick(
            "stays", tr("Let it run when Krita ends"),
            tr("Otherwise it ends with the Krita that started it; finished pictures stay"),
        )  # fmt: skip
        self._head(tr("What the docker begins with"))
        self.variants = self._number(
            "variants", "default_variants", 0, MOST_VARIANTS, "",
            tr("Variants"), tr("How many pictures a press paints (batch count)"),
        )  # fmt: skip
        self.variants.setSpecialValueText(tr("Automatic"))
        self.soft_edge = self._number(
            "soft_edge", "default_soft_edge", _AUTOMATIC, WIDEST_EDGE, " px",
            tr("Soft edge"), tr("How far a new layer fades out inside the selection's edge (feather)"),
        )  # fmt: skip
        self.soft_edge.setSpecialValueText(tr("Automatic"))
        self.refine = self._number(
            "refine", "default_refine", 1, 100, " %",
            tr("Strength of Refine"), tr("How much of the picture may change (denoising strength)"),
        )  # fmt: skip
        self.refine_selection = self._number(
            "refine_selection", "default_refine_selection", 1, 99, " %",
            tr("Strength of Refine selection"),
            tr("How much of what is selected may change (denoising strength)"),
        )  # fmt: skip
        self.paint_from = self._field(
            Combo("default_paint_from"), tr("Paint from"), tr("What is painted over (source)")
        )
        self.paint_from.offer(
            [
                (AUTOMATIC, tr("Automatic")),
                (VISIBLE, tr("Everything visible")),
                (LAYER, tr("Current layer")),
            ]
        )
        self.paint_from.currentIndexChanged.connect(
            lambda index: self._change("paint_from", self.paint_from.currentData())
        )
        self.back = self._button(
            "reset_defaults", tr("Use these now"),
            tr("Set the docker's variants, soft edge, strengths and source back to these"),
            self.reset,
        )  # fmt: skip
        self._head(tr("What is remembered"))
        self.history = self._number(
            "history_mb", "history_mb", 0, MOST_HISTORY, " MB",
            tr("Largest history of a picture"),
            tr("Older pictures leave the file first; favourites and the newest stay"),
        )  # fmt: skip
        self.prompts = self._number(
            "prompts", "most_prompts", 0, MOST_PROMPTS, "",
            tr("Remembered prompts"),
            tr("How many prompts of earlier presses the prompt's history offers"),
        )  # fmt: skip
        self.keys = self._button(
            "open_shortcuts", tr("Keyboard shortcuts"),
            tr("Open Krita's own page of shortcuts, at Velatura's actions"), self.shortcuts,
        )  # fmt: skip
        self._lines.addStretch(1)
        self.servers.changed.connect(lambda servers: self._change("servers", servers))
        scroll = QtWidgets.QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column(self).addWidget(scroll)
        self.show_preferences(Preferences())

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(320, 640)

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(220, 240)

    def show_preferences(self, preferences: Preferences) -> None:
        self._is_showing = True
        self.servers.show_servers(preferences.servers)
        for name in ("variants", "refine", "refine_selection", "prompts"):
            getattr(self, name).setValue(getattr(preferences, name))
        self.history.setValue(preferences.history_mb)
        edge = preferences.soft_edge
        self.soft_edge.setValue(_AUTOMATIC if edge is None else edge)
        self.paint_from.choose(preferences.paint_from)
        for name in ("starts_with_krita", "stays"):
            getattr(self, name).setChecked(getattr(preferences, name))
        self._is_showing = False

    def _change(self, name: str, value: Any) -> None:
        if not self._is_showing:
            self.changed.emit({name: value})

    def _head(self, text: str) -> None:
        words = QtWidgets.QLabel(text)
        words.setWordWrap(True)
        font = words.font()
        font.setBold(True)
        words.setFont(font)
        self._lines.addWidget(words)

    def _field(self, field: Any, text: str, tip: str) -> Any:
        words = QtWidgets.QLabel(text)
        words.setToolTip(tip)
        words.setWordWrap(True)
        field.setToolTip(tip)
        field.setMinimumHeight(_TALL)
        self._lines.addWidget(words)
        self._lines.addWidget(field)
        return field

    def _number(
        self, name: str, widget: str, low: int, high: int, suffix: str, text: str, tip: str
    ) -> Any:
        """A field of Preferences: a whole number, or None as _AUTOMATIC."""
        field = self._field(spin(widget, low, high, low, suffix, tip), text, tip)
        field.valueChanged.connect(
            lambda value: self._change(name, None if value == _AUTOMATIC else value)
        )
        return field

    def _tick(self, name: str, text: str, tip: str) -> Any:
        """A field of Preferences that is true or false."""
        box = QtWidgets.QCheckBox(text)
        box.setObjectName(name)
        box.setToolTip(tip)
        box.setMinimumHeight(_TALL)
        policy = QtWidgets.QSizePolicy.Policy
        box.setSizePolicy(policy.Ignored, policy.Fixed)  # longer words must not widen the window
        box.toggled.connect(lambda value: self._change(name, value))
        self._lines.addWidget(box)
        return box

    def _button(self, widget: str, text: str, tip: str, wish: Any) -> Any:
        button = QtWidgets.QPushButton(text)
        button.setObjectName(widget)
        button.setToolTip(tip)
        button.setMinimumHeight(_TALL)
        # Enter in a number takes the number.
        button.setAutoDefault(False)
        button.clicked.connect(lambda checked=False: wish.emit())
        self._lines.addWidget(button)
        return button
