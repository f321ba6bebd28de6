"""What a recipe set in the docker: said while it holds, and taken back for the next picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..qt import QtWidgets, Signal
from ..state import Memory, Settings
from .parts import WrappedLabel, row, tool_button
from .words import tr

if TYPE_CHECKING:
    from .panel import Panel


@dataclass(frozen=True)
class Own:
    """The painter's fields before a recipe filled them. Prompt and guides are the picture's."""

    memory: Memory
    settings: Settings
    seed: str
    is_locked: bool


class BorrowedRow(QtWidgets.QWidget):
    """Shown while fields are as a recipe set them. returned: the painter wants their own again."""

    returned = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.own: Own | None = None
        self.words = WrappedLabel("borrowed")
        tip = tr("Seed, source, strength and model as they were before the recipe was opened")
        self.back = tool_button("borrowed_back", tr("Mine again"), tip)
        self.setLayout(row(self.words, self.back, stretch=0))
        self.back.clicked.connect(lambda checked=False: self.returned.emit())
        self.setVisible(False)

    def keep_own(self, panel: Panel) -> None:
        """Remember the painter's fields; of several recipes in a row, those before the first."""
        if self.own is None:
            chance = panel.chance
            self.own = Own(
                panel.memory, panel.settings, chance.seed.text(), chance.lock.isChecked()
            )

    def show_borrowed(self, panel: Panel) -> None:
        """Say what holds now."""
        source = panel.source.combo.currentText()
        seed = panel.chance.locked_seed
        until = tr("until another picture is open")
        self.words.setText(
            tr("From the recipe, {until}: paint from {source}.", until=until, source=source)
            if seed is None
            else tr(
                "From the recipe, {until}: seed {seed} (locked), paint from {source}.",
                until=until,
                seed=seed,
                source=source,
            )
        )
        self.setVisible(True)

    def give_back(self, panel: Panel) -> Memory | None:
        """Fill the fields with what was there before; the memory of then, None for nothing to do."""
        own, self.own = self.own, None
        self.setVisible(False)
        if own is None:
            return None
        settings = own.settings
        panel.source.combo.choose(own.memory.paint_from)
        panel.area.choose(settings.context, settings.soft_edge, settings.keep_outline)
        panel.chance.variants.setValue(own.memory.variants)
        panel.chance.seed.setText(own.seed)
        panel.chance.lock.setChecked(own.is_locked)
        panel.style_row.show_style(settings.style)
        panel.model.show_settings(settings)
        return own.memory
