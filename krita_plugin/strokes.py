"""Whether the painter painted where a picture will lie, since it was asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .document import Document
from .painting import Painting, is_as_asked
from .placing import visible_sum


@dataclass(frozen=True)
class _Seen:
    """What was found while these layers were shown."""

    shown: Mapping[str, bool]
    sum: int
    is_painted_over: bool


@dataclass
class _Place:
    """sums: checksums of what is visible there without a stroke. shown: the layers that were, when
    it was asked for. is_settled: False from before a layer of ours is added until Krita has drawn it."""

    painting: Painting
    sums: set[int]
    shown: Mapping[str, bool]
    last: _Seen | None = None
    is_settled: bool = True

    @property
    def sum(self) -> int | None:
        """Of what is visible there now; None where that tells nothing."""
        painting, document = self.painting, self.painting.document
        if painting.watched is None or not document.is_open:
            return None
        if not is_as_asked(painting) or document.frames != painting.frames:
            return None
        if document.limits().isolated:
            return None
        return visible_sum(document, painting.watched)

    def is_painted_over(self) -> bool:
        seen = self.sum if self.is_settled else None
        if seen is None or seen in self.sums:
            return False
        document, rect = self.painting.document, self.painting.watched
        shown, last = document.shown, self.last
        # To look with other layers shown takes a copy of the document: not at every stroke.
        if last is None or shown != last.shown or not (last.is_painted_over or seen == last.sum):
            with document.shown_as(self.shown, rect) as before:
                is_painted_over = rect is not None and visible_sum(before, rect) not in self.sums
            self.last = last = _Seen(shown, seen, is_painted_over)
        return last.is_painted_over


class Strokes:
    """Watches the places of what was asked for. A layer of ours that comes there is no stroke."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def watch(self, painting: Painting, again: str = "") -> None:
        """again: the job of which this one asks for the rest."""
        old = self._places.get(again)
        sums = {painting.before} if old is None else set(old.sums)
        shown = painting.shown if old is None else old.shown
        self._places[painting.request.job] = _Place(painting, sums, shown)

    def watch_only(self, jobs: Collection[str]) -> None:
        self._places = {job: place for job, place in self._places.items() if job in jobs}

    def expect_layer(self, document: Document) -> None:
        """Call it before a layer of ours is added; strokes made before that stay known."""
        document.wait_for_idle()
        for place in self._places.values():
            if place.painting.document == document and not place.is_painted_over():
                place.is_settled = False

    def settle(self) -> None:
        """Note how it looks with the layers that were added."""
        for place in self._places.values():
            if place.is_settled:
                continue
            if place.painting.document.is_open:
                place.painting.document.wait_for_idle()
            seen = place.sum
            if seen is not None:
                place.sums.add(seen)
                place.shown = place.painting.document.shown
            place.is_settled = True

    def are_under(self, job: str) -> bool:
        """True when what lies under the job's pictures is not what it was."""
        place = self._places.get(job)
        return place is not None and place.is_painted_over()
