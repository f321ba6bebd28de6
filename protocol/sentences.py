"""Sentences with names in them: whole for whoever reads English, templates for whoever translates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# Sentences inside sentences.
_DEEPEST = 4
_NAME = re.compile(r"\{(\w+)\}")


def filled(template: str, values: Mapping[str, object]) -> str:
    """``template`` with its {names} filled in; unknown ones stay.

    Not str.format, which does more than that at the word of another machine.
    """
    return _NAME.sub(lambda found: str(values.get(found[1], found[0])), template)


class Sentence(str):
    """An English sentence that remembers its template and what fills it in.

    values: what stays as it is (a name, a number) or is another Sentence, translated by itself.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, /, **values: object) -> Sentence:
        made = super().__new__(cls, filled(template, values))
        made.template, made.values = template, values
        return made

    def translated(self, tr: Callable[[str], str]) -> str:
        """tr: from a template to the same in another language."""
        values = {
            name: value.translated(tr) if isinstance(value, Sentence) else value
            for name, value in self.values.items()
        }
        return filled(tr(self.template), values)


def words_of(sentence: object) -> dict[str, Any] | None:
    """What the wire says beside a Sentence, as JSON; None for any other text."""
    if not isinstance(sentence, Sentence):
        return None
    values = {name: words_of(value) or str(value) for name, value in sentence.values.items()}
    return {"template": sentence.template, "values": values}


def sentence_of(message: str, words: Any) -> str:
    """The Sentence that ``words`` tell; ``message`` itself where that is not what it says."""
    made = _sentence(words, _DEEPEST)
    return made if isinstance(made, Sentence) and made == message else message


def _sentence(words: Any, depth: int) -> object:
    if not isinstance(words, dict):
        return words
    if not depth:
        return ""
    template, values = words.get("template"), words.get("values")
    if not isinstance(template, str) or not isinstance(values, dict):
        return ""
    return Sentence(
        template, **{name: _sentence(value, depth - 1) for name, value in values.items()}
    )
