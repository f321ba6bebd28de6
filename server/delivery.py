"""Answers from the store to one client: what cannot be read ends its job, and all else comes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from velatura.protocol import messages as m

from .results import Answer, Results, Stored, UnreadableError

# A virus scanner or a backup may hold a file for a moment.
_TRIES, _PAUSE = 3, 0.1
_log = logging.getLogger("velatura.delivery")


class Delivery:
    """Reads the answers of one ``session`` when they are to be sent."""

    def __init__(self, results: Results, session: str) -> None:
        self._results = results
        self._session = session
        self._broken: set[str] = set()

    async def read(self, stored: Stored) -> list[Answer]:
        """What the client is told for ``stored``: nothing when it was acknowledged meanwhile.

        A job of which one picture cannot be read gets its other ones, and then ends with ``storage``.
        """
        job = stored.job
        try:
            message = await self._load(stored)
        except UnreadableError as error:
            if not self._results.is_known(self._session, job) or self._results.was_acknowledged(
                self._session, job
            ):
                return []
            _log.error("%s cannot be read: %s", stored.path, error)
            self._results.set_aside(self._session, job)
            if not stored.final:
                self._broken.add(job)
                return []
            self._broken.discard(job)
            return [_unreadable(job)]
        if not stored.final or job not in self._broken:
            return [message]
        self._broken.discard(job)
        if isinstance(message, m.Result):
            return [replace(message, last=False), _unreadable(job)]
        return [message]

    async def _load(self, stored: Stored) -> Answer:
        for left in range(_TRIES, 0, -1):
            try:
                return await asyncio.to_thread(stored.load)
            except UnreadableError:
                known = self._results.answers(self._session, stored.job)
                if left == 1 or stored not in known:
                    raise
                await asyncio.sleep(_PAUSE)
        raise AssertionError


def _unreadable(job: str) -> m.Error:
    sentence = (
        "A picture of this job cannot be read from the disk; its file is kept in the results folder: "
        "paint it again, and look at the disk that holds Velatura's data folder."
    )
    return m.Error(code="storage", message=sentence, job=job)
