"""LoRAs and embeddings into the prompt: a menu for the pen, and completion for the keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ...protocol.addon_marks import embedding_mark, lora_mark
from ...protocol.messages import AddOnInfo
from ..qt import Qt, QtCore, QtGui, QtWidgets
from .parts import TOUCH
from .words import tr

# The painter's word for what lies in one place, in the order of the menu.
_TITLES = {"lora": "LoRA", "embedding": "Embedding"}
_BEGUN = re.compile(r"(?P<mark><lora:|\bembedding:)(?P<name>[^<>:,()\n]*)$")
_MOST_SHOWN = 8
# What an inserted mark may touch: anything else before or behind it would be read as part of it.
_FREE_BEFORE = re.compile(r"(^|[\s(\[{|])$")
_FREE_BEHIND = re.compile(r"\s*($|[,;:)\]}|<])")
_CURSOR = QtGui.QTextCursor
_BLOCK = QtGui.QTextCursor.MoveOperation


def mark(addon: AddOnInfo) -> str:
    """Return what names an add-on in a prompt."""
    return lora_mark(addon.name) if addon.kind == "lora" else embedding_mark(addon.name)


def _line(edit: Any, position: int, to: Any) -> str:
    """Return the text from ``position`` in its line to the line's start or end."""
    cursor = edit.textCursor()
    cursor.setPosition(position)
    cursor.movePosition(to, _CURSOR.MoveMode.KeepAnchor)
    return str(cursor.selectedText())


def word(addon: AddOnInfo) -> str:
    """Return what the completion lists an add-on as: its name with its folders."""
    return addon.name


class AddOnButton(QtWidgets.QToolButton):
    """A "+" with a menu of what the model takes; what is chosen goes to where the cursor is."""

    def __init__(self, edits: Iterable[Any], parent: Any = None) -> None:
        """``edits``: the prompt first, which takes LoRAs; then others, which take embeddings too."""
        super().__init__(parent)
        self.setObjectName("prompt_add")
        self.setText("+")
        self.setMinimumSize(TOUCH, TOUCH)
        self.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        # The menu opens below; an arrow would only take room.
        self.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self._edits = tuple(edits)
        self._last = self._edits[0]
        self._known: tuple[AddOnInfo, ...] = ()
        self._fitting: tuple[AddOnInfo, ...] = ()
        self.list = QtWidgets.QMenu(self)
        self.setMenu(self.list)
        self.completions = [
            Completion(edit, takes_loras=not n) for n, edit in enumerate(self._edits)
        ]
        for edit in self._edits:
            edit.cursorPositionChanged.connect(lambda edit=edit: self._remember(edit))
        self._fill()

    def offer(self, addons: tuple[AddOnInfo, ...], text_width: int) -> None:
        """addons: all that the server has; those for ``text_width`` are offered."""
        fitting = tuple(one for one in addons if one.text_width == text_width)
        if fitting == self._fitting and bool(addons) == bool(self._known):
            return
        self._known, self._fitting = addons, fitting
        self._fill()

    def insert(self, addon: AddOnInfo) -> None:
        edit = self._edits[0] if addon.kind == "lora" else self._last
        cursor = edit.textCursor()
        start, end = cursor.selectionStart(), cursor.selectionEnd()
        space = "" if _FREE_BEFORE.search(_line(edit, start, _BLOCK.StartOfBlock)) else " "
        behind = _line(edit, end, _BLOCK.EndOfBlock)
        comma = "" if addon.kind == "lora" or _FREE_BEHIND.match(behind) else ","
        if comma and not behind[:1].isspace():
            comma = ", "
        cursor.insertText(space + mark(addon) + comma)
        edit.setTextCursor(cursor)
        edit.setFocus()

    def _remember(self, edit: Any) -> None:
        if edit.hasFocus():
            self._last = edit

    def _fill(self) -> None:
        self.list.clear()
        for kind, title in _TITLES.items():
            there = [one for one in self._fitting if one.kind == kind]
            if there:
                self.list.addSection(title)
                self._fill_folders(there)
        for completion in self.completions:
            completion.offer(self._fitting)
        self.setEnabled(bool(self._fitting))
        self.setToolTip(
            tr("Put a LoRA or an embedding (textual inversion) into the prompt")
            if self._fitting
            else tr("The LoRAs and embeddings that the server has are for other models.")
            if self._known
            else tr("Put LoRAs into the folder loras of your models folder to find them here.")
        )

    def _fill_folders(self, addons: list[AddOnInfo]) -> None:
        folders: dict[str, Any] = {"": self.list}
        for addon in addons:
            folder, _, name = addon.name.rpartition("/")
            if folder not in folders:
                folders[folder] = self.list.addMenu(folder.replace("&", "&&"))
            choice = folders[folder].addAction(name.replace("&", "&&"))
            choice.triggered.connect(lambda checked=False, one=addon: self.insert(one))


class Completion(QtCore.QObject):
    """Offers names while the painter writes ``<lora:`` or ``embedding:`` in ``edit``."""

    def __init__(self, edit: Any, takes_loras: bool) -> None:
        super().__init__(edit)
        self._edit, self._takes_loras = edit, takes_loras
        # What is begun -> name in the list -> what is inserted for it.
        self._marks: dict[str, dict[str, str]] = {}
        self._completer = QtWidgets.QCompleter([], self)
        self._completer.setWidget(edit)
        self._completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self._completer.setMaxVisibleItems(_MOST_SHOWN)
        # The text of what was chosen, not its place: both are signals of one name.
        self._completer.activated[str].connect(self.complete)
        edit.completer = self._completer
        edit.textChanged.connect(self._look)

    def offer(self, addons: Iterable[AddOnInfo]) -> None:
        there = list(addons)
        self._marks = {
            begun: {word(one): mark(one) for one in there if one.kind == kind}
            for begun, kind in (("<lora:", "lora"), ("embedding:", "embedding"))
            if kind != "lora" or self._takes_loras
        }

    def complete(self, name: str) -> None:
        """Replace the mark that is begun at the cursor by that of the add-on called ``name``."""
        begun = self._begun()
        if begun is None or name not in self._marks.get(begun["mark"], {}):
            return
        cursor = self._edit.textCursor()
        # Qt counts UTF-16, of which an emoji before it takes two.
        length = len(begun[0].encode("utf-16-le", "surrogatepass")) // 2
        cursor.setPosition(cursor.position() - length, _CURSOR.MoveMode.KeepAnchor)
        cursor.insertText(self._marks[begun["mark"]][name])
        self._edit.setTextCursor(cursor)

    def _begun(self) -> re.Match[str] | None:
        position = self._edit.textCursor().position()
        return _BEGUN.search(_line(self._edit, position, _BLOCK.StartOfBlock))

    def _look(self) -> None:
        begun = self._begun() if self._edit.hasFocus() else None
        names = list(self._marks.get(begun["mark"], {})) if begun else []
        popup = self._completer.popup()
        if begun is None or not names or begun["name"] in names:
            popup.hide()
            return
        self._completer.setModel(QtCore.QStringListModel(names, self._completer))
        self._completer.setCompletionPrefix(begun["name"])
        if not self._completer.completionCount():
            popup.hide()
            return
        popup.setCurrentIndex(self._completer.completionModel().index(0, 0))
        place = self._edit.cursorRect()
        place.setWidth(max(160, self._edit.width() - place.x()))
        self._completer.complete(place)
