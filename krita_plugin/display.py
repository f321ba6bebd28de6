"""The finished picture that is looked at: over its own canvas, and larger in the docker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..protocol.region import Rect
from . import placing
from .document import Document, DocumentError
from .entries import Key
from .finished import Finished
from .painting import Painting
from .qt import QtCore, Signal
from .ui.strip import Strip, composed, with_margin


@dataclass(frozen=True)
class Shown:
    """A finished picture as it would look kept: ``image`` (RGBA, straight alpha) over ``rect`` of
    the document's canvas."""

    document: Document
    rect: Rect
    image: Any


@dataclass
class Waiting:
    """One picture in the strip. home: its document, None for any that is open.

    is_new: the painter has not had it safely yet, and the server still keeps it.
    """

    picture: Finished
    home: Document | None
    painting: Painting | None = None
    is_new: bool = True

    def painting_in(self, document: Document) -> Painting | None:
        """What was asked of that document; None where it was asked from another, or long ago."""
        painting = self.painting
        return painting if painting is not None and painting.document == document else None


class Display(QtCore.QObject):
    """shown(Shown or None): what lies over the canvas now.

    A picture is put away by the first stroke beside it, by Esc, or because another was kept: then
    the canvas is the painter's until they tap a thumbnail.
    """

    shown = Signal(object)

    def __init__(
        self, strip: Strip, find_active: Callable[[], Document | None], parent: Any = None
    ) -> None:
        super().__init__(parent)
        self._strip, self._find_active = strip, find_active
        self._chosen: Waiting | None = None
        self._away: set[Key] = set()
        self._turn = 0
        self._is_compared = False

    def choose(self, chosen: Waiting | None) -> None:
        """Look at this one, as it is now; None: at none."""
        self._chosen, self._is_compared = chosen, False
        self._show()

    def bring_back(self, key: Key | None) -> None:
        """The painter asks to see that one: it is away no more."""
        if key is not None:
            self._away.discard(key)

    def compare(self, before: bool) -> None:
        self._is_compared = before
        self._show()

    def put_away(self, keys: Iterable[Key] = ()) -> None:
        """Off the canvas, these and what is looked at."""
        self._away.update(keys)
        if self._chosen is not None:
            self._away.add(self._chosen.picture.key)
        self._show()

    def forget_all_but(self, keys: Iterable[Key]) -> None:
        self._away &= set(keys)

    def _show(self) -> None:
        turn = self._turn = self._turn + 1
        is_away = self._chosen is not None and self._chosen.picture.key in self._away
        self._strip.show_away(is_away)
        waiting, document = self._chosen, self._find_active()
        if waiting is None or document is None:
            self._strip.large.show_image(None)
            self.shown.emit(None)
            return
        picture, painting = waiting.picture, waiting.painting_in(document)
        over = None if self._is_compared else picture.image
        if waiting.home != document:
            # Its own canvas is another one, or closed: it lies over none.
            self._strip.large.show_image(over)
            self.shown.emit(None)
            return
        canvas, rect = document.size, picture.rect
        if painting is not None:
            rect = painting.placed(rect, canvas)
        around = with_margin(rect, canvas.width, canvas.height)
        if over is not None:
            over = _as_kept(document, painting, rect, over)
            if self._turn != turn:  # Krita let other events in, and another is looked at by now
                return
        self._strip.large.show_image(composed(document.picture(around), over, rect, around))
        self.shown.emit(None if over is None or is_away else Shown(document, rect, over))


def _as_kept(document: Document, painting: Painting | None, rect: Rect, image: Any) -> Any:
    """The picture as it would be seen in its place among the layers."""
    if painting is None or not placing.can_try(document, painting):
        return placing.in_own_colours(document, image)
    if not placing.needs_trial(document, painting):
        return image
    with contextlib.suppress(DocumentError):  # said when it is kept
        trial = placing.open_trial(document, painting, rect)
        try:
            return trial.look(image)
        finally:
            trial.close()
    return image
