"""Memory for pictures that come and go many times a second."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 128 << 20
_LARGE = 32 << 20
# How often (s) is looked whether pictures came and went, and how many bytes of them are worth it.
_LOOK = 2.0
# Progress and small previews of a job make no noise.
_QUIET = 1 << 20
_WORTH = 32 << 20


def keep_freed_memory() -> bool:
    """Let this process keep up to 128 MiB that it freed, instead of giving it back at once.

    Else every picture of a few MiB gets fresh pages from the system, and each page costs a fault when
    it is first touched: for a live frame of 1024 x 1024 that is half of the whole way. Only the GNU
    library does so; elsewhere nothing is done, and False is returned. Blocks from 32 MiB, where its own adapting threshold
    ends too, still go back at once.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _KEPT)
    )


async def return_memory(moved: Callable[[], int]) -> None:
    """Give what was freed back to the system whenever it has become quiet; until cancelled.

    moved: bytes that came and went so far. A block that lives above freed ones on the heap keeps them
    for good unless one asks; while a brush moves, asking would cost the faults that
    ``keep_freed_memory`` saves.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is None:
        return
    last = returned = moved()
    while True:
        await asyncio.sleep(_LOOK)
        now = moved()
        if now - last < _QUIET and now - returned >= _WORTH:
            returned = now
            await asyncio.to_thread(trim, 0)
        last = now
