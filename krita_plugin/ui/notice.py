"""What went wrong, as a line in the docker: never a dialogue that stops the painter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..qt import QtWidgets, Signal
from .parts import TOUCH, WrappedLabel, column, row
from .words import tr


class Notice(QtWidgets.QFrame):
    """said(sentence): there is a new one."""

    said = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("notice_frame")
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self._again: Callable[[], None] | None = None
        self._still: Callable[[], bool] | None = None
        self.sentence = WrappedLabel("notice")
        self.retry = QtWidgets.QPushButton(tr("Retry"))
        self.retry.setObjectName("retry")
        self.dismiss = QtWidgets.QPushButton(tr("Dismiss"))
        self.dismiss.setObjectName("dismiss")
        for button in (self.retry, self.dismiss):
            button.setMinimumHeight(TOUCH)
        lines = column(self, margin=4)
        lines.addWidget(self.sentence)
        buttons = row(self.retry, self.dismiss)
        buttons.addStretch(1)
        lines.addLayout(buttons)
        self.retry.clicked.connect(lambda checked=False: self._retry())
        self.dismiss.clicked.connect(lambda checked=False: self.clear())
        self.clear()

    @property
    def text(self) -> str:
        """The sentence that stands there now, "" for none."""
        return str(self.sentence.text())

    def say(
        self,
        sentence: str,
        again: Callable[[], None] | None = None,
        words: str = "",
        *,
        still: Callable[[], bool] | None = None,
    ) -> None:
        """Show a sentence; ``again`` is what Retry does, or the button that says ``words``.

        still: whether what it says is still so; None where that does not pass by itself.
        """
        self._again, self._still = again, still
        self.retry.setText(words or tr("Retry"))
        self.sentence.setText(sentence)
        self.retry.setVisible(again is not None)
        self.setVisible(True)
        self.said.emit(sentence)

    def review(self) -> None:
        """Take away what is so no longer."""
        if self._still is not None and not self._still():
            self.clear()

    def clear(self) -> None:
        self._again = self._still = None
        self.sentence.setText("")
        self.setVisible(False)

    def _retry(self) -> None:
        again = self._again
        self.clear()
        if again is not None:
            again()
