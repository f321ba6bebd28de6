"""What waits to be sent to one client. A slow reader loses previews, never results or memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable

from velatura.protocol import messages as m

from .results import Stored
from .scheduler import is_final


class Outbox:
    """First in, first out; but a newer state, catalogue, progress or preview replaces the older.

    Results wait on disk (``Stored``), so its memory is bounded by the number of open jobs. Of live
    results none may be left out, as each holds the part that changed; the worker paints at most two
    that were not sent.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, m.Message | Stored] = OrderedDict()
        self._some = asyncio.Event()
        self._count = 0
        self._closing = False

    def put(self, message: m.Message | Stored) -> None:
        if self._closing:
            return
        slot = self._slot(message)
        self._waiting.pop(slot, None)
        if isinstance(message, Stored):
            final = message.final
        else:
            final = is_final(message) and getattr(message, "job", None) is not None
        if final:
            self._waiting.pop((m.Preview, message.job), None)  # type: ignore[union-attr]
            self._waiting.pop((m.Progress, message.job), None)  # type: ignore[union-attr]
        self._waiting[slot] = message
        self._some.set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def get(self) -> m.Message | Stored:
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        return self._waiting.popitem(last=False)[1]

    def finish(self, message: m.Message) -> None:
        """``message`` is the last; what waited stays in the store."""
        self._waiting.clear()
        self.put(message)
        self._closing = True

    @property
    def finished(self) -> bool:
        return self._closing and not self._waiting

    def _slot(self, message: m.Message | Stored) -> Hashable:
        if isinstance(message, (m.Preview, m.Progress)):
            return type(message), message.job
        if isinstance(message, (m.Status, m.Catalogue)):
            return type(message), None
        self._count += 1
        return self._count
