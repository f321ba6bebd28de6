"""A CLIPTokenizer for a small vocabulary: known words are one token, all others break into pieces.

Byte-pair encoding (Sennrich et al. 2016) over bytes, so that no text is ever an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"


def build_tokenizer(words: Iterable[str], length: int) -> CLIPTokenizer:
    """A tokenizer of `length` tokens, start and end included, that keeps each of `words` whole."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges(sorted({word.lower() for word in words}))
    pieces = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    pieces += ["".join(pair) for pair in merges]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Merge the most frequent pair until every word is one piece; ties go by the alphabet.

    Our own few lines, as the trainer of `tokenizers` breaks ties at random: the same words would
    get other numbers in every process.
    """
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelt = ["".join(piece for piece, _ in byte_level.pre_tokenize_str(word)) for word in words]
    pieces = [[*word[:-1], word[-1] + END_OF_WORD] for word in spelt]
    merges = []
    while pairs := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [_merge(word, best) for word in pieces]
    return merges


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
