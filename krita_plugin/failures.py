"""What was asked for and failed: one line in the docker tells of it, and asks for it again."""

from __future__ import annotations

from collections.abc import Callable

from .painting import Painting
from .ui.notice import Notice
from .ui.words import tr


class Failures:
    """The newest is told of; Retry is for all that failed since the painter took notice."""

    def __init__(self, notice: Notice, ask_again: Callable[[Painting], None]) -> None:
        self._notice, self._ask_again = notice, ask_again
        self._failed: tuple[Painting, ...] = ()
        self._sentence = ""

    def say(self, sentence: str, painting: Painting) -> None:
        is_read = self._sentence and self._notice.text == self._sentence
        self._failed = (*(self._failed if is_read else ()), painting)
        self._sentence = sentence
        count = len(self._failed)
        words = tr("Retry all {count}", count=count) if count > 1 else ""
        self._notice.say(sentence, self._retry, words)

    def _retry(self) -> None:
        failed, self._failed = self._failed, ()
        for painting in failed:
            self._ask_again(painting)
