"""Textual inversions on disk (Gal et al. 2022): words of a painter's own, as rows of numbers.

In a file lies one tensor (tokens, width) for each text encoder: ``emb_params`` (A1111), the word
itself (diffusers), or ``clip_l`` and ``clip_g`` for the two encoders of Stable Diffusion XL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from velatura.models.errors import ModelError

# What the tensors of an inversion begin with that a LoRA's file holds, and then its name.
BUNDLED = "bundle_emb."
FIRST, SECOND = "clip_l", "clip_g"
_MOST_TOKENS = 1000


def find_rows(tensors: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Names of the tensors for the first and, where there is one, the second text encoder.

    ``tensors``: of a safetensors header. Raises ModelError (``unsupported``) when it is no textual
    inversion.
    """
    if FIRST in tensors and SECOND in tensors:
        return {FIRST: FIRST, SECOND: SECOND}
    if "emb_params" in tensors:
        return {FIRST: "emb_params"}
    if len(tensors) == 1:
        return {FIRST: next(iter(tensors))}
    raise ModelError("unsupported", "it is no textual inversion: put it where it belongs.")


def find_width(tensors: Mapping[str, Mapping[str, Any]]) -> int:
    """The width of the text embeddings of the models that it is made for, both encoders' together.

    Raises ModelError (``unsupported``) as find_rows does.
    """
    width = 0
    for name in find_rows(tensors).values():
        shape = tensors[name].get("shape")
        if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or not all(shape):
            raise ModelError("unsupported", "its tensors are not rows of numbers: get it again.")
        if len(shape) == 2 and shape[0] > _MOST_TOKENS:
            raise ModelError("unsupported", "it is no textual inversion: put it where it belongs.")
        width += int(shape[-1])
    return width


def find_aliases(tensors: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the word that diffusers trained, as it marks one: ``<chalk>``; else none."""
    return tuple(name for name in tensors if name[:1] == "<" and name[-1:] == ">" and len(name) > 2)


def bundled(tensors: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the textual inversions in a LoRA's file: name -> its tensors, by their own names."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for key, tensor in tensors.items():
        if key.startswith(BUNDLED):
            name, _, rest = key.removeprefix(BUNDLED).partition(".")
            found.setdefault(name, {})[rest] = tensor
    return found
