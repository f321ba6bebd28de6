"""How many connections may be open, so that results and the worker always find a file handle."""

from __future__ import annotations

import contextlib
import logging
import sys

# For results being written, the worker's pipes, the log, the lock, what libraries open, and the
# connections that the system has accepted for us and we have not refused yet.
RESERVED = 112
_WANTED = 4096
_LEAST = 4
_log = logging.getLogger("velatura.handles")


def connections_allowed(wanted: int) -> int:
    """``wanted``, or fewer where this process may not open enough files.

    Raises the process's own limit as far as the system lets it.
    """
    if sys.platform == "win32":  # sockets are no files there, and there is no such limit
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _WANTED:
        more = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = max(_LEAST, min(wanted, soft - RESERVED))
    if allowed < wanted:
        _log.warning("%d open files allowed: at most %d connections", soft, allowed)
    return allowed
