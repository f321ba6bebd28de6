"""Small widgets that more than one group needs. None of them ever widens the docker."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..qt import Qt, QtCore, QtGui, QtWidgets

SPACING = 4
# What a pen hits without aiming, in pixels: the least of what is tapped.
TOUCH = 28
# The arrow of a button that opens a menu, in pixels.
_MENU_ARROW = 10
_Policy = QtWidgets.QSizePolicy.Policy


class ElidedLabel(QtWidgets.QLabel):
    """One line that is cut with an ellipsis where it does not fit; the tooltip has all of it."""

    def __init__(self, name: str, text: str = "", parent: Any = None) -> None:
        super().__init__(text, parent)
        self.setObjectName(name)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(_Policy.Ignored, _Policy.Preferred)

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        self.style().drawItemText(
            painter,
            self.contentsRect(),
            int(getattr(self.alignment(), "value", self.alignment())),
            self.palette(),
            self.isEnabled(),
            text,
            self.foregroundRole(),
        )
        painter.end()


class ElidedButton(QtWidgets.QToolButton):
    """A button as wide as its row lets it, whose words end with an ellipsis where they do not fit: Qt
    cuts them at both ends."""

    def __init__(self, name: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.setMinimumSize(TOUCH, TOUCH)
        self.setSizePolicy(_Policy.Ignored, _Policy.Fixed)

    def paintEvent(self, event: Any) -> None:
        option = QtWidgets.QStyleOptionToolButton()
        self.initStyleOption(option)
        room = self.width() - 2 * SPACING - (_MENU_ARROW if self.menu() is not None else 0)
        option.text = self.fontMetrics().elidedText(option.text, Qt.TextElideMode.ElideRight, room)
        painter = QtWidgets.QStylePainter(self)
        painter.drawComplexControl(QtWidgets.QStyle.ComplexControl.CC_ToolButton, option)
        painter.end()


class WrappedLabel(QtWidgets.QLabel):
    """A sentence over several lines."""

    def __init__(self, name: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        policy = self.sizePolicy()
        policy.setHorizontalPolicy(_Policy.Ignored)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)


class Combo(QtWidgets.QComboBox):
    """A combo box as narrow as the docker needs, holding (data, text) pairs."""

    def __init__(self, name: str, tooltip: str = "", parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(3)
        self.setMinimumHeight(TOUCH)
        self.setSizePolicy(_Policy.Expanding, _Policy.Fixed)
        quiet_wheel(self)

    def offer(
        self,
        items: list[tuple[str, str]],
        barred: Mapping[str, str] = MappingProxyType({}),
        tips: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Replace the items and keep the choice where it is still there.

        barred: data -> why it cannot be chosen, said by its tooltip; others say their ``tips``.
        """
        if items != [(self.itemData(i), self.itemText(i)) for i in range(self.count())]:
            chosen = self.currentData()
            first = next((i for i, (data, _) in enumerate(items) if data not in barred), 0)
            self.blockSignals(True)
            self.clear()
            for data, text in items:
                self.addItem(text, data)
            found = self.findData(chosen)
            self.setCurrentIndex((found if found >= 0 else first) if items else -1)
            self.blockSignals(False)
            if self.currentData() != chosen:
                self.currentIndexChanged.emit(self.currentIndex())
        for index, (data, text) in enumerate(items):
            self.model().item(index).setEnabled(data not in barred)
            tip = barred.get(data) or tips.get(data, text)
            self.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)

    def choose(self, data: str) -> bool:
        index = self.findData(data)
        if index >= 0:
            self.setCurrentIndex(index)
        return index >= 0


def label(text: str, tooltip: str = "") -> QtWidgets.QLabel:
    """The word before a field, as wide as the others, so that the fields stand in line."""
    words = ElidedLabel("", text)
    words.setSizePolicy(_Policy.Preferred, _Policy.Preferred)
    words.setToolTip(tooltip or text)
    words.setMinimumWidth(words.fontMetrics().horizontalAdvance("Paint from "))
    return words


def tool_button(
    name: str, text: str, tooltip: str, *, shares: bool = False
) -> QtWidgets.QToolButton:
    """A button with words or a sign, large enough for a pen. shares: as wide as its row lets it."""
    button = ElidedButton(name)
    button.setText(text)
    button.setToolTip(tooltip)
    if not shares:
        button.setSizePolicy(_Policy.Fixed, _Policy.Fixed)
    return button


def spin(name: str, low: int, high: int, value: int, suffix: str, tooltip: str) -> Any:
    box = QtWidgets.QSpinBox()
    return _prepared(box, name, low, high, value, suffix, tooltip)


def real_spin(name: str, low: float, high: float, value: float, tooltip: str) -> Any:
    box = QtWidgets.QDoubleSpinBox()
    box.setDecimals(1)
    box.setSingleStep(0.5)
    return _prepared(box, name, low, high, value, "", tooltip)


def _prepared(
    box: Any, name: str, low: float, high: float, value: float, suffix: str, tooltip: str
) -> Any:
    box.setObjectName(name)
    box.setRange(low, high)
    box.setValue(value)
    box.setSuffix(suffix)
    box.setToolTip(tooltip)
    box.setKeyboardTracking(False)
    box.setMinimumSize(48, TOUCH)
    box.setSizePolicy(_Policy.Preferred, _Policy.Fixed)
    quiet_wheel(box)
    return box


class _QuietWheel(QtCore.QObject):
    """A wheel or a pen's scroll moves the docker, not the field that happens to lie under it."""

    def eventFilter(self, watched: Any, event: Any) -> bool:
        if event.type() == QtCore.QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def quiet_wheel(widget: QtWidgets.QWidget) -> None:
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_QuietWheel(widget))


def shrinkable(button: Any) -> Any:
    """A button that a small docker may make narrower than its words; the tooltip has them."""
    button.setMinimumWidth(48)
    return button


def row(*widgets: Any, stretch: int | None = None) -> QtWidgets.QHBoxLayout:
    """Widgets side by side; ``stretch`` is the index of the one that takes the room."""
    line = QtWidgets.QHBoxLayout()
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(SPACING)
    for i, widget in enumerate(widgets):
        line.addWidget(widget, 1 if i == stretch else 0)
    return line


def column(parent: Any = None, margin: int = 0) -> QtWidgets.QVBoxLayout:
    lines = QtWidgets.QVBoxLayout(parent) if parent is not None else QtWidgets.QVBoxLayout()
    lines.setContentsMargins(margin, margin, margin, margin)
    lines.setSpacing(SPACING)
    return lines


class Fold(QtWidgets.QWidget):
    """A heading that opens and closes what is under it."""

    def __init__(self, name: str, title: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.head = QtWidgets.QToolButton(self)
        self.head.setObjectName(name)
        self.head.setText(title)
        self.head.setCheckable(True)
        self.head.setAutoRaise(True)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setSizePolicy(_Policy.Ignored, _Policy.Fixed)
        # A checked button looks pressed; a heading should not.
        self.head.setStyleSheet("QToolButton { border: none; padding: 2px; }")
        self.head.setMinimumHeight(TOUCH)
        self.body = QtWidgets.QWidget(self)
        lines = column(self)
        lines.addWidget(self.head)
        lines.addWidget(self.body)
        self.head.toggled.connect(self._show)
        self._show(False)

    def changeEvent(self, event: Any) -> None:
        # What has a style sheet does not take over Krita's smaller letters by itself.
        if event.type() == QtCore.QEvent.Type.FontChange:
            self.head.setFont(self.font())
        super().changeEvent(event)

    def _show(self, is_open: bool) -> None:
        self.head.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self.body.setVisible(is_open)
