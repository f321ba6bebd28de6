"""What the painter wants to see, and what not."""

from __future__ import annotations

from typing import Any

from ..qt import Qt, QtCore, QtWidgets, Signal
from .addons import AddOnButton
from .parts import column, row
from .words import tr

_LINES = 3
# Keys that belong to the list of names while it is open.
_COMPLETING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Tab, Qt.Key.Key_Escape)


class PromptEdit(QtWidgets.QPlainTextEdit):
    """Enter generates, Alt+Enter breaks the line, Esc gives the canvas the keys back.

    left: the painter is done here.
    """

    submitted = Signal()
    left = Signal()

    def __init__(self, name: str, hint: str, lines: int, parent: Any = None) -> None:
        super().__init__(parent)
        self.completer: Any = None
        self.setObjectName(name)
        self.setPlaceholderText(hint)
        self.setTabChangesFocus(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        margin = 2 * (self.frameWidth() + int(self.document().documentMargin()))
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + margin + 2)

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(40, super().minimumSizeHint().height())

    def insertFromMimeData(self, source: Any) -> None:
        # Text alone: pasted control characters would be refused by the protocol.
        self.insertPlainText("".join(c for c in source.text() if c == "\n" or c.isprintable()))

    def keyPressEvent(self, event: Any) -> None:
        if event.key() in _COMPLETING and self.completer and self.completer.popup().isVisible():
            event.ignore()  # the completer takes what we leave
            return
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if event.modifiers() & (
                Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.ShiftModifier
            ):
                self.insertPlainText("\n")
            else:
                self.submitted.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.clearFocus()
            self.left.emit()
        else:
            super().keyPressEvent(event)


class PromptGroup(QtWidgets.QWidget):
    submitted = Signal()
    left = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.prompt = PromptEdit("prompt", tr("What to paint"), _LINES)
        self.prompt.setToolTip(
            tr("What you want to see (prompt). Enter paints, Alt+Enter starts a new line.")
        )
        self.avoid = PromptEdit("avoid", tr("Avoid"), 1)
        self.avoid.setToolTip(tr("What you do not want to see (negative prompt)"))
        lines = column(self)
        lines.addWidget(self.prompt)
        self.add = AddOnButton((self.prompt, self.avoid))
        lines.addLayout(row(self.avoid, self.add, stretch=0))
        for edit in (self.prompt, self.avoid):
            edit.submitted.connect(self.submitted)
            edit.left.connect(self.left)
