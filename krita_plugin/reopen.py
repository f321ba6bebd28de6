"""Open the recipe of a generated layer: everything as it was asked, ready to be changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import recipes
from .document import Document, DocumentError
from .recipe import Recipe
from .state import LAYER, Settings
from .ui.panel import Panel
from .ui.words import said, tr


class Reopening:
    """The layer whose recipe is open is left out of the source; its successor goes above it."""

    def __init__(self, panel: Panel, find_active: Callable[[], Document | None]) -> None:
        self._panel, self._find_active = panel, find_active
        self._layer: str | None = None

    def look(self, document: Document | None) -> None:
        """Offer to reopen where the current layer has a recipe."""
        layer = None if document is None else document.active_layer
        if document is None or layer is None:
            self._panel.recipe.setVisible(False)
            return
        recipes.adopt_copies(document)
        self._panel.recipe.setVisible(recipes.has(document, layer))

    def open(self) -> None:
        document, notice = self._find_active(), self._panel.notice
        layer = None if document is None else document.active_layer
        found = None if document is None or layer is None else recipes.read(document, layer)
        if document is None or layer is None or found is None:
            notice.say(tr("This layer has no recipe: choose one that Velatura painted."))
            return
        notice.clear()
        try:
            remarks = self._restore(document, found)
        except DocumentError as error:
            notice.say(said(error))
            return
        self._layer = layer
        left_out = (*found.settings.leave_out, layer)
        self._panel.show_recipe(found.action, replace(found.settings, leave_out=left_out))
        if not self._panel.model.has(found.settings.model):
            remarks.append(
                tr('its model "{name}" is not on this server', name=found.settings.model)
            )
        if remarks:
            notice.say(tr("The recipe is open, but {remarks}.", remarks="; ".join(remarks)))

    def _restore(self, document: Document, found: Recipe) -> list[str]:
        """Bring back selection and current layer; what could not be brought back."""
        remarks = []
        if document.size == found.canvas:
            chosen = found.selection
            document.select(
                None if chosen is None else chosen.rect, b"" if chosen is None else chosen.mask
            )
        else:
            remarks.append(tr("the canvas was resized: select the part again"))
        if found.settings.paint_from == LAYER and found.source is not None:
            if any(layer.id == found.source for layer in document.layers()):
                document.activate_layer(found.source)
            else:
                remarks.append(tr("the layer that it was painted from is gone: choose another"))
        return remarks

    def above(self, document: Document, settings: Settings) -> str | None:
        """Where the next layer belongs, while the reopened one is still left out."""
        if self._layer not in settings.leave_out:
            return None
        return self._layer if any(x.id == self._layer for x in document.layers()) else None

    def remove_all(self) -> None:
        document = self._find_active()
        if document is None:
            return
        count, pictures = recipes.remove_all(document)
        self.look(document)
        self._panel.notice.say(
            tr(
                "{count} recipes were removed, and {pictures} pictures of the history: save the "
                "picture to keep it so. Layer names may still tell prompts.",
                count=count,
                pictures=pictures,
            )
            if count or pictures
            else tr("There are no recipes in this picture.")
        )
