"""What the painter wants to see, and what not."""

from __future__ import annotations

from typing import Any

from ...protocol.plain_text import plain_text
from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from .addons import AddOnButton
from .parts import column, row, tool_button
from .words import tr

_LINES = 3
# Keys that belong to the list of names while it is open.
_COMPLETING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Tab, Qt.Key.Key_Escape)
# Of an earlier prompt in the menu, in pixels.
_MENU_WIDTH = 320


class PromptEdit(QtWidgets.QPlainTextEdit):
    """Enter generates, Alt+Enter breaks the line, Esc gives the canvas the keys back.

    left: the painter is done here. stepped(1 or -1): to an earlier or a later prompt.
    """

    submitted = Signal()
    stepped = Signal(int)
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
        self.insertPlainText(plain_text(source.text()))

    def replace_text(self, text: str) -> None:
        """As if it were typed: Ctrl+Z brings back what was there."""
        cursor = self.textCursor()
        cursor.select(QtGui.QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        self.setTextCursor(cursor)

    def keyPressEvent(self, event: Any) -> None:
        if event.key() in _COMPLETING and self.completer and self.completer.popup().isVisible():
            event.ignore()  # the completer takes what we leave
            return
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if event.modifiers() & (
                Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.ShiftModifier
            ):
                self.insertPlainText("\n")
            else:
                self.submitted.emit()
        elif control and event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.stepped.emit(1 if event.key() == Qt.Key.Key_Up else -1)
        elif event.key() == Qt.Key.Key_Escape:
            self.clearFocus()
            self.left.emit()
        else:
            super().keyPressEvent(event)


class PromptGroup(QtWidgets.QWidget):
    """changed: what is written in one of the fields. picture_chosen(path): use what made it."""

    picture_chosen = Signal(str)
    submitted = Signal()
    left = Signal()
    changed = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.prompt = PromptEdit("prompt", tr("What to paint"), _LINES)
        self.prompt.setToolTip(
            tr(
                "What you want to see (prompt). Enter paints, Alt+Enter starts a new line, Ctrl+Up "
                "and Ctrl+Down step through earlier prompts. (word) is stronger, [word] weaker."
            )
        )
        self.avoid = PromptEdit("avoid", tr("Avoid"), 1)
        self.avoid.setToolTip(tr("What you do not want to see (negative prompt)"))
        self.past = tool_button(
            "prompt_past", "", tr("Earlier prompts (prompt history), and those of pictures")
        )
        self.past.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self.past.setArrowType(Qt.ArrowType.DownArrow)
        self.past.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.past_menu = QtWidgets.QMenu(self.past)
        self.past_menu.setToolTipsVisible(True)
        self.past.setMenu(self.past_menu)
        # The menu opens below; a second arrow would only take room.
        self.past.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self._earlier: tuple[str, ...] = ()
        self._at = -1  # where Ctrl+Up stands; -1: at what the painter writes
        self._draft = ""
        lines = column(self)
        lines.addWidget(self.prompt)
        self.add = AddOnButton((self.prompt, self.avoid))
        lines.addLayout(row(self.avoid, self.past, self.add, stretch=0))
        for edit in (self.prompt, self.avoid):
            edit.submitted.connect(self.submitted)
            edit.left.connect(self.left)
            edit.textChanged.connect(self.changed)
        self.prompt.stepped.connect(self._step)
        self.show_past(())

    def show_past(self, prompts: tuple[str, ...]) -> None:
        """Prompts of earlier presses, the newest first."""
        self._earlier, self._at = prompts, -1
        self.past_menu.clear()
        metrics = self.past_menu.fontMetrics()
        for prompt in prompts:
            line = " ".join(prompt.split())
            short = metrics.elidedText(line, Qt.TextElideMode.ElideRight, _MENU_WIDTH)
            choice = self.past_menu.addAction(short.replace("&", "&&"))
            choice.setToolTip(prompt)
            choice.triggered.connect(lambda checked=False, text=prompt: self._take(text))
        self.past_menu.addSeparator()
        picture = self.past_menu.addAction(tr("From a picture (PNG)..."))
        picture.setObjectName("prompt_picture")
        picture.setToolTip(
            tr("Prompt, seed and numbers of a PNG that Velatura or A1111 wrote (PNG info)")
        )
        picture.triggered.connect(lambda checked=False: self._ask())

    def _ask(self) -> None:
        # Not exec: Krita defers its own signals while another event loop runs.
        dialog = QtWidgets.QFileDialog(self, tr("Picture that says what made it"))
        dialog.setObjectName("picture_file")
        dialog.setFileMode(QtWidgets.QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilter("PNG (*.png)")
        dialog.fileSelected.connect(self.picture_chosen)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _take(self, prompt: str) -> None:
        self.prompt.replace_text(prompt)
        self.prompt.setFocus()

    def _step(self, back: int) -> None:
        to = min(max(self._at + back, -1), len(self._earlier) - 1)
        if to == self._at:
            return
        if self._at == -1:
            self._draft = self.prompt.toPlainText()
        self._at = to
        self.prompt.replace_text(self._draft if to == -1 else self._earlier[to])
