"""How many pictures, and whether chance is repeated."""

from __future__ import annotations

from typing import Any

from ...protocol.messages import LARGEST_SEED, MOST_VARIANTS
from ..qt import QtGui, QtWidgets, Signal
from .parts import TOUCH, column, label, row, spin, tool_button
from .words import tr


class ChanceRow(QtWidgets.QWidget):
    changed = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.variants = spin(
            "variants", 0, MOST_VARIANTS, 0, "", tr("How many pictures to paint (batch count)")
        )
        self._automatic = 1
        self.show_automatic(1)
        tip = tr("The same seed and settings paint the same picture (random seed)")
        self.seed = QtWidgets.QLineEdit()
        self.seed.setObjectName("seed")
        self.seed.setPlaceholderText(tr("random"))
        self.seed.setToolTip(tip)
        self.seed.setMinimumSize(30, TOUCH)
        # QIntValidator ends at 2**31 - 1, below the largest seed.
        self.seed.setValidator(QtGui.QDoubleValidator(0, LARGEST_SEED, 0, self.seed))
        lock = tr("On: paint with this seed again. Off: a new one at every press.")
        self.lock = tool_button("seed_lock", tr("Lock"), lock)
        self.lock.setCheckable(True)
        lines = column(self)
        lines.addLayout(row(label(tr("Variants")), self.variants, stretch=1))
        lines.addLayout(row(label(tr("Seed"), tip), self.seed, self.lock, stretch=1))
        self.variants.valueChanged.connect(lambda value: self.changed.emit())
        self.seed.textEdited.connect(lambda text: self.lock.setChecked(bool(text)))

    @property
    def count(self) -> int:
        """How many pictures a press paints, 1..MOST_VARIANTS."""
        return int(self.variants.value()) or self._automatic

    def show_automatic(self, count: int) -> None:
        """What suits the device and the action."""
        self._automatic = count
        self.variants.setSpecialValueText(tr("Auto, {count}", count=count))

    @property
    def locked_seed(self) -> int | None:
        """The seed to use again, or None for a new one."""
        text = self.seed.text()
        if not self.lock.isChecked() or not text.isdecimal():
            return None
        return min(int(text), LARGEST_SEED)

    def show_seed(self, seed: int) -> None:
        """The seed of the last press, there to be kept."""
        self.seed.setText(str(seed))
        self.seed.setCursorPosition(0)
