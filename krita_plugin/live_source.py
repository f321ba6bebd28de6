"""What live reads of a document: the source, the masks and the guides, and what is in the way."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol import messages as m
from ..protocol.pixels import Image
from ..protocol.region import Rect
from . import live, recipe
from .document import Document, Layer
from .live_area import LiveChoice
from .live_recipe import is_live
from .nodes import SRGB
from .state import DERIVED, LAYER, Settings

LEFT_OUT = 'Live waits: hide "{name}", which is left out, or paint from the current layer.'
NO_LAYER = "Live waits: choose the layer to paint from."
NO_PICTURE = 'Live waits: "{name}" holds no picture. Choose the layer to paint from.'
EIGHT_BITS = (
    "Live waits: it paints from the current layer in 8-bit RGB pictures. Paint from everything "
    "visible here."
)
ISOLATED = "Live waits: a layer is shown alone. Show all of them again."
UNCLEAR = '"{name}" has several selection masks: Live cannot tell which one counts.'
NO_GUIDE = "Live waits: a guide's layer is not in this picture. Choose another or switch it off."


class LiveSource:
    """Reads one document. ``layer`` is what is painted from, None for everything visible."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.layer: str | None = None
        self._made_live: dict[str, bool] = {}

    def look(self, choice: LiveChoice, settings: Settings) -> str:
        """Choose the source; a sentence for what is in the way, else ""."""
        document = self.document
        limits = document.limits()
        if limits.isolated:
            return ISOLATED
        if limits.unclear:
            return UNCLEAR.format(name=limits.unclear)
        layers = document.layers()
        own = self._own()
        self.layer = None
        there = {DERIVED, *(layer.id for layer in layers)}
        if any(guide.layer not in there for guide in settings.active_guides):
            return NO_GUIDE
        if choice.paint_from != LAYER:
            seen = visible(layers)
            hidden = next((x for x in seen if x.id in settings.left_out), None)
            if hidden is not None:
                return LEFT_OUT.format(name=hidden.name)
            return live.source(None, [x.id for x in seen], own)
        active = next((x for x in layers if x.id == document.active_layer), None)
        if active is None:
            return NO_LAYER
        if not active.is_picture:
            return NO_PICTURE.format(name=active.name)
        if document.color_space != SRGB:
            return EIGHT_BITS
        self.layer = active.id
        return live.source(active.id, (), own)

    def read(self, area: Rect) -> bytes:
        """The source in ``area`` as RGBA8; strokes that are not finished are in it."""
        if self.layer is None:
            return self.document.read_projection(area)
        return self.document.read_layer(self.layer, area)

    def guides(self, area: Rect, settings: Settings) -> tuple[m.Control, ...]:
        def picture(layer: str) -> Image | None:
            if layer == DERIVED:
                return None
            pixels = self.document.read_layer(layer, area)
            return Image(area.width, area.height, "rgba8", pixels)

        return tuple(
            m.Control(
                kind=guide.kind,
                picture=picture(guide.layer),
                weight=guide.influence / 100,
                start=guide.start / 100,
                end=guide.end / 100,
            )
            for guide in settings.active_guides
        )

    def _own(self) -> set[str]:
        """Ids of the layers that live painted; each recipe is read once."""
        for key in self.document.annotation_keys():
            if recipe.is_key(key) and key not in self._made_live:
                found = recipe.from_json(self.document.annotation(key))
                self._made_live[key] = is_live(found)
        return {recipe.layer_of(key) or "" for key, is_live in self._made_live.items() if is_live}


def visible(layers: Sequence[Layer]) -> list[Layer]:
    """Those that are seen: a layer in a hidden group is not."""
    by_id = {layer.id: layer for layer in layers}

    def is_seen(layer: Layer) -> bool:
        parent = by_id.get(layer.parent) if layer.parent else None
        return layer.visible and (parent is None or is_seen(parent))

    return [layer for layer in layers if layer.is_picture and is_seen(layer)]
