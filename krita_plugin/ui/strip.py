"""Finished pictures that wait for the painter: thumbnails side by side, Keep and Discard."""

from __future__ import annotations

from typing import Any

from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from .parts import ElidedLabel, column, row
from .words import tr

_SIDE = 64
_BACKGROUND = QtGui.QColor(128, 128, 128)


class Strip(QtWidgets.QWidget):
    """kept, discarded: (job, variant) of the chosen picture."""

    kept = Signal(str, int)
    discarded = Signal(str, int)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.list = QtWidgets.QListWidget()
        self.list.setObjectName("strip")
        self.list.setFlow(QtWidgets.QListView.Flow.LeftToRight)
        self.list.setWrapping(False)
        self.list.setIconSize(_square(_SIDE))
        self.list.setSpacing(1)
        self.list.setHorizontalScrollMode(QtWidgets.QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = self.list.horizontalScrollBar().sizeHint().height()
        self.list.setFixedHeight(_SIDE + bar + 12)
        self.list.setMinimumWidth(40)
        self.about = ElidedLabel("strip_about")
        self.keep = QtWidgets.QPushButton(tr("Keep"))
        self.keep.setObjectName("keep")
        self.keep.setToolTip(tr("Make it a layer"))
        self.discard = QtWidgets.QPushButton(tr("Discard"))
        self.discard.setObjectName("discard")
        self.discard.setToolTip(tr("Throw this picture away"))
        lines = column(self)
        lines.addWidget(self.list)
        lines.addLayout(row(self.about, self.keep, self.discard, stretch=0))
        self.list.currentItemChanged.connect(lambda new, old: self._describe())
        self.list.itemDoubleClicked.connect(lambda item: self.keep_chosen())
        self.keep.clicked.connect(lambda checked=False: self.keep_chosen())
        self.discard.clicked.connect(lambda checked=False: self.discard_chosen())
        self.setVisible(False)

    @property
    def pictures(self) -> list[tuple[str, int]]:
        return [self.list.item(i).data(Qt.ItemDataRole.UserRole) for i in range(self.list.count())]

    def add(self, job: str, variant: int, image: QtGui.QImage, about: str) -> None:
        item = QtWidgets.QListWidgetItem(QtGui.QIcon(_thumbnail(image)), "")
        item.setData(Qt.ItemDataRole.UserRole, (job, variant))
        item.setToolTip(about)
        self.list.addItem(item)
        if self.list.count() == 1:
            self.list.setCurrentItem(item)
        self.setVisible(True)

    def remove(self, job: str, variant: int) -> None:
        if (job, variant) in self.pictures:
            self.list.takeItem(self.pictures.index((job, variant)))
        self.setVisible(self.list.count() > 0)
        self._describe()

    def keep_chosen(self) -> bool:
        """True when there was one."""
        return self._choose(self.kept)

    def discard_chosen(self) -> bool:
        """True when there was one."""
        return self._choose(self.discarded)

    def _describe(self) -> None:
        item = self.list.currentItem()
        self.about.setText(item.toolTip() if item is not None else "")

    def _choose(self, signal: Any) -> bool:
        item = self.list.currentItem()
        if item is None:
            return False
        signal.emit(*item.data(Qt.ItemDataRole.UserRole))
        return True


def _square(side: int) -> Any:
    return QtCore.QSize(side, side)


def _thumbnail(image: QtGui.QImage) -> QtGui.QPixmap:
    """The picture on grey, so that its transparency is seen."""
    small = image.scaled(
        _square(_SIDE),
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    pixmap = QtGui.QPixmap(_SIDE, _SIDE)
    pixmap.fill(_BACKGROUND)
    painter = QtGui.QPainter(pixmap)
    painter.drawImage((_SIDE - small.width()) // 2, (_SIDE - small.height()) // 2, small)
    painter.end()
    return pixmap
