"""What the server painted: waits in the strip until the painter keeps it as a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..protocol import messages as m
from ..protocol.region import Rect
from . import recipe, recipes
from .document import Document, DocumentError, LayerGone
from .images import rgba_image
from .link import Link
from .painting import Painting
from .qt import QtCore
from .together import Together
from .ui.panel import Panel
from .ui.words import tr


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
        self.together = Together(self)
        self._paintings: dict[str, Painting] = {}
        self._waiting: dict[tuple[str, int], m.Result] = {}  # for the painter to decide
        panel.strip.kept.connect(self._keep)
        panel.strip.discarded.connect(self._discard)

    def arrive(self, result: m.Result, painting: Painting | None) -> None:
        """Take a finished picture; ``painting`` is None for one of an earlier start of Krita."""
        if painting is not None:
            self._paintings[result.job] = painting
        if painting is None:
            self._wait(result, tr("from an earlier start of Krita"))
        elif not painting.document.is_open:
            self._wait(result, painting.name)
            self._panel.notice.say(
                tr(
                    '"{name}" was closed: its picture waits here. Keep puts it into the picture '
                    "that is open.",
                    name=painting.name,
                )
            )
        elif not painting.fits(painting.document.size):
            # What was selected may have moved: nothing is placed without the painter.
            self._wait(result, painting.name)
            self._panel.notice.say(
                tr(
                    '"{name}" was resized: its picture waits here. Keep puts it where it was '
                    "asked for.",
                    name=painting.name,
                )
            )
        elif painting.settings.variants > 1:
            self._wait(result, recipe.layer_name(painting.action, painting.request.prompt))
        else:
            self._insert(result, painting, painting.document)

    def _wait(self, result: m.Result, about: str) -> None:
        self._waiting[result.job, result.variant] = result
        picture = result.picture
        self._panel.strip.add(
            result.job,
            result.variant,
            rgba_image(picture.data, picture.width, picture.height),
            about,
        )

    def _keep(self, job: str, variant: int) -> None:
        painting = self._paintings.get(job)
        document = self._find_active()
        if painting is not None and painting.document.is_open:
            document = painting.document
        if document is None:
            self._panel.notice.say(tr("Open the picture that this one belongs to first."))
            return
        # Taken off the strip first: Krita handles events while it adds a layer, a second tap too.
        result = self._waiting.pop((job, variant))
        self._panel.strip.remove(job, variant)
        self._insert(result, painting, document)

    def _discard(self, job: str, variant: int) -> None:
        del self._waiting[job, variant]
        self._panel.strip.remove(job, variant)
        self._link.placed(job, variant)

    def _insert(self, result: m.Result, painting: Painting | None, document: Document) -> None:
        """Make a result a layer; if that fails it waits in the strip."""
        picture = result.picture
        at_home = painting is not None and painting.document == document
        above = painting.above if painting is not None and at_home else None
        name = (
            tr("Velatura")
            if painting is None
            else recipe.layer_name(painting.action, painting.request.prompt)
        )
        rect = Rect(result.x, result.y, picture.width, picture.height)
        remark = ""
        try:
            with self.together.room(painting if at_home else None, document):
                try:
                    layer = document.add_layer(name, rect, picture.data, above)
                except LayerGone:
                    layer = document.add_layer(name, rect, picture.data)
                    remark = tr("Its layer was deleted: the new one lies on top.")
            if painting is not None:
                made = recipe.of_result(
                    painting.action, painting.settings, painting.request, result, painting.source
                )
                recipes.keep(document, layer, made)
            if at_home and not document.is_active:
                remark = tr('The new layer is in "{name}".', name=document.name)
        except DocumentError as error:
            self._wait(result, name)
            self._panel.notice.say(tr(str(error)))
            return
        if remark:
            self._panel.notice.say(remark)
        self._link.placed(result.job, result.variant)
