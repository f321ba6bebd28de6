"""Which passes are prepared and which run as they are: eager until warm, never waiting in mid-stroke.

A prepared pass is quicker but serves one shape, and takes long to make: a thread makes them one by
one while painting goes on with what there is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable

import torch
from velatura.server.worker.passes import Given, Pass, tensors_of

_log = logging.getLogger("velatura.worker")


def shape_of(given: Given) -> Hashable:
    """What a prepared pass is made for: bucket, batch, length of the prompt and set of controls."""
    return tuple((tuple(one.shape), one.dtype) for one in tensors_of(given))


class Warmed:
    """A pass by whatever form of it is ready.

    plain    runs any shape, now
    prepare  makes a pass for one shape from an example; it may take minutes. Called in a thread of
             its own, one at a time. Where it fails, that shape stays plain.
    room     whether there is memory for another one; when not, nothing more is prepared

    ``want`` says beforehand which shapes will come; a shape that comes unasked is wanted from then
    on, after those. ``close`` ends the thread after what it is at.
    """

    def __init__(
        self, plain: Pass, prepare: Callable[[Given], Pass], room: Callable[[], bool]
    ) -> None:
        self._plain, self._prepare, self._room = plain, prepare, room
        self._changed = threading.Condition()
        self._ready: dict[Hashable, Pass] = {}
        self._waiting: dict[Hashable, Given] = {}
        self._seen: set[Hashable] = set()
        self._closed = False
        self._thread: threading.Thread | None = None

    def __call__(self, given: Given) -> torch.Tensor:
        shape = shape_of(given)
        ready = self._ready.get(shape)
        if ready is None:
            self.want([given])
            return self._plain(given)
        return ready(given)

    def want(self, examples: Iterable[Given]) -> None:
        """Prepare passes like these, in this order. The examples' tensors are read later."""
        with self._changed:
            for given in examples:
                shape = shape_of(given)
                if shape not in self._seen:
                    self._seen.add(shape)
                    self._waiting[shape] = given
            if self._waiting and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="warming", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    @property
    def progress(self) -> tuple[int, int]:
        """(shapes that are done with, shapes wanted)."""
        with self._changed:
            return len(self._seen) - len(self._waiting), len(self._seen)

    def wait(self) -> None:
        """Until everything wanted is done with."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._closed)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                shape, given = next(iter(self._waiting.items()))
            prepared = None
            if self._room():
                try:
                    prepared = self._prepare(given)
                except Exception:  # noqa: BLE001  whatever a compiler raises, painting goes on
                    _log.warning("a pass of %s stays eager", shape, exc_info=True)
            with self._changed:
                if prepared is not None:
                    self._ready[shape] = prepared
                del self._waiting[shape]
                self._changed.notify_all()


@torch.no_grad()
def load_weights(into: torch.nn.Module, source: torch.nn.Module) -> None:
    """Give ``into`` the weights of ``source``, of the same shape, without moving them: what was
    prepared reads them where they lie."""
    for mine, theirs in zip(into.parameters(), source.parameters(), strict=True):
        mine.copy_(theirs)
