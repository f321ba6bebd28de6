"""One connection within bounds: what it may cost before it has shaken hands, and what it keeps here.

websockets limits the size of a message. What it does not limit: connections that never say anything,
heads of many lines, messages of very many fragments, messages that wait behind the one being read,
and answers to pings that are never fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, CloseCode, Frame

# A browser's head, cookies and all, is a few KiB.
LARGEST_HEAD = 16 << 10
MOST_FRAGMENTS = 1 << 14
# What a fragment takes here besides its bytes.
_FRAGMENT = 128
# Ours never has more than one fragment above the limit at which writing waits.
LARGEST_UNSENT = 8 << 20
OUT_OF_ROOM = 4429
_SAY_EVERY = 10.0
_log = logging.getLogger("velatura.gateway")


class Strangers:
    """Connections that have not shown the token yet: few.

    One too many costs the oldest its place, as somebody who has the token is through in a moment and
    must not be kept out by those who wait. As many TLS handshakes may be going on, each for so many
    ``seconds``; before they end there is no connection to close, so one too many is refused.
    """

    def __init__(self, *, most: int, seconds: float, encrypted: bool) -> None:
        self.most = most
        self._seconds = seconds
        self._encrypted = encrypted
        self._here: OrderedDict[Bounded, None] = OrderedDict()
        self._handshakes: deque[float] = deque()
        self._said = -_SAY_EVERY

    def __len__(self) -> int:
        return len(self._here)

    def __contains__(self, connection: object) -> bool:
        return connection in self._here

    def begins(self) -> None:
        """Somebody connects. Raises ConnectionRefusedError: asyncio closes the socket."""
        if not self._encrypted:
            return
        now = time.monotonic()
        while self._handshakes and self._handshakes[0] < now - self._seconds:
            self._handshakes.popleft()
        if len(self._handshakes) >= self.most:
            self._say()
            raise ConnectionRefusedError("too many handshakes at once")
        self._handshakes.append(now)

    def came(self, connection: Bounded) -> None:
        if self._handshakes:
            self._handshakes.popleft()
        while len(self._here) >= self.most:
            oldest, _ = self._here.popitem(last=False)
            oldest.transport.abort()
            self._say()
        self._here[connection] = None

    def left(self, connection: Bounded) -> None:
        self._here.pop(connection, None)

    def _say(self) -> None:
        if time.monotonic() - self._said >= _SAY_EVERY:
            self._said = time.monotonic()
            _log.warning("many connections without a token: the oldest are closed")


class Room:
    """Bytes of answers that are read from the disk and on their way: whoever needs more waits."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """``size`` bytes; what is larger than all of it gets all of it."""
        size = min(size, self._most)
        async with self._changed:
            await self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            self._left += size
            async with self._changed:
                self._changed.notify_all()


class Budget:
    """Bytes of messages that were received and not dealt with yet.

    each  of one connection: beyond it nothing more is read from it until it has caught up
    all   of all together: the connection that goes beyond it is closed, to come again later
    """

    def __init__(self, *, each: int, all: int) -> None:
        self.each = each
        self.all = all
        self.used = 0


class Bounded(ServerConnection):
    """A connection of the server. Tell it ``taken`` when a message has been dealt with."""

    def __init__(self, *given: Any, strangers: Strangers, budget: Budget, **more: Any) -> None:
        super().__init__(*given, **more)
        self._strangers = strangers
        self._budget = budget
        self._head = 0
        self._fragments = 0
        self._message = 0
        self._messages: deque[int] = deque()
        self._queued = 0
        self._held = 0
        self._paused = False

    def is_known(self) -> None:
        """It has shown the token."""
        self._strangers.left(self)

    def taken(self) -> None:
        """The oldest message that was received is dealt with."""
        if self._messages:
            self._queued -= self._messages.popleft()
        self._account()
        if self._paused and self._held <= self._budget.each:
            self._paused = False
            if not self.recv_messages.paused:
                self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._strangers.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._strangers.left(self)
        self._messages.clear()
        self._message = self._queued = 0
        self._budget.used -= self._held
        self._held = 0
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self in self._strangers:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                _log.warning("closed: more than %d bytes before a handshake", LARGEST_HEAD)
                self.transport.abort()
                return
        super().data_received(data)
        if self.transport.get_write_buffer_size() > LARGEST_UNSENT:
            _log.warning("closed: answers to pings are not fetched")
            self.transport.abort()
            return
        self._account()
        if self._budget.used > self._budget.all:
            self._fail(OUT_OF_ROOM, "Too much at once: connect again in a moment.")
        elif self._held > self._budget.each:
            self._paused = True
            self.transport.pause_reading()

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._message += len(event.data) + _FRAGMENT
            self._fragments = 0 if event.fin else self._fragments + 1
            if self._fragments > MOST_FRAGMENTS:
                self._fail(CloseCode.MESSAGE_TOO_BIG, "Too many fragments in one message.")
                return
            if event.fin:
                self._messages.append(self._message)
                self._queued += self._message
                self._message = 0
        super().process_event(event)

    def _account(self) -> None:
        held = self._queued + self._message + len(self.protocol.reader.buffer)
        self._budget.used += held - self._held
        self._held = held

    def _fail(self, code: int, reason: str) -> None:
        _log.warning("closed with %d: %s", code, reason)
        self.protocol.fail(code, reason)
        self.send_data()
        self.transport.close()
