"""Whether the painter painted where a picture will lie, since it was asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .document import Document
from .painting import Painting
from .placing import visible_sum


@dataclass
class _Place:
    """sums: checksums of what is visible there without a stroke. is_settled: False from before a
    layer of ours is added until Krita has drawn it."""

    painting: Painting
    sums: set[int]
    is_settled: bool = True

    @property
    def sum(self) -> int | None:
        """Of what is visible there now; None where that tells nothing."""
        painting, document = self.painting, self.painting.document
        if painting.watched is None or not document.is_open:
            return None
        if not painting.fits(document.size) or document.frames != painting.frames:
            return None
        return visible_sum(document, painting.watched)

    @property
    def is_painted_over(self) -> bool:
        seen = self.sum if self.is_settled else None
        return seen is not None and seen not in self.sums


class Strokes:
    """Watches the places of what was asked for. A layer of ours that comes there is no stroke."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def watch(self, painting: Painting, again: str = "") -> None:
        """again: the job of which this one asks for the rest."""
        old = self._places.get(again)
        sums = {painting.before} if old is None else set(old.sums)
        self._places[painting.request.job] = _Place(painting, sums)

    def watch_only(self, jobs: Collection[str]) -> None:
        self._places = {job: place for job, place in self._places.items() if job in jobs}

    def expect_layer(self, document: Document) -> None:
        """Call it before a layer of ours is added; strokes made before that stay known."""
        document.wait_for_idle()
        for place in self._places.values():
            if place.painting.document == document and not place.is_painted_over:
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
            place.is_settled = True

    def are_under(self, job: str) -> bool:
        """True when what lies under the job's pictures is not what it was."""
        place = self._places.get(job)
        return place is not None and place.is_painted_over
