"""A live picture becomes a layer, and the painter goes on where they were."""

from __future__ import annotations

from functools import partial

from ..protocol import messages as m
from . import recipe, recipes
from .back import BackToWork
from .document import DocumentError, LayerGone
from .live_picture import LivePicture
from .live_recipe import live_recipe
from .live_source import LiveSource
from .strokes import Strokes
from .ui.panel import Panel
from .ui.words import said


class LiveKeeper:
    """Remembers which layer was worked on before one was kept."""

    def __init__(self, panel: Panel, strokes: Strokes) -> None:
        self._panel, self._strokes = panel, strokes
        self._back = BackToWork()

    def keep(
        self,
        picture: LivePicture,
        source: LiveSource,
        asked: m.LiveOpen,
        selection: bytes | None,
        *,
        go_on: bool,
    ) -> None:
        """A layer with its recipe: a hidden one where live goes on. ``selection`` as of live_recipe."""
        document, rect, rgba = source.document, picture.rect, picture.rgba()
        made = live_recipe(
            asked,
            self._panel.settings,
            self._panel.live_options.choice,
            document.size,
            rect,
            source.layer,
            selection,
        )
        name = recipe.layer_name(made.action, asked.prompt)
        active = document.active_layer
        try:
            self._strokes.expect_layer(document)
            add = partial(
                document.add_layer, name, rect, rgba, visible=not go_on, frames=document.frames
            )
            try:
                layer = add(source.layer)
            except LayerGone:
                layer = add()
            recipes.keep(document, layer, made)
        except DocumentError as error:
            self._panel.notice.say(said(error))
            return
        if go_on:
            self._back.expect(document, layer, active)

    def back_to_work(self) -> None:
        """Where Krita has made a kept layer current, the painter goes on where they were."""
        self._back.follow()

    def forget(self) -> None:
        self._back.forget()
