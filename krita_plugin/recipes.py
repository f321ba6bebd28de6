"""The recipes of one document: kept with it, found again, taken out."""

from __future__ import annotations

from . import history, recipe
from .document import Document
from .recipe import Recipe


def keep(document: Document, layer: str, made: Recipe) -> None:
    """Give a layer its recipe."""
    document.set_annotation(recipe.key(layer, document.fingerprint(layer)), recipe.to_json(made))


def has(document: Document, layer: str) -> bool:
    return recipe.find(document.annotation_keys(), layer) is not None


def read(document: Document, layer: str) -> Recipe | None:
    """The recipe of a layer; None when it has none that this Velatura understands."""
    found = recipe.find(document.annotation_keys(), layer)
    return None if found is None else recipe.from_json(document.annotation(found))


def adopt_copies(document: Document) -> None:
    """Give each copy of a generated layer the recipe of its original, while they are still alike.

    Only layers that have none and the size of one that does are read, and those that were kept while
    another frame of an animation was seen: they were empty then, as all such are.
    """
    keys = document.annotation_keys()
    if not any(map(recipe.is_key, keys)):
        return
    layers = [layer for layer in document.layers() if layer.type == "paintlayer"]
    for layer in layers:
        kept_empty = recipe.key(layer.id, recipe.EMPTY)
        if kept_empty in keys and layer.bounds[2:] != (0, 0):
            _copy(document, kept_empty, layer.id)
            document.remove_annotation(kept_empty)
    keys = document.annotation_keys()
    for layer in layers:
        *_, width, height = layer.bounds
        if recipe.find(keys, layer.id) is not None or not recipe.may_be_copy(keys, width, height):
            continue
        original = recipe.find_original(keys, document.fingerprint(layer.id))
        if original is not None:
            _copy(document, original, layer.id)


def _copy(document: Document, name: str, layer: str) -> None:
    document.set_bytes(recipe.key(layer, document.fingerprint(layer)), document.get_bytes(name))


def remove_all(document: Document) -> tuple[int, int]:
    """Take everything of ours out of the document; how many recipes and pictures that were."""
    found = document.annotation_keys()
    pictures = len(history.entries(document))
    for name in found:
        document.remove_annotation(name)
    return sum(map(recipe.is_key, found)), pictures
