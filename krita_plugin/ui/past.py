"""The history of this picture: everything that was painted for it, to search and bring back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ..entries import Entry, Key, search
from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from .parts import TOUCH, ElidedLabel, Fold, column, row, tool_button
from .strip import STAR, thumbnail_pixmap
from .ticks import SIDE
from .words import tr

_ROWS = 3
# So many small pictures are made before the pen gets its turn.
_AT_ONCE = 8
_KEY, _FAVOURITE = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1


class PastGroup(QtWidgets.QWidget):
    """opened(key): show this one again. starred(key, bool). removed(key): out of the file.

    saved(key, path): write it as a PNG.
    """

    opened = Signal(object)
    starred = Signal(object, bool)
    removed = Signal(object)
    saved = Signal(object, str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._entries: list[Entry] = []
        self._thumbnail: Callable[[Key], bytes] = lambda key: b""
        self._without_picture: list[QtWidgets.QListWidgetItem] = []
        self._fill_timer = QtCore.QTimer(self)
        self._fill_timer.timeout.connect(self._fill)
        self.fold = Fold("past", tr("History"))
        self.words = QtWidgets.QLineEdit()
        self.words.setObjectName("past_search")
        self.words.setPlaceholderText(tr("Search prompts"))
        self.words.setClearButtonEnabled(True)
        self.words.setMinimumSize(40, TOUCH)
        self.favourites = tool_button("past_favourites", STAR, tr("Favourites only"))
        self.favourites.setCheckable(True)
        self.list = QtWidgets.QListWidget()
        self.list.setObjectName("past_list")
        self.list.setViewMode(QtWidgets.QListView.ViewMode.IconMode)
        self.list.setMovement(QtWidgets.QListView.Movement.Static)
        self.list.setResizeMode(QtWidgets.QListView.ResizeMode.Adjust)
        self.list.setIconSize(QtCore.QSize(SIDE, SIDE))
        self.list.setSpacing(1)
        self.list.setUniformItemSizes(True)
        self.list.setMinimumWidth(40)
        self.list.setFixedHeight(_ROWS * (SIDE + 8))
        self.about = ElidedLabel("past_about")
        self.star = tool_button("past_star", STAR, tr("Favourite: never falls out of the history"))
        self.star.setCheckable(True)
        self.save = tool_button("past_save", tr("Save..."), tr("As a PNG that says what made it"))
        self.remove = tool_button("past_remove", tr("Remove"), tr("Out of this picture's history"))
        lines = column(self.fold.body)
        lines.addLayout(row(self.words, self.favourites, stretch=0))
        lines.addWidget(self.list)
        lines.addLayout(row(self.about, self.star, self.save, self.remove, stretch=0))
        column(self).addWidget(self.fold)
        self.fold.head.toggled.connect(lambda is_open: self._show())
        self.words.textChanged.connect(lambda text: self._show())
        self.favourites.toggled.connect(lambda on: self._show())
        self.list.currentItemChanged.connect(lambda new, old: self._describe())
        self.list.itemClicked.connect(lambda item: self.opened.emit(item.data(_KEY)))
        self.star.clicked.connect(lambda on: self._tell(self.starred, on))
        self.remove.clicked.connect(lambda checked=False: self._tell(self.removed))
        self.save.clicked.connect(lambda checked=False: self._ask())

    def show_entries(self, entries: Sequence[Entry], thumbnail: Callable[[Key], bytes]) -> None:
        """The newest first. thumbnail: the small PNG of one."""
        self._entries, self._thumbnail = list(entries), thumbnail
        self.setVisible(bool(entries))
        self._show()

    def _show(self) -> None:
        self._fill_timer.stop()
        if not self.fold.head.isChecked():
            return
        item = self.list.currentItem()
        current = None if item is None else item.data(_KEY)
        found = search(self._entries, self.words.text(), favourites=self.favourites.isChecked())
        self.list.blockSignals(True)
        self.list.clear()
        self._without_picture = []
        for entry in found:
            item = QtWidgets.QListWidgetItem()
            item.setSizeHint(QtCore.QSize(SIDE + 4, SIDE + 4))
            item.setData(_KEY, entry.key)
            item.setData(_FAVOURITE, entry.favourite)
            when = datetime.fromtimestamp(entry.at).strftime("%Y-%m-%d %H:%M")
            item.setToolTip(f"{entry.title}\n{when}")
            self.list.addItem(item)
            self._without_picture.append(item)
            if entry.key == current:
                self.list.setCurrentItem(item)
        self.list.blockSignals(False)
        self._without_picture.reverse()
        self._describe()
        self._fill_timer.start(0)

    def _fill(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._without_picture:
                self._fill_timer.stop()
                return
            item = self._without_picture.pop()
            pixmap = thumbnail_pixmap(self._thumbnail(item.data(_KEY)), SIDE)
            item.setIcon(QtGui.QIcon(pixmap))

    def _describe(self) -> None:
        item = self.list.currentItem()
        self.star.setEnabled(item is not None)
        self.save.setEnabled(item is not None)
        self.remove.setEnabled(item is not None)
        self.star.setChecked(item is not None and bool(item.data(_FAVOURITE)))
        if item is None:
            count = self.list.count()
            self.about.setText(
                tr("Nothing found") if not count else tr("{count} pictures", count=count)
            )
        else:
            self.about.setText(item.toolTip().partition("\n")[0])

    def _ask(self) -> None:
        item = self.list.currentItem()
        if item is None:
            return
        key = item.data(_KEY)
        # Not exec: Krita defers its own signals while another event loop runs.
        dialog = QtWidgets.QFileDialog(self, tr("Save picture"))
        dialog.setObjectName("save_picture")
        dialog.setAcceptMode(QtWidgets.QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("PNG (*.png)")
        dialog.setDefaultSuffix("png")
        dialog.fileSelected.connect(lambda path: self.saved.emit(key, path))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _tell(self, signal: Any, *values: bool) -> None:
        item = self.list.currentItem()
        if item is not None:
            signal.emit(item.data(_KEY), *values)
