"""Memory for pictures that come and go many times a second."""

from __future__ import annotations

import ctypes
import logging
import sys

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 128 << 20
_LARGE = 32 << 20


def keep_freed_memory() -> None:
    """Let this process keep up to 128 MiB that it freed, instead of giving it back at once.

    Else every picture of a few MiB gets fresh pages from the system, and each page costs a fault when
    it is first touched: for a live frame of 1024 x 1024 that is half of the whole way. Only the GNU
    library does so; elsewhere nothing is done. Blocks from 32 MiB, where its own adapting threshold
    ends too, still go back at once.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not (
        mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _KEPT)
    ):
        logging.getLogger(__name__).debug("This C library does not say how freed memory is kept.")
