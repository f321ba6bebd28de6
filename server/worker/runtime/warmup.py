"""Which passes are prepared and which run as they are: eager until warm, never waiting in mid-stroke.

A prepared pass is quicker but serves one shape, and takes long to make: a thread makes them one by
one while painting goes on with what there is.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import torch
from velatura.models.devices import lacks_memory
from velatura.models.families.unet.call import Given, Pass, tensors_of
from velatura.server.worker.runtime.registry import Accelerations, with_fallback
from velatura.server.worker.runtime.switches import ALL_WANTED, GRAPHS

_T = TypeVar("_T")


def shape_of(given: Given) -> Hashable:
    """What a prepared pass is made for: bucket, batch, length of the prompt, set of controls, and where
    its layers keep something."""
    told = tensors_of(replace(given, kept=(), places=None))
    shapes = tuple((tuple(one.shape), one.dtype) for one in told)
    nets = tuple(id(guide.net) for guide in given.guides)
    return shapes, nets, given.is_part, given.kept[0].data_ptr() if given.kept else 0


@dataclass(frozen=True)
class Stage:
    """One way to prepare passes.

    prepare  makes a pass for one shape from an example; it may take minutes
    worth    passes of a shape that came unasked after which that is worth it
    name     the acceleration that it is
    """

    prepare: Callable[[Given], Pass]
    worth: int = 1
    name: str = GRAPHS


class Warmed:
    """A pass by whatever form of it is ready.

    plain   runs any shape, now
    stages  prepare shapes, in a thread of their own, one at a time: all of them by the first stage,
            then by the next, whose passes take the place of those before. What fails in being made
            is turned off in ``accelerations`` and not tried again; so is what fails in being run,
            and then no pass of its kind is run any more.
    room    whether there is memory for another one; when not, nothing more is prepared

    ``want`` says beforehand which shapes will come; a shape that comes unasked is wanted when it has
    come often enough, after those. ``close`` ends the thread after what it is at.
    """

    def __init__(
        self,
        plain: Pass,
        stages: Sequence[Stage],
        room: Callable[[], bool] = lambda: True,
        accelerations: Accelerations | None = None,
    ) -> None:
        self._plain, self._stages, self._room = plain, stages, room
        self._accelerations = accelerations or Accelerations(ALL_WANTED, "cuda")
        self._changed = threading.Condition()
        # By shape, with the name of what prepared it.
        self._ready: dict[Hashable, tuple[str, Pass]] = {}
        self._came: Counter[Hashable] = Counter()
        # By stage: what was ever wanted, and examples of what waits.
        self._wanted: list[set[Hashable]] = [set() for _ in stages]
        self._waiting: list[dict[Hashable, Given]] = [{} for _ in stages]
        self._beside: tuple[Hashable, object] | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def __call__(self, given: Given) -> torch.Tensor:
        shape = shape_of(given)
        self._came[shape] += 1
        for number, stage in enumerate(self._stages):
            if self._came[shape] >= stage.worth and shape not in self._wanted[number]:
                self._want(number, shape, given)
        name, prepared = self._ready.get(shape, ("", self._plain))
        if not name:
            return self._plain(given)

        def without() -> torch.Tensor:
            made = self._plain(given)
            with self._changed:
                self._ready = {key: one for key, one in self._ready.items() if one[0] != name}
            return made

        return with_fallback(lambda: prepared(given), without, name, self._accelerations)

    def is_ready(self, given: Given) -> bool:
        """Whether a pass like this is prepared."""
        return shape_of(given) in self._ready

    def want(self, examples: Iterable[Given]) -> None:
        """Prepare passes like these, in this order. The examples' tensors are read later."""
        for given in examples:
            shape = shape_of(given)
            for number in range(len(self._stages)):
                self._want(number, shape, given)

    def _want(self, number: int, shape: Hashable, given: Given) -> None:
        with self._changed:
            if shape not in self._wanted[number]:
                self._wanted[number].add(shape)
                self._waiting[number][shape] = given
            if self._waiting[number] and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="warming", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def beside(self, shapes: Hashable, make: Callable[[], _T]) -> _T:
        """What ``make`` made for ``shapes`` the last time, to lie beside the passes prepared for them.

        Only for the last ones that were asked for: what belongs to others is let go.
        """
        kept = self._beside
        if kept is None or kept[0] != shapes:
            with self._changed:
                self._ready.clear()
                self._came.clear()
                for wanted, waiting in zip(self._wanted, self._waiting, strict=True):
                    wanted.clear()
                    waiting.clear()
                self._beside = None
            self._beside = kept = (shapes, make())
        return cast(_T, kept[1])

    @property
    def progress(self) -> tuple[int, int]:
        """(passes that are done with, passes wanted), of all stages."""
        with self._changed:
            wanted = sum(map(len, self._wanted))
            return wanted - sum(map(len, self._waiting)), wanted

    def wait(self) -> None:
        """Until everything wanted is done with."""
        with self._changed:
            self._changed.wait_for(lambda: not any(self._waiting) or self._closed)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(self._waiting) or self._closed)
                if self._closed:
                    return
                stage = next(n for n, waiting in enumerate(self._waiting) if waiting)
                shape, given = next(iter(self._waiting[stage].items()))
            prepared, name = None, self._stages[stage].name
            if self._accelerations.is_on(name) and self._room():
                try:
                    prepared = self._stages[stage].prepare(given)
                except Exception as error:  # noqa: BLE001  whatever a compiler raises, painting goes on
                    # A capture that finds no memory left stands for that shape alone.
                    if not lacks_memory(error):
                        self._accelerations.fail(name, error)
            with self._changed:
                # It may have been let go meanwhile.
                if self._waiting[stage].pop(shape, None) is not None and prepared is not None:
                    self._ready[shape] = name, prepared
                self._changed.notify_all()


@torch.no_grad()
def load_weights(into: torch.nn.Module, source: torch.nn.Module) -> None:
    """Give ``into`` the weights of ``source``, of the same shape, without moving them: what was
    prepared reads them where they lie."""
    for mine, theirs in zip(into.parameters(), source.parameters(), strict=True):
        mine.copy_(theirs)
