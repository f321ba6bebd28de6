"""A parsed prompt -> chunks of as many tokens as the text encoder reads at once. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from velatura.models.families.denoiser import Chunk
from velatura.server.worker.prompt.language import Break, Part

# A phrase is moved into the next chunk whole where a comma is this near to the end, as in A1111.
_NEAR = 20


def cut_chunks(
    parts: Sequence[Part | Break],
    tokenize: Callable[[str], Sequence[int]],
    room: int,
    comma: int,
) -> list[Chunk]:
    """At least one chunk of at most ``room`` tokens each; ``comma`` is the token of a comma.

    Each part is tokenized by itself, so that a weight never falls on half a word. Tokens below zero,
    each one less than the one before it, belong together and stay in one chunk where they fit.
    """
    sections: list[list[tuple[int, float]]] = [[]]
    for part in parts:
        if isinstance(part, Break):
            sections.append([])
        else:
            sections[-1] += [(token, part.weight) for token in tokenize(part.text)]
    if len(sections) > 1 and not sections[-1]:
        sections.pop()
    chunks: list[Chunk] = []
    for section in sections:
        start = 0
        while len(section) - start > room:
            end = _end(section, start, room, comma)
            chunks.append(_chunk(section[start:end]))
            start = end
        chunks.append(_chunk(section[start:]))
    return chunks


def _end(section: list[tuple[int, float]], start: int, room: int, comma: int) -> int:
    """Where the chunk that starts at ``start`` ends: behind a comma near its end, if one is."""
    full = start + room
    if section[full][0] == comma:
        return full
    for index in range(full - 1, max(start, full - _NEAR - 1), -1):
        if section[index][0] == comma:
            return index + 1
    end = full
    while end > start and section[end][0] < 0 and section[end][0] == section[end - 1][0] - 1:
        end -= 1
    return end if end > start else full


def _chunk(pairs: list[tuple[int, float]]) -> Chunk:
    return Chunk(tuple(token for token, _ in pairs), tuple(weight for _, weight in pairs))
