"""What a painter should know before the press: one or two lines under the button, or none."""

from __future__ import annotations

from typing import Any

from ..canvas import Canvas
from ..qt import QtWidgets
from .parts import WrappedLabel, column
from .words import tr


class Remarks(QtWidgets.QWidget):
    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.enlarged = WrappedLabel("enlarged")
        self.remark = WrappedLabel("remark")
        self._obstacle = ""
        lines = column(self)
        for line in (self.enlarged, self.remark):
            lines.addWidget(line)
            line.setVisible(False)
        self.setVisible(False)

    def show_enlargement(self, times: float, at_best: float) -> None:
        """Say that the result will be enlarged; 1.0 says nothing.

        at_best: how many times with all the detail that the model can paint here.
        """
        said = tr("Will be enlarged {times} times.", times=f"{times:.1f}")
        hint = (
            tr('Less of the picture or "Detail: Full" (Advanced) is sharper.')
            if at_best < times
            else tr("Less of the picture is sharper.")
        )
        self.enlarged.setToolTip(
            tr("The model paints this smaller than it is on the canvas (upscaling)")
        )
        _show(self.enlarged, f"{said} {hint}" if times > 1 else "")
        self._fold()

    def show_canvas(self, canvas: Canvas | None) -> None:
        """Say what Krita keeps from us, or what else is in the way."""
        _show(self.remark, self._obstacle if canvas is None else remark(canvas))
        self._fold()

    def show_obstacle(self, sentence: str) -> None:
        """Say why there is no canvas that can be painted on; "" for nothing."""
        self._obstacle = sentence
        self.show_canvas(None)

    def _fold(self) -> None:
        self.setVisible(not (self.enlarged.isHidden() and self.remark.isHidden()))


def _show(line: WrappedLabel, sentence: str) -> None:
    line.setText(sentence)
    line.setVisible(bool(sentence))


def remark(canvas: Canvas) -> str:
    """One sentence, two where a layer is isolated and its mask selects; "" for none."""
    isolated = tr("A layer is isolated: only what it shows is sent.")
    said = [isolated if canvas.limits.isolated else "", _selection(canvas)]
    return " ".join(filter(None, said))


def _selection(canvas: Canvas) -> str:
    limits, layer = canvas.limits, canvas.layer
    if limits.unclear:
        return tr(
            '"{name}" has several selection masks, and Krita does not tell which one holds: hide '
            "all but one.",
            name=limits.unclear,
        )
    if limits.mask:
        return tr(
            'The mask "{mask}" of "{layer}" is the selection.',
            mask=limits.mask,
            layer="" if layer is None else layer.name,
        )
    return ""
