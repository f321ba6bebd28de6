"""Parsed prompt -> embeddings, and what of it the model could not take in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import CLIPTokenizer
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import Text
from velatura.protocol.messages import Generate, LiveSettings
from velatura.server.worker.chunks import Chunk, cut_chunks
from velatura.server.worker.own_words import OwnWords, spoken
from velatura.server.worker.prompts import Parsed, parse

# What a model attends to costs memory by its length: this is 1500 tokens of CLIP's.
_MOST_CHUNKS = 20
# A mean this small beside the values themselves is chance, and to restore it would be too.
_LEAST_MEAN = 0.01
# A vocabulary of fewer tokens than this knows whole words only; a larger one builds any word
# from pieces that mean something.
_SMALL_VOCABULARY = 3_000
_MOST_WORDS_SHOWN = 8
_LONGEST_WORD_SHOWN = 30
_NO_WORDS = OwnWords()


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


@torch.no_grad()
def embed(parsed: Parsed, loaded: Loaded, *, skip: int = 0, words: OwnWords = _NO_WORDS) -> Text:
    """Encode a prompt with the model's CLIP (Radford et al. 2021), chunk by chunk.

    ``skip`` of the encoder's last layers are left out (0: none), and what the layers before them
    say is normalised as the last one's would be. ``words``: the textual inversions. Weights are
    applied as A1111 applies them. The note says what is beyond the longest prompt, and which words
    a model of few words does not know. Neither is an error. A model of two encoders (Podell et al. 2023) takes the last layer but
    one of both, side by side and not normalised.
    """
    tokenizer = loaded.tokenizer
    room = tokenizer.model_max_length - 2
    comma = _tokens(",", loaded)[-1]

    def tokenize(text: str) -> Sequence[int]:
        return words.tokenize(text, lambda plain: _tokens(plain, loaded))

    chunks = cut_chunks(parsed.parts, tokenize, room, comma)
    read, rest = chunks[:_MOST_CHUNKS], chunks[_MOST_CHUNKS:]
    notes = (_left_out(rest, loaded), _unknown(parsed, loaded, words))
    note = " ".join(note for note in notes if note)
    if loaded.text_encoder_2 is None:
        embeddings = torch.cat([_encode(chunk, loaded, skip, words) for chunk in read], dim=1)
        return Text(embeddings.to(loaded.dtype), note)
    pairs = [
        (_encode_first(c, loaded, skip, words), _encode_second(c, loaded, skip, words))
        for c in read
    ]
    both = [torch.cat([first, second], dim=2) for first, (second, _) in pairs]
    pooled = pairs[0][1][1].to(loaded.dtype)
    return Text(torch.cat(both, dim=1).to(loaded.dtype), note, pooled)


def embed_both(
    prompts: Prompts, guided: bool, embed: Callable[[Parsed], Text]
) -> tuple[Text, Text | None]:
    """What both say, equally long; no negative text where it does not guide."""
    prompt = embed(prompts.prompt)
    if not guided:
        return prompt, None
    negative = embed(prompts.negative)
    if prompt.pooled is not None and not prompts.negative.text.strip():
        # A model of two encoders was trained to be told nothing by zeros.
        nothing = torch.zeros_like(prompt.embeddings), torch.zeros_like(prompt.pooled)
        return prompt, Text(nothing[0], negative.note, nothing[1])
    empty = embed(Parsed(()))
    both = match_lengths(prompt.embeddings, negative.embeddings, empty.embeddings)
    return replace(prompt, embeddings=both[0]), replace(negative, embeddings=both[1])


def match_lengths(
    one: torch.Tensor, other: torch.Tensor, empty: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both embeddings, the shorter one filled up with ``empty``, that of no words: one chunk."""
    longest = max(one.shape[1], other.shape[1])

    def filled(embeddings: torch.Tensor) -> torch.Tensor:
        missing = (longest - embeddings.shape[1]) // empty.shape[1]
        return torch.cat([embeddings, *[empty] * missing], dim=1)

    return filled(one), filled(other)


def _tokens(text: str, loaded: Loaded) -> list[int]:
    return loaded.tokenizer(text, add_special_tokens=False, verbose=False).input_ids


def _encode(chunk: Chunk, loaded: Loaded, skip: int, words: OwnWords) -> torch.Tensor:
    """(1, tokens, width) in the encoder's dtype."""
    encoder = loaded.text_encoder
    tokens = _fill(chunk, loaded.tokenizer).to(loaded.device)
    with spoken(encoder, chunk.tokens, words, "first"):
        encoded = encoder(tokens, output_hidden_states=bool(skip))
    hidden = encoded.last_hidden_state
    if skip:
        hidden = encoder.final_layer_norm(encoded.hidden_states[-(skip + 1)])
    return _weigh(hidden, chunk)


def _encode_first(chunk: Chunk, loaded: Loaded, skip: int, words: OwnWords) -> torch.Tensor:
    """What the first of two encoders says: (1, tokens, width) in its dtype."""
    tokens = _fill(chunk, loaded.tokenizer).to(loaded.device)
    with spoken(loaded.text_encoder, chunk.tokens, words, "first"):
        encoded = loaded.text_encoder(tokens, output_hidden_states=True)
    return _weigh(encoded.hidden_states[-(skip + 2)], chunk)


def _encode_second(
    chunk: Chunk, loaded: Loaded, skip: int, words: OwnWords
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the second of two encoders says, token by token and, without weights, as one vector."""
    assert loaded.text_encoder_2 is not None, "asked only of a model that has one"
    tokens = _fill(chunk, loaded.tokenizer_2).to(loaded.device)
    with spoken(loaded.text_encoder_2, chunk.tokens, words, "second"):
        encoded = loaded.text_encoder_2(tokens, output_hidden_states=True)
    return _weigh(encoded.hidden_states[-(skip + 2)], chunk), encoded.text_embeds


def _fill(chunk: Chunk, tokenizer: CLIPTokenizer) -> torch.Tensor:
    """The chunk's tokens between start and end, filled up: (1, tokens)."""
    # Own words stand there by the first token of all; their rows come in its place.
    plain = (max(0, token) for token in chunk.tokens)
    tokens = [tokenizer.bos_token_id, *plain, tokenizer.eos_token_id]
    tokens += [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(tokens))
    return torch.tensor([tokens])


def _weigh(hidden: torch.Tensor, chunk: Chunk) -> torch.Tensor:
    """``hidden`` (1, tokens, width) with each token times its weight, and the mean that it had.

    As A1111 does ("Original" emphasis): without the mean, heavy words would burn the whole
    picture. Where either mean is chance (some encoders normalise it away) or the weights have
    turned its sign, nothing is restored.
    """
    if all(weight == 1 for weight in chunk.weights):
        return hidden
    weights = torch.ones(hidden.shape[1])
    weights[1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
    before = hidden.float()
    after = before * weights.to(before.device)[None, :, None]
    means = [values.mean() / values.pow(2).mean().sqrt() for values in (before, after)]
    if min(abs(float(mean)) for mean in means) > _LEAST_MEAN and means[0] * means[1] > 0:
        after = after * (before.mean() / after.mean())
    return after


def _left_out(rest: Sequence[Chunk], loaded: Loaded) -> str:
    tokens = [token for chunk in rest for token in chunk.tokens if token >= 0]
    if not tokens:
        return ""
    words = loaded.tokenizer.decode(tokens).strip()
    shown = words if len(words) <= 100 else words[:99] + "…"
    return f"{_MOST_CHUNKS} chunks of a prompt are read; left out: “{shown}”."


def _unknown(parsed: Parsed, loaded: Loaded, own: OwnWords) -> str:
    if len(loaded.tokenizer) >= _SMALL_VOCABULARY:
        return ""
    text = " ".join(piece for piece in own.split(parsed.text) if isinstance(piece, str))
    words = dict.fromkeys(re.findall(r"[^\W\d_]+", text.lower()))
    unknown = [word[:_LONGEST_WORD_SHOWN] for word in words if len(_tokens(word, loaded)) > 1]
    if not unknown:
        return ""
    more = ", …" if len(unknown) > _MOST_WORDS_SHOWN else ""
    shown = ", ".join(unknown[:_MOST_WORDS_SHOWN])
    return f"{loaded.name} does not know: {shown}{more}."
