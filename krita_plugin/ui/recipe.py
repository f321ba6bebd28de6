"""The way back to how the current layer was painted."""

from __future__ import annotations

from typing import Any

from ..qt import QtWidgets, Signal
from .parts import TOUCH, row, shrinkable
from .words import tr


class RecipeRow(QtWidgets.QWidget):
    """Shown where the current layer has a recipe. removed: take all recipes out of the file."""

    reopened = Signal()
    removed = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.button = shrinkable(QtWidgets.QPushButton(tr("Reopen recipe")))
        self.button.setObjectName("reopen")
        self.button.setMinimumHeight(TOUCH)
        self.button.setToolTip(
            tr(
                "Bring back what this layer was painted with: prompt, selection, guides, seed and "
                "model (generation parameters). The layer itself stays and is left out of the source."
            )
        )
        self.setLayout(row(self.button, stretch=0))
        self.button.clicked.connect(lambda checked=False: self.reopened.emit())
        self.setVisible(False)
