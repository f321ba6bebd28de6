"""Which style a picture is painted in: words, checkpoint and sampler by one name."""

from __future__ import annotations

from typing import Any

from ...protocol.style import Style
from ..qt import QtWidgets, Signal
from .parts import Combo, column, label, row
from .words import tr

# Of a style that a recipe brought: no name of the server's has a line break.
_KEPT = "\n"


class StyleRow(QtWidgets.QWidget):
    """chosen: the painter chose another style, or none."""

    chosen = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._styles: dict[str, Style] = {}
        self._kept: Style | None = None
        self._wanted = ""
        self.combo = Combo("style", tr("Words, model and sampler by one name (style preset)"))
        column(self).addLayout(row(label(tr("Style")), self.combo, stretch=1))
        self._show()
        self.combo.currentIndexChanged.connect(lambda index: self._say())

    @property
    def style(self) -> Style | None:
        data = self.combo.currentData()
        return self._kept if data == _KEPT else self._styles.get(data)

    def want(self, name: str) -> None:
        """Choose this style when the catalogue has it."""
        self._wanted = name

    def offer(self, styles: tuple[Style, ...]) -> None:
        self._styles = {style.name: style for style in styles}
        self._show()
        if self._wanted in self._styles:
            self.combo.choose(self._wanted)
            self._wanted = ""

    def show_style(self, style: Style | None) -> None:
        """Choose a recipe's style, as it was then; the numbers are the recipe's own."""
        self._wanted = ""
        is_known = style is not None and self._styles.get(style.name) == style
        self._kept = None if is_known else style
        self.combo.blockSignals(True)
        self._show()
        self.combo.choose(_KEPT if self._kept else style.name if style else "")
        self.combo.blockSignals(False)
        self._explain()

    def _show(self) -> None:
        items = [("", tr("None")), *((name, name) for name in self._styles)]
        if self._kept is not None:
            items.append((_KEPT, tr("{name} (as it was)", name=self._kept.name)))
        self.combo.offer(items)

    def _say(self) -> None:
        self._explain()
        self.chosen.emit()

    def _explain(self) -> None:
        style = self.style
        words = "" if style is None else "\n" + style.prompt_around("...")
        self.combo.setToolTip(tr("Words, model and sampler by one name (style preset)") + words)
