"""By how much, and on which sides, Expand enlarges the canvas itself."""

from __future__ import annotations

from typing import Any

from ..canvas import NO_SIDES, Sides
from ..qt import QtWidgets, Signal
from .parts import label, row, spin, tool_button
from .words import tr

_ARROWS = {
    "left": ("\u2190", "Enlarge the canvas to the left"),
    "top": ("\u2191", "Enlarge the canvas to the top"),
    "right": ("\u2192", "Enlarge the canvas to the right"),
    "bottom": ("\u2193", "Enlarge the canvas to the bottom"),
}
_Policy = QtWidgets.QSizePolicy.Policy
_FIRST, _MOST, _STEP = 256, 4096, 64


class ExpandRow(QtWidgets.QWidget):
    """changed: the painter chose something else."""

    changed = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        tip = tr(
            "Enlarge the canvas on these sides when the picture is kept; one undo takes both back "
            "(outpaint). None: only what is empty now is painted."
        )
        self.sides = {}
        for side, (arrow, words) in _ARROWS.items():
            button = tool_button(f"enlarge_{side}", arrow, tr(words), shares=True)
            button.setMinimumWidth(20)
            button.setCheckable(True)
            button.toggled.connect(lambda on: self.changed.emit())
            self.sides[side] = button
        self.by = spin("enlarge_by", 8, _MOST, _FIRST, " px", tr("By how much on each side"))
        self.by.setSingleStep(_STEP)
        self.by.valueChanged.connect(lambda value: self.changed.emit())
        line = row(label(tr("Enlarge"), tip), *self.sides.values(), self.by, stretch=5)
        for place in range(1, 5):
            line.setStretch(place, 1)
        line.setStretch(5, 3)
        self.setLayout(line)

    @property
    def chosen(self) -> Sides:
        by = int(self.by.value())
        return Sides(**{side: by for side, button in self.sides.items() if button.isChecked()})

    def clear(self) -> None:
        """The canvas has another size now."""
        if self.chosen != NO_SIDES:
            for button in self.sides.values():
                button.setChecked(False)
