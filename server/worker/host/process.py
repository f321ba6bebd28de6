"""The main loop of the process that owns the device: requests in, answers out, over two pipes.

Standard input and output carry messages framed by protocol.stream. A thread reads, so that a
cancel arrives, live frames are applied and heartbeats answered while the engine works; the end of the
input ends the process at once, so that nothing holds the device when the server is gone. So does the
end of any thread: a process that reads or paints no more must not look alive. Jobs go before live
canvases, which take turns; while there is neither, nothing is computed.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import NoReturn, Protocol

from velatura.protocol import messages as m
from velatura.protocol import stream
from velatura.protocol.codec import decode, encode
from velatura.protocol.discovery import data_folder
from velatura.protocol.errors import ProtocolError
from velatura.protocol.sentences import words_of
from velatura.server.allocation import keep_freed_memory
from velatura.server.worker.errors import JobError
from velatura.server.worker.live.canvas import LiveCanvas
from velatura.server.worker.runtime.switches import KEPT, switches_of

Request = m.Generate | m.Annotate
# While nothing is to be done, how often (s) the catalogue is looked at for newly installed models.
_IDLE = 5.0
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]+")
_log = logging.getLogger("velatura.worker")


class Engine(Protocol):
    """What paints. Used by one thread only."""

    def catalogue(self) -> m.Catalogue: ...

    def device(self) -> str: ...

    def loaded(self) -> tuple[str, ...]:
        """Names of the models in memory."""
        ...

    def run(
        self,
        request: Request,
        emit: Callable[[m.Message], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Emit Progress, Preview and Result (the last with ``last``) or ControlMap; raise JobError.

        ``cancelled`` is cheap: ask it at every step.
        """
        ...

    def paint_live(self, canvas: LiveCanvas, emit: Callable[[m.Message], None]) -> None:
        """Emit a LiveResult for what waits of ``canvas``, or give it up; raise JobError."""
        ...

    def close_live(self, job: str) -> None:
        """Forget what is kept for this live canvas, if anything."""
        ...


@dataclass(frozen=True)
class _Job:
    request: Request
    cancelled: threading.Event


class _Inbox:
    """Reads in a thread; hands out jobs one by one, and live canvases that have something to do."""

    def __init__(self, file: FileIO, beat: Callable[[], None]) -> None:
        self._file = file
        self._beat = beat
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._newest: _Job | None = None
        # In the order of their turns.
        self._canvases: dict[str, LiveCanvas] = {}
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def get(self, timeout: float) -> _Job | LiveCanvas | None:
        """What is next to be done; None when nothing came within ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._ready(), timeout)
            if self._jobs:
                return self._jobs.popleft()
            canvas = self._ready()
            if canvas is not None:
                self._canvases[canvas.job] = self._canvases.pop(canvas.job)
            return canvas

    def forget(self, canvas: LiveCanvas) -> None:
        with self._changed:
            self._canvases.pop(canvas.job, None)

    def _ready(self) -> LiveCanvas | None:
        return next((one for one in self._canvases.values() if one.has_work), None)

    def _read(self) -> None:
        try:
            while (blob := stream.read_blob(self._file.readinto)) is not None:
                if not blob:
                    self._beat()
                    continue
                message = decode(blob, largest_picture=1 << 40)
                if isinstance(message, m.Cancel):
                    if self._newest is not None and self._newest.request.job == message.job:
                        self._newest.cancelled.set()
                    continue
                with self._changed:
                    self._take(message)
                    self._changed.notify()
        except (ProtocolError, OSError) as error:
            _log.error("the server's pipe broke: %s", error)
        # Not sys.exit: the main thread may be deep inside a kernel.
        os._exit(0)

    def _take(self, message: m.Message) -> None:
        if isinstance(message, Request):
            self._newest = _Job(message, threading.Event())
            self._jobs.append(self._newest)
        elif isinstance(message, m.LiveOpen):
            self._canvases[message.job] = LiveCanvas(message)
        elif (canvas := self._canvases.get(getattr(message, "job", ""))) is None:
            return  # an error ended it, and this was on its way
        elif isinstance(message, m.LiveFrame):
            canvas.apply(message)
        elif isinstance(message, m.LiveSettings):
            canvas.change(message)
        elif isinstance(message, m.Acknowledge):
            canvas.sent()
        elif isinstance(message, m.LiveClose):
            canvas.close()


def _run(
    engine: Engine, request: Request, emit: Callable[[m.Message], None], event: threading.Event
) -> None:
    """One job, with exactly one final answer whatever the engine does."""
    answered = False

    def pass_on(message: m.Message) -> None:
        nonlocal answered
        if answered:
            raise RuntimeError("the engine went on after the job's final answer")
        answered = isinstance(message, m.ControlMap) or (
            isinstance(message, m.Result) and message.last
        )
        emit(message)

    error: m.Error | None = None
    try:
        engine.run(request, pass_on, event.is_set)
        if not answered:
            raise RuntimeError("the engine ended a job without a final answer")
    except Exception as failure:  # noqa: BLE001  whatever a model or a library raises
        error = _told(request.job, failure)
    if error is not None and not answered:
        emit(error)


def _paint_live(
    engine: Engine, canvas: LiveCanvas, inbox: _Inbox, emit: Callable[[m.Message], None]
) -> None:
    """One turn of a live canvas: ask for a key frame, paint, or close it."""
    ended: m.Message | None = m.LiveClosed(job=canvas.job) if canvas.closed else None
    if ended is None:
        if canvas.take_key_frame():
            emit(m.LiveKeyFrame(job=canvas.job))
        try:
            engine.paint_live(canvas, emit)
        except Exception as failure:  # noqa: BLE001  whatever a model or a library raises
            ended = _told(canvas.job, failure)
    if ended is not None:
        inbox.forget(canvas)
        engine.close_live(canvas.job)
        emit(ended)


def _told(job: str, failure: Exception) -> m.Error:
    """What the client hears of ``failure``; the next job must work whatever it was."""
    if isinstance(failure, JobError):
        message = _sentence(failure.message)
        return m.Error(
            code=failure.code,
            message=message,
            job=job,
            field=failure.field,
            words=words_of(failure.message) if message == failure.message else None,
        )
    _log.error("job %s failed", job, exc_info=failure)
    if isinstance(failure, MemoryError):
        sentence = "This machine's memory is full: try a smaller area, or close other programs."
        return m.Error(code="out_of_memory", message=sentence, job=job)
    sentence = "The server failed at this job; its log holds the details."
    return m.Error(code="internal", message=sentence, job=job)


def _sentence(text: str) -> str:
    return _CONTROL_CHARACTERS.sub(" ", text).strip()[:2000]


def _loop(engine: Engine, inbox: _Inbox, emit: Callable[[m.Message], None]) -> None:
    catalogue, status, work = None, None, None
    while True:
        # Looking at the disk costs a live picture more than it is worth.
        if not isinstance(work, LiveCanvas) and (newest := engine.catalogue()) != catalogue:
            catalogue = newest
            emit(catalogue)
        state = m.Status(worker="ready", device=engine.device(), loaded=engine.loaded())
        if state != status:
            status = state
            emit(status)
        work = inbox.get(_IDLE)
        if isinstance(work, _Job):
            _run(engine, work.request, emit, work.cancelled)
        elif work is not None:
            _paint_live(engine, work, inbox, emit)


class _Output:
    """The answers' pipe; both threads write to it."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def emit(self, message: m.Message) -> None:
        parts = encode(message)
        with self._lock:
            stream.write_blob(self._file.write, parts)

    def beat(self) -> None:
        with self._lock:
            stream.write_blob(self._file.write, stream.HEARTBEAT)


def _end_process(what: str, failure: BaseException) -> NoReturn:
    """End at once, with ``failure`` as the last words in the log."""
    try:
        _log.critical("%s failed", what, exc_info=failure)
        name = "".join(traceback.format_exception_only(failure)).strip().splitlines()[-1]
        print(f"{what} failed: {name}", file=sys.stderr, flush=True)
    finally:
        # Not sys.exit: other threads may be deep inside a kernel.
        os._exit(1)


def _end_with_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "of a library"
    _end_process(f"Thread {name}", ended.exc_value or ended.exc_type())


def main(make_engine: Callable[[], Engine]) -> None:
    """Never returns. ``make_engine`` may take its time: it is where the heavy imports belong."""
    # Ctrl-C in the server's terminal reaches us too; the server says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever prints, prints into the log: the answers' pipe is ours alone.
    output = _Output(os.fdopen(os.dup(1), "wb", buffering=0))
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s %(message)s")
    threading.excepthook = _end_with_thread
    inbox = _Inbox(os.fdopen(os.dup(0), "rb", buffering=0), output.beat)
    if not switches_of(os.environ).why_off(KEPT):
        keep_freed_memory()
    try:
        _loop(make_engine(), inbox, output.emit)
    except BaseException as failure:  # noqa: BLE001  the reader must not outlive it
        _end_process("The worker", failure)


def _make_default() -> Engine:
    from velatura.models.styles import SHIPPED, Styles
    from velatura.server.settings import memory_limit, model_folders
    from velatura.server.worker.engine import make_engine

    styles = Styles([data_folder() / "styles", SHIPPED])
    switches = switches_of(os.environ)
    return make_engine(lambda: model_folders(data_folder()), memory_limit(), styles, switches)


if __name__ == "__main__":
    main(_make_default)
