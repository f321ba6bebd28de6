"""How much of the picture the model sees, and how the new layer ends."""

from __future__ import annotations

from typing import Any

from ...protocol.region import CONTEXTS
from ..qt import QtWidgets, Signal
from ..state import WIDEST_EDGE
from .parts import Combo, column, label, row, shrinkable, spin
from .words import tr

_CONTEXTS = {
    "auto": "Automatic",
    "tight": "Tight",
    "wide": "Wide",
    "whole": "Whole picture",
}
# The spin box's lowest value stands for what suits the selection.
_AUTOMATIC = -1


class AreaGroup(QtWidgets.QWidget):
    """changed: the painter chose something else."""

    changed = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        tip = tr("How much around the selection the model sees (context, padding)")
        self.context = Combo("context", tip)
        self.context.offer([(name, tr(_CONTEXTS[name])) for name in CONTEXTS])
        edge = tr("How far the new layer fades out inside the selection's edge (feather); 0: hard")
        self.edge = spin("soft_edge", _AUTOMATIC, WIDEST_EDGE, _AUTOMATIC, " px", edge)
        self.edge.setSpecialValueText(tr("Automatic"))
        self.outline = shrinkable(QtWidgets.QCheckBox(tr("Keep outline")))
        self.outline.setObjectName("keep_outline")
        self.outline.setChecked(True)
        self.outline.setToolTip(
            tr("Paint only where the current layer already has paint (preserve alpha)")
        )
        lines = column(self)
        lines.addLayout(row(label(tr("Context"), tip), self.context, stretch=1))
        lines.addLayout(row(label(tr("Soft edge"), edge), self.edge, stretch=1))
        lines.addWidget(self.outline)
        self.context.currentIndexChanged.connect(lambda index: self.changed.emit())
        self.edge.valueChanged.connect(lambda value: self.changed.emit())
        self.outline.toggled.connect(lambda on: self.changed.emit())

    @property
    def soft_edge(self) -> int | None:
        """Canvas pixels, or None for what suits the selection."""
        value = int(self.edge.value())
        return None if value == _AUTOMATIC else value

    def choose(self, context: str, soft_edge: int | None, keep_outline: bool) -> None:
        self.context.choose(context)
        self.show_edge(soft_edge)
        self.outline.setChecked(keep_outline)

    def show_edge(self, width: int | None) -> None:
        """Canvas pixels, None for what suits the selection."""
        self.edge.setValue(_AUTOMATIC if width is None else width)

    def show_soft_edge(self, width: int | None) -> None:
        """The width that Automatic means for this selection; None when nothing is selected."""
        self.edge.setSpecialValueText(
            tr("Automatic") if width is None else tr("Auto, {width} px", width=width)
        )
