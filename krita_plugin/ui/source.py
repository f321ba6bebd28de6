"""What is repainted, and which layers are no part of it."""

from __future__ import annotations

from typing import Any

from ..qt import QtWidgets, Signal
from ..state import AUTOMATIC, LAYER, VISIBLE
from .parts import Combo, column, label, row, tool_button
from .words import tr

_Policy = QtWidgets.QSizePolicy.Policy


class SourceRow(QtWidgets.QWidget):
    """changed: the painter chose something else."""

    changed = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        tip = tr("What is painted over (source). Around it the model always sees what is visible.")
        self.combo = Combo("paint_from", tip)
        self.combo.offer(
            [
                (AUTOMATIC, tr("Automatic")),
                (VISIBLE, tr("Everything visible")),
                (LAYER, tr("Current layer")),
            ]
        )
        out = tr("Layers that the model does not see, as if they were hidden (excluded layers)")
        self.leave_out = tool_button("leave_out", "", out, shares=True)
        self.leave_out.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QtWidgets.QMenu(self.leave_out)
        self.leave_out.setMenu(self.menu)
        self._left_out: tuple[str, ...] = ()
        self._layers: list[tuple[str, str]] = []
        lines = column(self)
        lines.addLayout(row(label(tr("Paint from"), tip), self.combo, stretch=1))
        lines.addLayout(row(label(tr("Leave out"), out), self.leave_out, stretch=1))
        self.combo.currentIndexChanged.connect(lambda index: self.changed.emit())
        self._describe()

    def show_automatic(self, source: str) -> None:
        """What Automatic means for this canvas: VISIBLE or LAYER."""
        words = self.combo.itemText(self.combo.findData(source))
        self.combo.setItemText(0, tr("{source} (auto)", source=words))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Ids of this picture's layers that are left out."""
        return tuple(layer for layer, _ in self._layers if layer in self._left_out)

    @property
    def wanted_out(self) -> tuple[str, ...]:
        """As ``left_out``, with layers that are not there now: undo may bring them back."""
        return self._left_out

    def offer_layers(self, layers: list[tuple[str, str]]) -> None:
        """(id, name) of the picture's layers. What is left out stays so while it is elsewhere."""
        if layers == self._layers:
            return
        self._layers = layers
        self.menu.clear()
        for layer, name in layers:
            choice = self.menu.addAction(name.replace("&", "&&"))
            choice.setCheckable(True)
            choice.setData(layer)
            choice.setChecked(layer in self._left_out)
            choice.toggled.connect(lambda on, layer=layer: self._toggle(layer, on))
        self._describe()

    def leave(self, layers: tuple[str, ...]) -> None:
        """Leave exactly these layers out."""
        self._left_out = layers
        for choice in self.menu.actions():
            choice.setChecked(choice.data() in layers)
        self._describe()

    def _toggle(self, layer: str, on: bool) -> None:
        others = tuple(other for other in self._left_out if other != layer)
        self._left_out = (*others, layer) if on else others
        self._describe()
        self.changed.emit()

    def _describe(self) -> None:
        names = [name for layer, name in self._layers if layer in self._left_out]
        self.leave_out.setEnabled(bool(self._layers))
        self.leave_out.setText(
            tr("nothing")
            if not names
            else names[0]
            if len(names) == 1
            else tr("{count} layers", count=len(names))
        )
