"""Starts the worker process, passes messages both ways, and starts it again when it dies.

A job that killed its worker is reported, not tried again. A worker that dies before it was ready is
started again after a growing pause. One that lives but does not answer heartbeats is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from io import RawIOBase
from typing import Any

from velatura.protocol import messages as m
from velatura.protocol import stream
from velatura.protocol.codec import decode, encode
from velatura.protocol.errors import ProtocolError

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# How far the worker may be ahead of us before its pipe fills and it waits.
_MOST_UNREAD = 32
_BUFFER = 1 << 20
# Bytes sent to the worker and not read by it yet, from which on live frames wait.
MOST_UNSENT = 64 << 20
# How long (s) a worker whose pipe has ended may take to end: killed sooner, it could not tell why.
_GRACE = 5.0
_log = logging.getLogger("velatura.supervisor")
_worker_log = logging.getLogger("velatura.worker")


class Process:
    """One worker process; three threads keep its pipes moving, and the end of one ends it.

    ``received`` gets its messages, then None at its end, and may block to slow it down.

    unsent      bytes that wait to be sent; ``sent`` is called when they have become fewer
    unanswered  heartbeats sent since anything was heard; 0 while ``received`` holds us back
    fault       why we ended it, a sentence; empty when it ended by itself
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        received: Callable[[m.Message | None], None],
        sent: Callable[[], None] = lambda: None,
    ) -> None:
        self._received = received
        self._sent = sent
        self._outgoing: queue.SimpleQueue[list[bytes | memoryview] | None] = queue.SimpleQueue()
        self._count = threading.Lock()
        self.unsent = 0
        self._listening = True
        self.unanswered = 0
        self.fault = ""
        self.last_words = ""
        self._popen, self._input, self._output = _start(command, environ)
        self.pid = self._popen.pid
        self._stderr = threading.Thread(
            target=self._guard, args=(self._listen,), name="worker-log", daemon=True
        )
        self._stderr.start()
        for name, work in (("worker-answers", self._read), ("worker-requests", self._write)):
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True).start()

    def send(self, message: m.Message | bytes) -> None:
        """Never blocks. What a dead worker is sent is lost with it. ``bytes``: an encoded message."""
        self._put([message] if isinstance(message, bytes) else encode(message))

    def beat(self) -> None:
        """Ask for a sign of life."""
        if self._listening:
            self.unanswered += 1
        self._put(stream.HEARTBEAT)

    def _put(self, parts: list[bytes | memoryview]) -> None:
        with self._count:
            self.unsent += sum(map(len, parts))
        self._outgoing.put(parts)

    def kill(self, fault: str) -> None:
        """End it because of ``fault``; the first one is kept."""
        self.fault = self.fault or fault
        with contextlib.suppress(OSError):
            self._popen.kill()

    def end(self) -> int:
        """Kill it if it lives, and reap it. Returns its exit status (negative: a signal)."""
        self._outgoing.put(None)
        with contextlib.suppress(OSError):
            self._popen.kill()
        return self._popen.wait()

    def reap(self) -> int:
        """The exit status of a process whose pipe has ended. Blocks until it is gone."""
        self._outgoing.put(None)
        try:
            status = self._popen.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.kill("it closed its pipe and went on.")
            status = self._popen.wait()
        self._stderr.join(1.0)
        return status

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  a silent thread would leave the queue standing
            _log.error("%s ended", threading.current_thread().name, exc_info=error)
            self.kill(f"the server could not go on with it ({type(error).__name__}).")

    def _read(self) -> None:
        pipe = self._output

        def readinto(view: memoryview) -> int | None:
            count = pipe.readinto(view)
            self.unanswered = 0
            return count

        try:
            with pipe:
                while (blob := stream.read_blob(readinto)) is not None:
                    if blob:
                        message = decode(blob, largest_picture=1 << 40)
                        self._listening = False
                        self._received(message)
                        self.unanswered, self._listening = 0, True
        except OSError as error:  # it died while it wrote
            _log.warning("the worker's pipe broke: %s", error)
        except ProtocolError as error:
            _log.warning("the worker's pipe broke: %s", error)
            # A message cut short is a death in the middle of it, which has a cause of its own.
            if self._popen.poll() is None and "ended inside" not in error.message:
                self.kill(f"it wrote what is no message ({error.message})")
        finally:
            self._stderr.join(1.0)
            self._received(None)

    def _write(self) -> None:
        pipe = self._input
        with contextlib.suppress(OSError), pipe:  # a dead worker: its reader says so
            while (parts := self._outgoing.get()) is not None:
                stream.write_blob(pipe.write, parts)
                size = sum(map(len, parts))
                del parts
                with self._count:
                    self.unsent -= size
                self._sent()

    def _listen(self) -> None:
        pipe = self._popen.stderr
        assert pipe is not None
        with pipe, os.fdopen(os.dup(pipe.fileno()), "rb") as lines:
            while line := lines.readline(8192):
                text = line.decode("utf-8", "replace").rstrip()
                if text:
                    self.last_words = text
                    _worker_log.info("%s", text)


def _start(
    command: Sequence[str], environ: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], RawIOBase, RawIOBase]:
    """The process, its input and its output."""

    def popen(**more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0, env=environ, **more)

    if sys.platform == "win32":
        # No black window beside Krita.
        window = subprocess.CREATE_NO_WINDOW
        process = popen(stdin=subprocess.PIPE, stdout=subprocess.PIPE, creationflags=window)
        assert isinstance(process.stdin, RawIOBase)
        assert isinstance(process.stdout, RawIOBase)
        return process, process.stdin, process.stdout
    # Sockets: a picture takes half the time that it takes through a pipe.
    our_input, its_input = socket.socketpair()
    our_output, its_output = socket.socketpair()
    with our_input, its_input, our_output, its_output:
        for sender in (our_input, its_output):
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        return (
            popen(stdin=its_input.fileno(), stdout=its_output.fileno()),
            our_input.makefile("wb", buffering=0),
            our_output.makefile("rb", buffering=0),
        )


class Supervisor:
    """Keeps one worker alive while ``run`` runs.

    on_message  awaited for each message, in order
    on_status   the state when there is no worker to say it
    on_lost     the worker is gone, after its last message was handled
    heartbeat   every so many seconds the worker is asked for a sign of life
    patience    so many of them may go unanswered in a row; ``patience_at_start`` until it is ready,
                as imports from a slow disk hold the interpreter for long
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        on_message: Callable[[m.Message], Awaitable[None]],
        on_status: Callable[[m.Status], None],
        on_lost: Callable[[], None],
        heartbeat: float = 5.0,
        patience: int = 6,
        patience_at_start: int = 120,
    ) -> None:
        self._command = command
        self._environ = environ
        self._on_message = on_message
        self._on_status = on_status
        self._on_lost = on_lost
        self._heartbeat = heartbeat
        self._patience = patience, patience_at_start
        self._process: Process | None = None
        self._room = asyncio.Event()
        self._room.set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def send(self, message: m.Message | bytes) -> None:
        """``bytes``: an encoded message."""
        process = self._process
        if process is not None:
            process.send(message)
            if process.unsent > MOST_UNSENT:
                self._room.clear()

    async def room(self) -> None:
        """Wait until the worker has read most of what it was sent, or is gone."""
        await self._room.wait()

    async def run(self) -> None:
        """Until cancelled; then the worker is gone too."""
        pause = _FIRST_PAUSE
        self._on_status(m.Status(worker="starting"))
        while True:
            was_ready, reason = await self._one_life()
            if was_ready:
                pause = _FIRST_PAUSE
                self._on_status(m.Status(worker="restarting", reason=reason))
            else:
                self._on_status(m.Status(worker="failed", reason=reason))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _one_life(self) -> tuple[bool, str]:
        """(whether it got ready, a sentence on its end) of one worker process."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[m.Message | None] = asyncio.Queue()
        room = threading.BoundedSemaphore(_MOST_UNREAD)

        def received(message: m.Message | None) -> None:
            room.acquire()
            with contextlib.suppress(RuntimeError):  # the loop has ended, and we with it
                loop.call_soon_threadsafe(arrived.put_nowait, message)

        def drained() -> None:
            # Looked at on the loop, where more is sent: what the thread saw may be over.
            if process.unsent <= MOST_UNSENT // 2:
                self._room.set()

        def sent() -> None:
            if not self._room.is_set() and process.unsent <= MOST_UNSENT // 2:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(drained)

        try:
            process = Process(self._command, self._environ, received, sent)
        except OSError as error:
            return False, f"The worker process cannot be started: {error}."
        self._process = process
        _log.info("worker process %d starts", process.pid)
        ready = threading.Event()
        watch = asyncio.create_task(self._watch(process, ready))
        try:
            while (message := await arrived.get()) is not None:
                if isinstance(message, m.Status):
                    ready.set()
                await self._on_message(message)
                room.release()
            # Reaped before it is killed: else every death looks like ours.
            status = await asyncio.to_thread(process.reap)
        finally:
            watch.cancel()
            self._process = None
            self._room.set()
            process.end()
        _log.error("worker process %d ended with %d", process.pid, status)
        self._on_lost()
        return ready.is_set(), _reason(ready.is_set(), status, process.last_words, process.fault)

    async def _watch(self, process: Process, ready: threading.Event) -> None:
        """End ``process`` when it does not answer.

        Beats are counted, not seconds: a laptop that slept has not waited for an answer.
        """
        while True:
            await asyncio.sleep(self._heartbeat)
            patience, at_start = self._patience
            most = patience if ready.is_set() else at_start
            if process.unanswered >= most:
                _log.error("worker process %d does not answer and is ended", process.pid)
                process.kill(f"it did not answer for {most * self._heartbeat:.0f} s.")
                return
            process.beat()


def _reason(ready: bool, status: int, last_words: str, fault: str) -> str:
    """One sentence, or two, on the end of a worker.

    status: its exit status, negative for a signal. fault: why we ended it, if we did.
    """
    when = "while it worked" if ready else "at its start"
    if fault:
        return f"The worker process was ended {when}: {fault}"
    words = "".join(c if c.isprintable() else " " for c in last_words)[:500]
    if status == -9:
        # It had no time for words: its last ones are about something else.
        return f"The worker process was ended {when} (signal 9). Most likely the memory was full."
    how = (
        f"The worker process was ended {when} (signal {-status})"
        if status < 0
        else f"The worker process ended {when} (exit status {status})"
    )
    return f"{how}: {words}" if words else f"{how}."
