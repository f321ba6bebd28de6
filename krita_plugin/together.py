"""Several rows of Krita's History that belong together: one undo takes them all, one redo brings them.

Krita gives its scripts no way to make one row of two steps. So the rows are watched: where an undo
or a redo ends between them, the next follows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from krita import Krita

from .document import Document
from .painting import Painting
from .qt import QtCore, QtWidgets
from .view import take_gl

_HISTORY = "History"
_UNDO, _REDO = "edit_undo", "edit_redo"
# When Krita was busy: how long until it is asked again, in ms, and how often.
_AGAIN, _MOST_TRIES = 40, 50


@dataclass(frozen=True)
class _Group:
    """Rows ``before`` + 1 to ``after``, the rows of one document's History, and what they say."""

    document: Document
    before: int
    after: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class _New:
    """Rows on their way: ``count`` after the row ``before``. seen: how many there were last.

    is_there: they have come; a painter may have undone them already.
    """

    document: Document
    count: int
    before: int
    seen: int
    tries: int
    is_there: bool = False


class Together(QtCore.QObject):
    """Lives as long as the docker."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._groups: list[_Group] = []
        self._heard: list[Any] = []  # Krita's, which tell where its Histories stand
        self._last: tuple[Document, int] | None = None
        self._new: _New | None = None
        self._arrive = QtCore.QTimer(self)
        self._arrive.setSingleShot(True)
        self._arrive.timeout.connect(self._arrived)
        self._tries = _MOST_TRIES
        self._soon = QtCore.QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._follow)

    @property
    def is_settled(self) -> bool:
        """False while rows are on their way into Krita's History: some 0.1 s."""
        return self._new is None

    @contextmanager
    def room(self, painting: Painting | None, document: Document) -> Iterator[None]:
        """Enlarge the canvas as that press wanted it; the one layer that is added inside and that
        are one step of undo."""
        canvas = None if painting is None else painting.room(document)
        if canvas is None:
            yield
            return
        with self.rows(document, 2):
            take_gl()
            document.resize_canvas(canvas)
            yield

    @contextmanager
    def rows(self, document: Document, count: int) -> Iterator[None]:
        """The ``count`` rows that are made inside become one step of undo, if it is the active
        document."""
        view, before = self._view(), self._row()
        if view is None or before is None or not document.is_active:
            yield
            return
        self._listen(view)
        self._new = _New(document, count, before, before, _MOST_TRIES)
        try:
            yield
        finally:
            # Krita's threads tell its History a little later.
            self._arrive.start(_AGAIN)

    def _arrived(self) -> None:
        """Wait until the new rows are there and no more come."""
        new, view, row = self._new, self._view(), self._row()
        if new is None or view is None or row is None or not new.document.is_active:
            return
        last = int(view.model().rowCount()) - 1
        if (not new.is_there or last != new.seen) and new.tries:
            self._new = replace(new, seen=last, tries=new.tries - 1)
            self._arrive.start(_AGAIN)
            return
        self._new = None
        if not new.is_there:
            return
        texts = _texts(view, last - new.count, last)
        others = [g for g in self._groups if g.document.is_open and g.document != new.document]
        self._groups = [*others, _Group(new.document, last - new.count, last, texts)]
        self._last = new.document, last
        self._moved(row)

    def _listen(self, view: Any) -> None:
        rows = view.selectionModel()
        if rows not in self._heard:
            self._heard.append(rows)
            rows.currentChanged.connect(lambda now, before: self._moved(int(now.row())))

    def _moved(self, row: int) -> None:
        """Krita's History stands at this row: now to be noted, but not the time to move it again."""
        new, group = self._new, self._group()
        if new is not None and row >= new.before + new.count:
            self._new = replace(new, is_there=True)
        if group is None or row < 0:
            return
        if group.before < row < group.after:
            self._soon.start(0)
        else:
            self._last = group.document, row
            self._tries = _MOST_TRIES

    def _follow(self) -> None:
        """Go on where an undo or a redo stopped in the middle."""
        view, row, group, last = self._view(), self._row(), self._group(), self._last
        if group is None or view is None or row is None or not group.before < row < group.after:
            return
        if _texts(view, group.before, group.after) != group.texts:
            self._groups.remove(group)  # the painter went another way: those rows are gone
        elif last is not None and last[0] == group.document and self._tries:
            # Krita passes over an undo while it still draws the one before.
            group.document.wait_for_idle()
            take_gl()
            Krita.instance().action(_UNDO if last[1] > row else _REDO).trigger()
            self._tries -= 1
            self._soon.start(_AGAIN)

    def _group(self) -> _Group | None:
        return next((g for g in self._groups if g.document.is_active), None)

    def _row(self) -> int | None:
        """The current row of the active document's History."""
        view = self._view()
        return None if view is None else int(view.currentIndex().row())

    def _view(self) -> Any:
        """The list in the active window's History docker."""
        window = Krita.instance().activeWindow()
        for docker in Krita.instance().dockers():
            if docker.objectName() == _HISTORY and (
                window is None or docker.window() == window.qwindow()
            ):
                views = docker.findChildren(QtWidgets.QAbstractItemView)
                return views[0] if views else None
        return None


def _texts(view: Any, before: int, after: int) -> tuple[str, ...]:
    model = view.model()
    return tuple(str(model.data(model.index(row, 0))) for row in range(before + 1, after + 1))
