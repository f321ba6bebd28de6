"""How a small picture of the strip is drawn: the box to tick lies in its corner."""

from __future__ import annotations

from typing import Any

from ..qt import Qt, QtCore, QtGui, QtWidgets
from .parts import TOUCH

SIDE = 64
_MARGIN = 2
# What is drawn of the corner that takes the tap, in pixels.
_BOX = 18
_TICK = "\u2713"


class Ticks(QtWidgets.QStyledItemDelegate):
    """Beside the picture the style's own box would take a third of a narrow docker."""

    def sizeHint(self, option: Any, index: Any) -> QtCore.QSize:
        return QtCore.QSize(SIDE + 2 * _MARGIN, SIDE + 2 * _MARGIN)

    def paint(self, painter: QtGui.QPainter, option: Any, index: Any) -> None:
        if option.state & QtWidgets.QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, option.palette.highlight())
        inner = option.rect.adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        index.data(Qt.ItemDataRole.DecorationRole).paint(painter, inner)
        ticked = _ticked(index)
        if ticked is None:
            return
        box = QtCore.QRect(inner.topLeft(), QtCore.QSize(_BOX, _BOX)).translated(1, 1)
        # On a picture of any colour, whatever the theme.
        painter.save()
        painter.setPen(QtGui.QColor("white"))
        painter.setBrush(option.palette.highlight() if ticked else QtGui.QColor(0, 0, 0, 130))
        painter.drawRect(box)
        if ticked:
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), _TICK)
        painter.restore()

    def editorEvent(self, event: Any, model: Any, option: Any, index: Any) -> bool:
        corner = QtCore.QRect(option.rect.topLeft(), QtCore.QSize(TOUCH, TOUCH))
        ticked = _ticked(index)
        released = event.type() == QtCore.QEvent.Type.MouseButtonRelease
        if ticked is None or not released or not corner.contains(event.pos()):
            return False
        to = Qt.CheckState.Unchecked if ticked else Qt.CheckState.Checked
        return bool(model.setData(index, to, Qt.ItemDataRole.CheckStateRole))


def _ticked(index: Any) -> bool | None:
    """None where there is nothing to tick."""
    state = index.data(Qt.ItemDataRole.CheckStateRole)
    return None if state is None else Qt.CheckState(state) == Qt.CheckState.Checked
