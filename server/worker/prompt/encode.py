"""Parsed prompt -> embeddings, and what of it the model could not take in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import Chunk, PromptEncoder, Text
from velatura.protocol.messages import Generate, LiveSettings
from velatura.server.worker.prompt.chunks import cut_chunks
from velatura.server.worker.prompt.language import Parsed, parse
from velatura.server.worker.prompt.textual_inversion import Inversions

# What a model attends to costs memory by its length: this is 1500 tokens of CLIP's.
_MOST_CHUNKS = 20
# A vocabulary of fewer tokens than this knows whole words only; a larger one builds any word
# from pieces that mean something.
_SMALL_VOCABULARY = 3_000
_MOST_WORDS_SHOWN = 8
_LONGEST_WORD_SHOWN = 30
_NO_INVERSIONS = Inversions()


@dataclass(frozen=True)
class Prompts:
    """What one variant's prompt and negative prompt say."""

    prompt: Parsed
    negative: Parsed


def read_prompts(request: Generate) -> list[Prompts]:
    """What every variant is asked for, in order: each makes its choices by its own seed."""
    prompt, negative = whole(request)
    seeds = map(request.seed_of, range(request.variants))
    return [read_prompt(prompt, negative, seed) for seed in seeds]


def whole(request: Generate | LiveSettings) -> tuple[str, str]:
    """Prompt and negative prompt with the style's words around the painter's own."""
    style = request.style
    if style is None:
        return request.prompt, request.negative
    return style.prompt_around(request.prompt), style.negative_after(request.negative)


def read_prompt(prompt: str, negative: str, seed: int) -> Prompts:
    """What both say with the choices of ``seed``."""
    return Prompts(parse(prompt, seed), parse(negative, seed))


def embed(
    parsed: Parsed, loaded: Loaded, *, skip: int = 0, words: Inversions = _NO_INVERSIONS
) -> Text:
    """Encode a prompt chunk by chunk with a model's text encoders.

    ``skip`` of the encoders' last layers are left out (0: none). ``words``: the textual inversions.
    The note says what is beyond the longest prompt, and which words a model of few words does not
    know. Neither is an error.
    """
    text = loaded.denoiser.text

    def tokenize(part: str) -> Sequence[int]:
        return words.tokenize(part, text.tokenize)

    chunks = cut_chunks(parsed.parts, tokenize, text.room, text.comma)
    read, rest = chunks[:_MOST_CHUNKS], chunks[_MOST_CHUNKS:]
    notes = (_left_out(rest, text), _unknown(parsed, loaded, words))
    note = " ".join(note for note in notes if note)
    return replace(text.encode(read, skip, words.row), note=note)


def embed_both(
    prompts: Prompts, guided: bool, text: PromptEncoder, embed: Callable[[Parsed], Text]
) -> tuple[Text, Text | None]:
    """Encode both, equally long; no negative text where it does not guide."""
    prompt = embed(prompts.prompt)
    if not guided:
        return prompt, None
    negative, is_silent = embed(prompts.negative), not prompts.negative.text.strip()
    return text.match(prompt, negative, embed(Parsed(())), is_silent)


def _left_out(rest: Sequence[Chunk], text: PromptEncoder) -> str:
    tokens = [token for chunk in rest for token in chunk.tokens if token >= 0]
    if not tokens:
        return ""
    words = text.read(tokens)
    shown = words if len(words) <= 100 else words[:99] + "…"
    return f"{_MOST_CHUNKS} chunks of a prompt are read; left out: “{shown}”."


def _unknown(parsed: Parsed, loaded: Loaded, own: Inversions) -> str:
    text = loaded.denoiser.text
    if text.vocabulary >= _SMALL_VOCABULARY:
        return ""
    plain = " ".join(piece for piece in own.split(parsed.text) if isinstance(piece, str))
    words = dict.fromkeys(re.findall(r"[^\W\d_]+", plain.lower()))
    unknown = [word[:_LONGEST_WORD_SHOWN] for word in words if len(text.tokenize(word)) > 1]
    if not unknown:
        return ""
    more = ", …" if len(unknown) > _MOST_WORDS_SHOWN else ""
    shown = ", ".join(unknown[:_MOST_WORDS_SHOWN])
    return f"{loaded.name} does not know: {shown}{more}."
