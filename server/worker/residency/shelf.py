"""What is kept on the device from job to job, and what leaves when the next needs its room."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from velatura.models.devices import free_memory
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError

# Left free beside the models for what a job itself computes, in bytes.
_FOR_THE_JOB = 2 << 30
_GB = 10**9

# What it is, the name of the model that it belongs to, and whatever else tells it apart.
Key = tuple[Any, ...]


class Room:
    """How much fits on ``device``: measured, and at most ``limit`` bytes for models if given."""

    def __init__(self, device: torch.device, limit: int | None = None) -> None:
        self._device, self.limit = device, limit

    def free(self, held: int) -> int:
        """Bytes that another model may take while models hold ``held`` bytes."""
        free = free_memory(self._device) - _FOR_THE_JOB
        return free if self.limit is None else min(free, self.limit - held)

    def release(self) -> None:
        """Give back to the device what nothing uses any more."""
        gc.collect()
        if self._device.type in ("cuda", "xpu", "mps"):
            getattr(torch, self._device.type).empty_cache()


class Shelf:
    """Values on the device; those not used for longest leave when the next needs their room.

    forget: called with the key of each one that leaves, to drop what else holds it.
    """

    def __init__(self, room: Room, forget: Callable[[Key], None]) -> None:
        self._room, self._forget = room, forget
        self._values: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._in_use: set[Key] = set()

    def begin(self) -> None:
        """A job begins: what it gets from now on stays until the next one does."""
        self._in_use.clear()

    def get(
        self,
        key: Key,
        weigh: Callable[[], int],
        what: str,
        make: Callable[[], Any],
        field: str = "model",
    ) -> Any:
        """The value of ``key``; ``make`` makes it when it is not there, of about ``weigh()`` bytes.

        That is also what counts for a value whose own cannot be measured. ``what`` and ``field``
        name it in the JobError (``out_of_memory``) for what the limit does not allow even alone.
        """
        if key not in self._values:
            needs = weigh()
            self._make_room(needs)
            held, limit = self.held, self._room.limit
            if limit is not None and held + needs > limit:
                raise JobError(
                    "out_of_memory",
                    Sentence(
                        "{what} needs {needs} GB and models may take {limit} GB, {held} of which "
                        "this job uses already: choose a smaller one, or start the server with a "
                        "higher --memory.",
                        what=what,
                        needs=f"{needs / _GB:.2f}",
                        limit=f"{limit / _GB:.2f}",
                        held=f"{held / _GB:.2f}",
                    ),
                    field,
                )
            made = make()
            self._values[key] = made, bytes_of(made) or needs
        self._values.move_to_end(key)
        self._in_use.add(key)
        return self._values[key][0]

    @property
    def in_use(self) -> frozenset[Key]:
        """What was got since the job began."""
        return frozenset(self._in_use)

    def touch(self, keys: Iterable[Key]) -> None:
        """``keys``, which are there, are in use as if they had been got."""
        for key in keys:
            self._values.move_to_end(key)
            self._in_use.add(key)

    @property
    def held(self) -> int:
        """Bytes of all values."""
        return sum(size for _, size in self._values.values())

    def __iter__(self) -> Iterator[Key]:
        return iter(self._values)

    def peek(self, key: Key) -> Any:
        """Return the value of ``key``, which is there; that is no use of it."""
        return self._values[key][0]

    def rename(self, key: Key, new: Key) -> Any:
        """Call the value of ``key``, which is there, ``new`` from now on; returns it."""
        self._values[new] = self._values.pop(key)
        self._in_use.discard(key)
        self._in_use.add(new)
        return self._values[new][0]

    def drop(self, key: Key) -> None:
        """Let go of one value, if it is there, and of what ``forget`` drops with it."""
        if (entry := self._values.pop(key, None)) is not None:
            self._in_use.discard(key)
            close = getattr(entry[0], "close", None)
            if close is not None:
                close()
            self._forget(key)

    def clear(self) -> None:
        for key in tuple(self._values):
            self.drop(key)

    def _make_room(self, needs: int) -> None:
        for key in tuple(self._values):
            if self._room.free(self.held) >= needs:
                return
            if key not in self._in_use:
                self.drop(key)
                self._room.release()


def bytes_of(value: Any) -> int:
    """Bytes of the weights in a module, or in the modules of a dataclass; shared ones once.

    What counts its own says so by ``nbytes``.
    """
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    parts = [getattr(value, f.name) for f in fields(value)] if is_dataclass(value) else [value]
    seen: dict[int, int] = {}
    for part in parts:
        if isinstance(part, torch.nn.Module):
            for tensor in (*part.parameters(), *part.buffers()):
                storage = tensor.untyped_storage()
                seen[storage.data_ptr()] = storage.nbytes()
    return sum(seen.values())
