"""One thread for what would hold the GUI thread too long; results come back to the GUI thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .qt import QtCore, Signal

T = TypeVar("T")


class Workshop(QtCore.QObject):
    """Work is done one by one, in the order in which it was asked for."""

    _done = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]]] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._done.connect(self._finish)

    def do(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run ``work`` on the thread, then ``then`` with its value on the GUI thread.

        An exception of ``work`` is raised again on the GUI thread, before ``then``.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="velatura-work", daemon=True)
            self._thread.start()
        self._queue.put((work, then))

    def _run(self) -> None:
        while True:
            work, then = self._queue.get()
            try:
                value, error = work(), None
            except Exception as caught:  # noqa: BLE001 - it belongs to whoever asked
                value, error = None, caught
            self._done.emit((then, value, error))

    def _finish(self, outcome: Any) -> None:
        then, value, error = outcome
        if error is not None:
            raise error
        then(value)
