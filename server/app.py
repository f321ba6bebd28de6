"""One server from start to end: everything is made here and handed to where it is used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping

from velatura.protocol.discovery import Running

from . import __version__
from .allocation import keep_freed_memory, return_memory
from .gateway import Gateway
from .lives import Lives
from .log import open_log
from .presence import Presence
from .results import Results
from .scheduler import Scheduler
from .sessions import Sessions
from .settings import (
    MEMORY_VARIABLE,
    MODELS_VARIABLE,
    Settings,
    StartError,
    cannot,
    make_folder,
    own_token,
)
from .spool import Spool
from .studio import Studio
from .supervisor import Supervisor
from .worker.runtime.switches import VARIABLE as SWITCHES_VARIABLE

# How often (s) is looked whether the data folder is still there.
_LOOK = 2.0
_log = logging.getLogger("velatura.server")


def serve(
    settings: Settings,
    announce: Callable[[Running], None],
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Serve until SIGINT or SIGTERM. ``announce`` is called when clients can connect.

    Raises StartError when the server cannot start, or when its folder is gone.
    """
    keep_freed_memory()
    presence = Presence(settings.folder)
    presence.claim()
    try:
        token = own_token(settings.folder)
        handler = open_log(settings.folder, token)
        try:
            asyncio.run(_serve(settings, token, presence, announce, environ))
        except OSError as error:
            _log.error("ended", exc_info=error)
            raise cannot("The server cannot go on", error) from error
        finally:
            handler.close()
    finally:
        presence.release()


async def _serve(
    settings: Settings,
    token: str,
    presence: Presence,
    announce: Callable[[Running], None],
    environ: Mapping[str, str],
) -> None:
    folder = settings.folder / "results"
    make_folder(folder)
    results = Results(folder, most_bytes=settings.results_bytes, age=settings.results_age)
    lives = Lives(most_pixels=settings.limits.picture_pixels)
    spool = Spool(settings.folder / "waiting", most_bytes=settings.waiting_bytes)
    studio = Studio(Scheduler(most_jobs=settings.limits.jobs), results, lives, spool)
    sessions = Sessions(folder, token, age=settings.results_age, needed=studio.needs)
    gateway = Gateway(settings, token, sessions, studio)
    supervisor = Supervisor(
        settings.worker,
        _worker_environment(settings, environ),
        on_message=studio.from_worker,
        on_status=studio.set_status,
        on_lost=studio.worker_lost,
    )
    studio.use(supervisor)
    stop = _stop_event()
    await gateway.start()
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    running = Running(
        pid=os.getpid(),
        host=anywhere.get(settings.host, settings.host),
        port=gateway.port,
        version=__version__,
        tls=settings.certificate is not None,
        certificate=str(settings.certificate.resolve()) if settings.certificate else "",
    )
    presence.announce(running)
    announce(running)
    _log.info("listening at %s", running.url)
    working = asyncio.create_task(supervisor.run())
    stopping = asyncio.create_task(stop.wait())
    watching = asyncio.create_task(_watch(presence))
    tidying = asyncio.create_task(return_memory(lambda: gateway.moved))
    await asyncio.wait((working, stopping, watching), return_when=asyncio.FIRST_COMPLETED)
    # The worker first: what it does now nobody waits for, and the device is free at once.
    gone = watching.done()
    tidying.cancel()
    watching.cancel()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await gateway.stop()
    _log.info("stopped")
    if gone:
        raise StartError(
            f"{settings.folder} was removed while the server ran, so that it ended: start it again."
        )


async def _watch(presence: Presence) -> None:
    """Returns when the data folder is gone: nothing could be kept any more."""
    while presence.lasts:
        await asyncio.sleep(_LOOK)


def _worker_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    folders = os.pathsep.join(str(path.resolve()) for path in settings.models)
    return {
        **environ,
        "VELATURA_HOME": str(settings.folder),
        "PYTHONUNBUFFERED": "1",
        **({MODELS_VARIABLE: folders} if folders else {}),
        SWITCHES_VARIABLE: settings.switches.text or environ.get(SWITCHES_VARIABLE, ""),
        **({MEMORY_VARIABLE: str(settings.memory)} if settings.memory else {}),
    }


def _stop_event() -> asyncio.Event:
    """Set by Ctrl-C and by SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows' loop
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop
