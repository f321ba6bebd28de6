"""How much may change."""

from __future__ import annotations

from typing import Any

from ..qt import Qt, QtWidgets, Signal
from .parts import label, quiet_wheel, row, spin
from .words import tr


class StrengthRow(QtWidgets.QWidget):
    """1 to 100 %. ``changed`` is the painter's doing only."""

    changed = Signal(int)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        tip = tr("How much of what is there may change (denoising strength)")
        self.slider = QtWidgets.QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("strength")
        self.slider.setRange(1, 100)
        self.slider.setPageStep(5)
        self.slider.setMinimumWidth(40)
        self.slider.setToolTip(tip)
        quiet_wheel(self.slider)
        self.number = spin("strength_number", 1, 100, 100, " %", tip)
        self.slider.setValue(100)
        self.setLayout(row(label(tr("Strength"), tip), self.slider, self.number, stretch=1))
        self.slider.valueChanged.connect(self._moved)
        self.number.valueChanged.connect(self.slider.setValue)

    @property
    def percent(self) -> int:
        return int(self.slider.value())

    def show_percent(self, percent: int) -> None:
        for widget in (self.slider, self.number):
            widget.blockSignals(True)
            widget.setValue(percent)
            widget.blockSignals(False)

    def _moved(self, percent: int) -> None:
        self.show_percent(percent)
        self.changed.emit(percent)
