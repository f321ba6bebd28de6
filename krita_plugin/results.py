"""What the server painted: shown over the picture, and a layer only when the painter keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..protocol import messages as m
from . import finished, history, placing, recipe, writing
from .display import Display, Waiting
from .document import Document, DocumentError, open_documents
from .entries import Key
from .finished import Finished
from .hiding import Hiding
from .link import Link
from .painting import Painting, is_as_asked
from .qt import QtCore
from .strokes import Strokes
from .together import Together
from .ui.panel import Panel
from .ui.strip import Thumbnail
from .ui.words import said, tr
from .workshop import Workshop


class Results(QtCore.QObject):
    """Lives on the GUI thread, between the link, the strip and the documents."""

    def __init__(
        self,
        panel: Panel,
        link: Link,
        find_active: Callable[[], Document | None],
        parent: Any = None,
    ) -> None:
        super().__init__(parent)
        self._panel, self._link, self._find_active = panel, link, find_active
        self.workshop = Workshop()
        self.hiding = Hiding()
        self.most_bytes = history.MOST_BYTES  # of a document's history
        self.together = Together(self)
        self._paintings: dict[str, Painting] = {}
        self._waiting: dict[Key, Waiting] = {}
        self.strokes = Strokes()
        self._coming: set[str] = set()  # jobs of which more may come
        self._come: set[str] = set()  # jobs of which one has come
        self._making: set[str] = set()  # jobs of which one is being made ready for the strip
        self._document: Document | None = None
        strip, past = panel.strip, panel.past
        self.display = Display(strip, find_active, self)
        strip.chosen.connect(self._look_at)
        strip.compared.connect(self.display.compare)
        panel.escaped.connect(self.display.put_away)
        strip.kept.connect(self._keep)
        strip.discarded.connect(self._discard)
        strip.starred.connect(self._star)
        strip.scale.clicked.connect(lambda checked=False: self._scale())
        past.opened.connect(self._open_past)
        past.starred.connect(self._star)
        past.removed.connect(self._forget)

    # Arriving

    def expect(self, painting: Painting, again: str = "") -> None:
        """It was asked for. again: the job that did not bring it."""
        self._coming.add(painting.request.job)
        self.strokes.watch(painting, again)

    def expect_no_more(self, job: str) -> None:
        self._coming.discard(job)

    def arrive(self, result: m.Result, painting: Painting | None) -> None:
        """Take a finished picture; ``painting`` is None for one of an earlier start of Krita."""
        key = (result.job, result.variant)
        if painting is None and any(
            history.has(document, key) and document.is_saved for document in open_documents()
        ):
            self._link.placed(*key)  # it is in a file: nothing was lost
            return
        if painting is not None:
            self._paintings[result.job] = painting
        self._making.add(result.job)
        self._report(painting)
        if painting is None:
            no_title = tr("from an earlier start of Krita")
            make = partial(finished.of_result, result, no_title)
        else:
            make = partial(placing.finished_of, result, painting)
        self.workshop.do(make, partial(self._take, result.last))

    def _report(self, painting: Painting | None) -> None:
        say = self._panel.notice.say
        if painting is None:
            return
        if not painting.document.is_open:
            self._say_closed(painting)
        elif not is_as_asked(painting):
            # What was selected may have moved.
            say(
                tr(
                    '"{name}" was resized: its picture waits here. Keep puts it where it was '
                    "asked for.",
                    name=painting.name,
                )
            )
        elif not painting.document.is_active:
            home = painting.document
            say(
                tr('A picture for "{name}" is finished and waits there.', name=painting.name),
                still=lambda: home.is_open and not home.is_active,
            )

    def _say_closed(self, painting: Painting) -> None:
        job = painting.request.job

        def is_so() -> bool:
            waits = any(key[0] == job and x.home is None for key, x in self._waiting.items())
            return waits or job in self._making

        self._panel.notice.say(
            tr(
                '"{name}" was closed: its picture waits here. Keep puts it into the picture '
                "that is open.",
                name=painting.name,
            ),
            still=is_so,
        )

    def _take(self, is_last: bool, picture: Finished) -> None:
        job = picture.key[0]
        self._making.discard(job)
        painting = self._paintings.get(job)
        home = None if painting is None or not painting.document.is_open else painting.document
        is_first = job not in self._come
        self._come.add(job)
        self._waiting[picture.key] = Waiting(picture, home, painting)
        if is_last:
            self.expect_no_more(job)
        # The painter may have gone to another document since the last look.
        self._document = self._find_active()
        if home is not None:
            history.store(home, picture, time.time(), self.most_bytes)
        self._show_strip(picture.key if is_first else None, choose_next=is_first)
        self.show_past()

    # Looking

    def look(self, document: Document | None) -> None:
        """The canvas may be another one, or something was painted, undone, saved or closed."""
        self.hiding.follow()
        self.strokes.watch_only(self._coming | {key[0] for key in self._waiting})
        self.strokes.settle()
        changed = self._find_homes()
        if changed or document != self._document:
            self._document = document
            self._show_strip()
            self.show_past()
        else:
            self._describe()

    def _find_homes(self) -> bool:
        """Pictures of closed documents wait for any; the file opened again is the document.

        True when one has another home now.
        """
        changed = False
        for key, waiting in list(self._waiting.items()):
            home = waiting.home
            if home is not None and not home.is_open:
                waiting.home = None
                if not waiting.is_new:
                    del self._waiting[key]  # its file has it
                elif waiting.painting is not None:
                    self._say_closed(waiting.painting)
                changed = True
            elif home is not None and waiting.is_new and home.is_saved:
                waiting.is_new = False
                self._link.placed(*key)
            elif home is None and waiting.painting is not None and waiting.painting.file:
                for document in open_documents():
                    if document.path == waiting.painting.file:
                        waiting.home = document
                        history.store(document, waiting.picture, time.time(), self.most_bytes)
                        changed = True
        return changed

    def _is_painted_over(self, waiting: Waiting) -> bool:
        """True when what lies under the picture is not what it was when it was asked for."""
        painting = waiting.painting
        if painting is None or waiting.home != painting.document:
            return False
        return self.strokes.are_under(waiting.picture.key[0])

    # Showing

    def _here(self) -> list[Waiting]:
        """What waits for the active document, or for any."""
        return [x for x in self._waiting.values() if x.home is None or x.home == self._document]

    def _show_strip(self, choose: Key | None = None, *, choose_next: bool = True) -> None:
        self._panel.strip.show_pictures(
            [
                Thumbnail(
                    waiting.picture.key,
                    waiting.picture.thumbnail,
                    _about(waiting),
                    waiting.picture.favourite,
                    is_stray=waiting.home is None,
                )
                for waiting in self._here()
            ],
            choose,
            choose_next=choose_next,
        )
        self._choose()

    def _look_at(self, key: Key | None) -> None:
        """The painter tapped it."""
        self.display.bring_back(key)
        self._choose()

    def _choose(self) -> None:
        self._describe()
        self.display.forget_all_but(self._waiting)
        self.display.choose(self._chosen())

    def _chosen(self) -> Waiting | None:
        key = self._panel.strip.current
        return None if key is None else self._waiting.get(key)

    def _describe(self) -> None:
        waiting = self._chosen()
        remark = ""
        if waiting is not None and self._is_painted_over(waiting):
            remark = tr("You painted here since: it will lie over that.")
        self._panel.strip.show_remark(remark)
        self._panel.strip.scale.setVisible(waiting is not None and self._was_scaled(waiting))

    def _was_scaled(self, waiting: Waiting) -> bool:
        """True where its canvas has other sides now, in the same proportion."""
        document, then = self._document, waiting.picture.canvas
        if then is None or document is None or waiting.home != document or not document.is_open:
            return False
        now, painting = document.size, waiting.painting
        if now == then or (painting is not None and painting.room(document) is not None):
            return False
        return abs(now.width * then.height - now.height * then.width) <= max(
            then.width, then.height
        )

    def _scale(self) -> None:
        waiting, document = self._chosen(), self._document
        if waiting is None or document is None or not self._was_scaled(waiting):
            return

        def take(picture: Finished) -> None:
            waiting.picture = picture
            self._choose()

        self.workshop.do(partial(finished.scaled, waiting.picture, document.size), take)

    def show_past(self) -> None:
        """Show the history of the active document."""
        document = self._document
        past = [] if document is None else history.entries(document)
        self._panel.past.show_entries(
            past, lambda key: b"" if document is None else history.thumbnail(document, key)
        )

    # The painter decides

    def _keep(self, keys: Sequence[Key], with_mask: bool) -> None:
        """Make them a layer, several a group of which the shown one is seen."""
        chosen = [self._waiting[key] for key in keys if key in self._waiting]
        document = next((x.home for x in chosen if x.home is not None), self._find_active())
        if not chosen or document is None:
            self._panel.notice.say(tr("Open the picture that this one belongs to first."))
            return
        painted_over = any(map(self._is_painted_over, chosen))
        current = self._panel.strip.current
        chosen.sort(key=lambda waiting: waiting.picture.key == current)  # the shown one on top
        # Off the strip first: a second tap must not keep it twice.
        for waiting in chosen:
            del self._waiting[waiting.picture.key]
        # The next would lie over the layer that is to be seen now.
        self.display.put_away(waiting.picture.key for waiting in self._here())
        self._show_strip(choose_next=False)
        try:
            depth = document.color_space[1]
            outline = placing.outline_of(document, chosen[-1].painting_in(document))
        except DocumentError as error:
            self._put_back(chosen, said(error))
            return
        pictures = [waiting.picture for waiting in chosen]
        self.workshop.do(
            partial(placing.sheets_of, pictures, depth, with_mask, outline),
            partial(self._insert, chosen, document, painted_over),
        )

    def _insert(
        self,
        chosen: list[Waiting],
        document: Document,
        painted_over: bool,
        sheets: list[writing.Sheet],
    ) -> None:
        top = chosen[-1]
        painting = top.painting_in(document)
        remark = ""
        try:
            group = top.picture.title
            self.strokes.expect_layer(document)
            with self.together.room(painting, document):
                layers, hides, is_above = placing.place(document, painting, sheets, group)
            if not is_above:
                remark = tr("Its layer was deleted: the new one lies on top.")
            for layer, waiting in zip(layers, chosen, strict=True):
                if waiting.picture.recipe:
                    name = recipe.key(layer, document.fingerprint(layer))
                    document.set_bytes(name, waiting.picture.recipe)
                self._remember(waiting, document)
                history.mark(document, waiting.picture.key, kept=True)
            frames = None if painting is None else painting.frames
            # On its other frames, a source has no successor.
            if painting is not None and frames is None:
                self.hiding.hide(document, hides, layers[-1])
            elif frames is not None and frames != document.frames:
                remark = tr(
                    "The new layer is with the drawing that it was asked for: frame {frame}.",
                    frame=frames.first,
                )
            if painting is not None and not document.is_active:
                remark = tr('The new layer is in "{name}".', name=document.name)
        except DocumentError as error:
            self._put_back(chosen, said(error))
            return
        if painted_over and not remark:
            remark = tr("You painted there since: the new layer lies over that.")
        for waiting in chosen:
            self._link.placed(*waiting.picture.key)
        if remark:
            self._panel.notice.say(remark)
        self.show_past()

    def _remember(self, waiting: Waiting, document: Document | None) -> None:
        """Into that document's history too, where its own is closed, or was open before Krita's start."""
        if document is not None and waiting.home != document:
            history.store(document, waiting.picture, time.time(), self.most_bytes)

    def _put_back(self, chosen: list[Waiting], sentence: str) -> None:
        self._waiting.update({waiting.picture.key: waiting for waiting in chosen})
        self._show_strip(chosen[-1].picture.key)
        self._panel.notice.say(sentence)

    def _discard(self, keys: Sequence[Key]) -> None:
        """Off the strip; the document's history still has them."""
        for key in keys:
            waiting = self._waiting.pop(key, None)
            if waiting is not None:
                self._remember(waiting, waiting.home or self._find_active())
                self._link.placed(*key)
        self._show_strip()
        self.show_past()

    def _star(self, key: Key, favourite: bool) -> None:
        waiting = self._waiting.get(key)
        document = self._document
        if waiting is not None:
            waiting.picture = replace(waiting.picture, favourite=favourite)
            document = waiting.home or document
        if document is not None and document.is_open:
            if waiting is not None and not history.has(document, key):
                history.store(document, waiting.picture, time.time(), self.most_bytes)
            history.mark(document, key, favourite=favourite)
        self._show_strip()
        self.show_past()

    # The history

    def _open_past(self, key: Key) -> None:
        """Put a picture of the history into the strip, and show it."""
        document = self._document
        if key in self._waiting:
            self.display.bring_back(key)
            self._show_strip(key)
            return
        stored = None if document is None else history.read(document, key)
        if stored is None:
            self._panel.notice.say(tr("This picture is not in the history any more."))
            return

        def take(picture: Finished | None) -> None:
            if picture is None:
                self._panel.notice.say(tr("This picture of the history is damaged."))
                return
            painting = self._paintings.get(key[0]) or None
            self._waiting[key] = Waiting(picture, document, painting, is_new=False)
            self._show_strip(key)

        self.workshop.do(partial(history.open_stored, stored), take)

    def _forget(self, key: Key) -> None:
        if self._document is not None:
            history.remove(self._document, key)
        self.show_past()


def _about(waiting: Waiting) -> str:
    title, painting = waiting.picture.title, waiting.painting
    if waiting.home is not None or painting is None:
        return title
    return tr('{title}, of "{name}", which was closed', title=title, name=painting.name)
