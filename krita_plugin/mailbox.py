"""News between two threads: newest wins."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..protocol import messages as m
from ..protocol.messages import Message


class Mailbox:
    """A busy GUI thread finds one message of a kind, not a queue of old ones.

    ring: called at the first news since the last look.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._newest: dict[tuple[type[Message], str], Message] = {}

    def put(self, event: m.Progress | m.Preview) -> None:
        with self._lock:
            ring = not self._newest
            self._newest[type(event), event.job] = event
        if ring:
            self._ring()

    def take(self) -> list[Message]:
        with self._lock:
            newest, self._newest = self._newest, {}
        return list(newest.values())
