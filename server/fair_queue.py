"""The order of waiting jobs: fair between sessions, and a place that can be told at any length.

Interactive jobs (one variant, or a control map) go before batches; a batch is passed over
MOST_OVERTAKES times at most. Within each kind sessions take turns: a session's n-th waiting job is of
the n-th round from now, and a round is served in the order of arrival (start-time fair queueing,
Goyal, Vin and Cheng 1996, with jobs of equal length).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_OVERTAKES = 8


@dataclass(eq=False)
class Entry:
    """One waiting job. ``turn``: (round, number of arrival), what its line is sorted by."""

    session: str
    job: str
    interactive: bool
    turn: tuple[int, int] = field(default=(0, 0), init=False)


def _turn(entry: Entry) -> tuple[int, int]:
    return entry.turn


class _Line:
    """The waiting jobs of one kind, sorted by their turns. Each call takes O(log n) comparisons."""

    def __init__(self) -> None:
        self._sorted: list[Entry] = []
        self._of: dict[str, dict[Entry, None]] = {}
        self._round = 0
        self._served: set[str] = set()  # in this round

    def __len__(self) -> int:
        return len(self._sorted)

    def __getitem__(self, rank: int) -> Entry:
        return self._sorted[rank]

    def add(self, entry: Entry, arrival: int) -> None:
        mine = self._of.setdefault(entry.session, {})
        first = self._round + (entry.session in self._served)
        last = next(reversed(mine)).turn[0] + 1 if mine else first
        entry.turn = (max(first, last), arrival)
        mine[entry] = None
        insort(self._sorted, entry, key=_turn)

    def rank(self, entry: Entry) -> int:
        return bisect_left(self._sorted, entry.turn, key=_turn)

    def pop(self) -> Entry:
        """The first one; its session is served."""
        entry = self._sorted.pop(0)
        if entry.turn[0] > self._round:
            self._round = entry.turn[0]
            self._served.clear()
        if not self._sorted:
            # Nobody waits whose turn it could be: sessions that come and go are not remembered.
            self._served.clear()
        self._served.add(entry.session)
        self._forget(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Take it out; what its session has behind it moves up by a round."""
        mine = list(self._of[entry.session])
        behind = mine[mine.index(entry) + 1 :]
        for one in (entry, *behind):
            del self._sorted[self.rank(one)]
            self._forget(one)
        for one in behind:
            self.add(one, one.turn[1])

    def _forget(self, entry: Entry) -> None:
        mine = self._of[entry.session]
        del mine[entry]
        if not mine:
            del self._of[entry.session]


class FairQueue:
    """Waiting jobs in the order in which they will run if nothing else comes."""

    def __init__(self) -> None:
        self._singles, self._batches = _Line(), _Line()
        self._overtaken = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._singles) + len(self._batches)

    def add(self, entry: Entry) -> None:
        self._arrivals += 1
        self._line(entry).add(entry, self._arrivals)

    def remove(self, entry: Entry) -> None:
        self._line(entry).remove(entry)
        if not self._batches:
            self._overtaken = 0

    def pop(self) -> Entry:
        """Take out the job that runs next. Raises IndexError when there is none."""
        if self._batch_is_next(len(self._singles), len(self._batches), self._overtaken):
            self._overtaken = 0
            return self._batches.pop()
        self._overtaken += bool(self._batches)
        return self._singles.pop()

    def place(self, entry: Entry) -> int:
        """1 for the job that runs next.

        The first batch runs behind the single jobs that may still overtake it, and each further one
        behind MOST_OVERTAKES more, as long as there are any.
        """
        rank = self._line(entry).rank(entry)
        left = max(0, MOST_OVERTAKES - self._overtaken)
        if not entry.interactive:
            return rank + 1 + min(len(self._singles), left + rank * MOST_OVERTAKES)
        ahead = 0 if rank < left else 1 + (rank - left) // MOST_OVERTAKES
        return rank + 1 + min(len(self._batches), ahead)

    def first(self, most: int) -> Iterator[Entry]:
        """The first ``most`` in the order of running; nothing is taken out."""
        single, batch, overtaken = 0, 0, self._overtaken
        for _ in range(min(most, len(self))):
            singles, batches = len(self._singles) - single, len(self._batches) - batch
            if self._batch_is_next(singles, batches, overtaken):
                yield self._batches[batch]
                batch, overtaken = batch + 1, 0
            else:
                yield self._singles[single]
                single, overtaken = single + 1, overtaken + bool(batches)

    @staticmethod
    def _batch_is_next(singles: int, batches: int, overtaken: int) -> bool:
        return batches > 0 and (singles == 0 or overtaken >= MOST_OVERTAKES)

    def _line(self, entry: Entry) -> _Line:
        return self._singles if entry.interactive else self._batches
