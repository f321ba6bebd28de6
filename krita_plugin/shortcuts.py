"""The way to Krita's page of shortcuts, at our actions. Krita has no call for it."""

from __future__ import annotations

from functools import partial
from typing import Any

from krita import Krita

from .qt import QtCore, QtWidgets

_WORDS = "Velatura"
# How long a page may take to appear, in ms, and how often the dialogue is looked for.
_PAUSE, _LOOKS = 100, 50


def open_page() -> None:
    """Open Krita's settings there. They run an event loop of their own: nothing waits for them."""
    QtCore.QTimer.singleShot(0, Krita.instance().action("options_configure").trigger)
    QtCore.QTimer.singleShot(_PAUSE, partial(_turn, _LOOKS, 0))


def _turn(looks: int, row: int) -> None:
    """Turn to the page that has a search field for actions, from ``row`` on, and look for ours.

    Where there is none, in another version of Krita, the painter stands at the first page.
    """
    dialog = QtWidgets.QApplication.activeModalWidget()
    pages = None if dialog is None else _pages_of(dialog)
    if pages is None:
        if looks:
            QtCore.QTimer.singleShot(_PAUSE, partial(_turn, looks - 1, row))
        return
    for search in dialog.findChildren(QtWidgets.QLineEdit):
        if search.metaObject().className() == "KTreeWidgetSearchLine" and search.isVisible():
            search.setText(_WORDS)
            return
    is_last = row >= pages.model().rowCount()
    pages.setCurrentIndex(pages.model().index(0 if is_last else row, 0))
    if not is_last:
        # A page is made when it is turned to.
        QtCore.QTimer.singleShot(_PAUSE, partial(_turn, looks, row + 1))


def _pages_of(dialog: Any) -> Any:
    """The list of the dialogue's pages; None for a dialogue without."""
    for found in dialog.findChildren(QtWidgets.QAbstractItemView):
        if found.metaObject().className().endswith("KPageListView"):
            return found
    return None
