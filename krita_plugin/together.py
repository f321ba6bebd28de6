"""Several rows of Krita's History that belong together: one undo takes them all, one redo brings them.

Krita gives its scripts no way to make one row of two steps. So the rows are watched: where an undo
or a redo ends between them, the next follows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from krita import Krita

from .document import Document
from .qt import QtCore, QtWidgets

_HISTORY = "History"
_UNDO, _REDO = "edit_undo", "edit_redo"


@dataclass(frozen=True)
class _Group:
    """Rows ``before`` + 1 to ``after``, the rows of one document's History, and what they say."""

    document: Document
    before: int
    after: int
    texts: tuple[str, ...]


class Together(QtCore.QObject):
    """Lives as long as the docker."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._groups: list[_Group] = []
        self._heard: list[Any] = []  # models that tell us when their rows change
        self._last: tuple[Document, int] | None = None

    @contextmanager
    def rows(self, document: Document) -> Iterator[None]:
        """Whatever is done to the document inside becomes one step of undo. It must be active."""
        before = self._row() if document.is_active else None
        yield
        view, after = self._view(), self._row()
        if before is None or view is None or after is None or after - before < 2:
            return
        texts = _texts(view, before, after)
        self._groups = [g for g in self._groups if g.document.is_open and g.document != document]
        self._groups.append(_Group(document, before, after, texts))
        self._last = document, after
        self._listen(view.model())

    def _listen(self, model: Any) -> None:
        if model not in self._heard:
            self._heard.append(model)
            # The view's current row follows its rows.
            model.modelReset.connect(lambda: QtCore.QTimer.singleShot(0, self._follow))

    def _follow(self) -> None:
        """Go on where an undo or a redo stopped in the middle."""
        view, row = self._view(), self._row()
        group = next((g for g in self._groups if g.document.is_active), None)
        if group is None or view is None or row is None:
            return
        last, self._last = self._last, (group.document, row)
        if not group.before < row < group.after:
            return
        if _texts(view, group.before, group.after) != group.texts:
            self._groups.remove(group)  # the painter went another way: those rows are gone
            return
        if last is None or last[0] != group.document:
            return
        self._last = last  # still on the way
        app = Krita.instance()
        app.action(_UNDO if last[1] > row else _REDO).trigger()

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
