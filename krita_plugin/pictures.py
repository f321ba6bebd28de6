"""The painter saves a picture of the history with what made it, and takes a file's into the docker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from . import history
from .document import Document
from .entries import Key
from .png_files import read, save, settings_of
from .ui.panel import Panel
from .ui.words import tr
from .workshop import Workshop


class PictureFiles:
    """``find_active``: the document whose history is shown."""

    def __init__(
        self, panel: Panel, find_active: Callable[[], Document | None], workshop: Workshop
    ) -> None:
        self._panel, self._find_active, self._workshop = panel, find_active, workshop
        panel.past.saved.connect(self._save)
        panel.prompts.picture_chosen.connect(self._read)

    def _save(self, key: Key, path: str) -> None:
        document = self._find_active()
        stored = None if document is None else history.read(document, key)
        if stored is not None:
            prompt = str(stored.record.get("prompt", ""))
            self._workshop.do(
                partial(save, stored.png, stored.recipe, prompt, Path(path)), self._panel.notice.say
            )

    def _read(self, path: str) -> None:
        self._workshop.do(partial(read, Path(path)), self._show)

    def _show(self, said: Mapping[str, Any] | str) -> None:
        panel = self._panel
        if isinstance(said, str):
            panel.notice.say(said)
            return
        settings, remarks = settings_of(said, panel.settings, panel.model.models)
        panel.notice.clear()
        panel.show_recipe(panel.action, settings)
        if remarks:
            panel.notice.say(
                tr("What made the picture is here, but {remarks}.", remarks="; ".join(remarks))
            )
