"""One thread for what would hold the GUI thread too long; results come back to the GUI thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .qt import QtCore, Signal

T = TypeVar("T")


class Workshop(QtCore.QObject):
    """Work is done one by one, in the order in which it was asked for.

    It has no parent, whose end would be its own: its thread speaks up until it has ended.
    """

    _done = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = (
            queue.SimpleQueue()
        )
        self._is_closed = False
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

    def close(self) -> None:
        """End the thread after all that was asked for; what follows from it is left undone."""
        self._is_closed = True
        self._queue.put(None)

    def _run(self) -> None:
        while (wish := self._queue.get()) is not None:
            work, then = wish
            try:
                value, error = work(), None
            except Exception as caught:  # noqa: BLE001 - it belongs to whoever asked
                value, error = None, caught
            self._done.emit((then, value, error))

    def _finish(self, outcome: Any) -> None:
        if self._is_closed:
            return
        then, value, error = outcome
        if error is not None:
            raise error
        then(value)
