"""The pictures of the docker show a model that understands what it is asked."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_starter_knows_every_word_of_the_prompt_in_our_pictures():
    script = ast.parse((ROOT / "tests/krita/scripts/pictures.py").read_text("utf-8"))
    (prompt,) = (
        ast.literal_eval(one.value)
        for one in script.body
        if isinstance(one, ast.Assign) and getattr(one.targets[0], "id", "") == "PROMPT"
    )
    tokenizer = json.loads((ROOT / "models/starter/tokenizer/tokenizer.json").read_text("utf-8"))
    known = tokenizer["model"]["vocab"]
    assert [word for word in re.findall("[a-z]+", prompt) if f"{word}</w>" not in known] == []
