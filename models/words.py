"""What a model with a small vocabulary can be asked for."""

from __future__ import annotations

from pathlib import Path

from velatura.models.weights import read_json

_END_OF_WORD = "</w>"
_SMALL_VOCABULARY = 3000
_SMALL_FILE = 2**19
_SHORTEST = 3


def describe_words(tokenizer: Path) -> str:
    """One sentence with the words that the tokenizer in folder ``tokenizer`` keeps whole.

    Empty for a vocabulary of 3000 pieces or more: such a model can be asked for anything.
    """
    path = tokenizer / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > _SMALL_FILE:
        return ""
    model = read_json(path).get("model", {})
    vocabulary, merges = model.get("vocab", {}), model.get("merges", [])
    if len(vocabulary) >= _SMALL_VOCABULARY:
        return ""
    # A piece that ends a longer word may be a mere ending ("ouse"), so those are not named.
    endings = {(pair.split(" ") if isinstance(pair, str) else pair)[1] for pair in merges}
    words = sorted(
        word
        for piece in vocabulary
        if piece.endswith(_END_OF_WORD) and piece not in endings
        for word in [piece.removesuffix(_END_OF_WORD)]
        if word.isalpha() and len(word) >= _SHORTEST
    )
    return (
        f"It paints its own small world and knows words such as {', '.join(words)}."
        if words
        else ""
    )
