"""Finished pictures that wait for the painter: look, compare, keep or discard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...protocol.region import Rect
from ..entries import Key
from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from .parts import ElidedLabel, WrappedLabel, column, row, tool_button
from .progress import Picture
from .ticks import SIDE, Ticks
from .words import tr

STAR = "\u2605"
_BACKGROUND = QtGui.QColor(128, 128, 128)
# Larger is not seen in the docker, in pixels of the longer side.
_LARGE = 640
# The picture in the docker shows the layer with this much of the canvas around it.
_MARGIN = 0.25
# A press on Compare that is shorter stays, in ms.
_TAP = 300
_Role = Qt.ItemDataRole
_Policy = QtWidgets.QSizePolicy.Policy


@dataclass(frozen=True)
class Thumbnail:
    """png: its small picture, with transparency. is_stray: it belongs to no picture that is open."""

    key: Key
    png: bytes
    about: str
    is_favourite: bool = False
    is_stray: bool = False


class Strip(QtWidgets.QWidget):
    """The painter taps a thumbnail to see it, and ticks several to keep them together.

    came: a press brought pictures, or there are some where none were. chosen(key or None): this one is
    looked at. compared(bool): the canvas as it was. kept(keys, with mask), discarded(keys),
    starred(key, bool): decided.
    """

    came = Signal()
    chosen = Signal(object)
    compared = Signal(bool)
    kept = Signal(object, bool)
    discarded = Signal(object)
    starred = Signal(object, bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._icons: dict[tuple[Key, bool], QtGui.QIcon] = {}
        self._is_away = False
        self._held = QtCore.QElapsedTimer()
        self.list = QtWidgets.QListWidget()
        self.list.setObjectName("strip")
        self.list.setFlow(QtWidgets.QListView.Flow.LeftToRight)
        self.list.setWrapping(False)
        self.list.setItemDelegate(Ticks(self.list))
        self.list.setSpacing(1)
        self.list.setHorizontalScrollMode(QtWidgets.QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = self.list.horizontalScrollBar().sizeHint().height()
        self.list.setFixedHeight(SIDE + bar + 12)
        self.list.setMinimumWidth(40)
        # Tall, and also seen over the canvas: the panel puts it where it may scroll.
        self.look = QtWidgets.QWidget()
        self.large = Picture()
        self.large.setObjectName("strip_large")
        self.about = ElidedLabel("strip_about")
        self.remark = WrappedLabel("strip_remark")
        scale = tr("The canvas was scaled since: scale this picture like it")
        self.scale = tool_button("strip_scale", tr("Scale like the canvas"), scale, shares=True)
        self.scale.setVisible(False)
        star = tr("Favourite: stays in this picture's history for good")
        self.star = tool_button("star", STAR, star)
        self.star.setCheckable(True)
        self.keep = tool_button("keep", tr("Keep"), "")
        font = self.keep.font()
        font.setBold(True)
        self.keep.setFont(font)
        self.keep.setMinimumHeight(round(2.2 * self.keep.fontMetrics().height()))
        self.keep_mask = tool_button(
            "keep_mask",
            tr("With mask"),
            tr(
                "Make it a layer with paint around the area too, under a transparency mask: "
                "paint on the mask to move the edge"
            ),
        )
        self.compare = tool_button(
            "compare", tr("Compare"), tr("The picture before; hold to look, tap to let it stay")
        )
        self.compare.setCheckable(True)
        discard = tr("Off the strip; the history has it")
        self.discard = tool_button("discard", tr("Discard"), discard)
        self.discard_all = tool_button(
            "discard_all", tr("All"), tr("Take all off the strip; the history has them")
        )
        lines = column(self)
        lines.addWidget(self.list)
        lines.addLayout(_shared((self.keep, 5), (self.keep_mask, 3)))
        lines.addLayout(
            _shared((self.compare, 5), (self.discard, 5), (self.discard_all, 3), (self.star, 2))
        )
        about = column(self.look)
        about.addWidget(self.large)
        about.addWidget(self.about)
        about.addWidget(self.remark)
        about.addWidget(self.scale)
        self.keep_mask.setSizePolicy(_Policy.Ignored, _Policy.Expanding)
        self.list.currentItemChanged.connect(lambda new, old: self._changed())
        # Also one that is looked at already: it may be away from the canvas.
        self.list.itemClicked.connect(lambda item: self._tapped())
        self.list.itemChanged.connect(lambda item: self._describe())
        self.list.itemDoubleClicked.connect(lambda item: self.keep_chosen())
        self.keep.clicked.connect(lambda checked=False: self.keep_chosen())
        self.keep_mask.clicked.connect(lambda checked=False: self.keep_chosen(with_mask=True))
        self.discard.clicked.connect(lambda checked=False: self.discard_chosen())
        self.discard_all.clicked.connect(lambda checked=False: self.discarded.emit(self.pictures))
        self.star.clicked.connect(lambda checked: self._star(checked))
        self.compare.pressed.connect(self._hold)
        self.compare.released.connect(self._let_go)
        self.compare.toggled.connect(self.compared)
        self.compared.connect(self._name_compare)
        self.show_pictures([])

    @property
    def pictures(self) -> list[Key]:
        return [self.list.item(i).data(_Role.UserRole) for i in range(self.list.count())]

    @property
    def current(self) -> Key | None:
        """The one that is looked at."""
        item = self.list.currentItem()
        return None if item is None else item.data(_Role.UserRole)

    @property
    def decided(self) -> list[Key]:
        """What Keep and Discard mean: the ticked ones, else the one that is looked at."""
        current = self.current
        return self._ticked() or ([] if current is None else [current])

    def show_pictures(
        self,
        pictures: Sequence[Thumbnail],
        choose: Key | None = None,
        *,
        choose_next: bool = True,
    ) -> None:
        """Show these, look at ``choose``, or at what was looked at, or at what took its place.

        choose_next: False looks at none instead of at what took its place.
        """
        were_none = not self.pictures
        ticked = set(self._ticked())
        before, line = self.current, self.list.currentRow()
        keys = [picture.key for picture in pictures]
        self._icons = {key: icon for key, icon in self._icons.items() if key[0] in keys}
        self.list.blockSignals(True)
        self.list.clear()
        for picture in pictures:
            name = picture.key, picture.is_stray
            if name not in self._icons:
                pixmap = thumbnail_pixmap(picture.png, SIDE, is_stray=picture.is_stray)
                self._icons[name] = QtGui.QIcon(pixmap)
            item = QtWidgets.QListWidgetItem(self._icons[name], "")
            item.setData(_Role.UserRole, picture.key)
            item.setData(_Role.UserRole + 1, picture.is_favourite)
            item.setData(_Role.UserRole + 2, picture.is_stray)
            item.setToolTip(picture.about)
            if len(pictures) > 1:
                tick = Qt.CheckState.Checked if picture.key in ticked else Qt.CheckState.Unchecked
                item.setCheckState(tick)
            self.list.addItem(item)
        chosen = next((key for key in (choose, before) if key in keys), None)
        if chosen is not None:
            line = keys.index(chosen)
        elif not choose_next or (before is None and not were_none):
            line = -1
        else:
            line = min(max(line, 0), len(keys) - 1)
        self.list.setCurrentRow(line)
        self.list.blockSignals(False)
        self.discard_all.setVisible(len(keys) > 1)
        self.setVisible(bool(keys))
        self.look.setVisible(bool(keys))
        self._reset_compare()
        self._describe()
        if keys and (were_none or choose is not None):
            self.came.emit()

    def show_away(self, is_away: bool) -> None:
        """Whether what is looked at is off the canvas, until it is tapped."""
        self._is_away = is_away
        self._describe()

    def show_remark(self, remark: str) -> None:
        self.remark.setText(remark)
        self.remark.setVisible(bool(remark))

    def keep_chosen(self, *, with_mask: bool = False) -> bool:
        """True when there was one."""
        keys = self.decided
        if keys:
            self.kept.emit(keys, with_mask)
        return bool(keys)

    def discard_chosen(self) -> bool:
        """True when there was one."""
        keys = self.decided
        if keys:
            self.discarded.emit(keys)
        return bool(keys)

    def step(self, by: int) -> str:
        """Look at the next or the previous; what it is, "" when there is none."""
        count = self.list.count()
        if not count:
            return ""
        line = self.list.currentRow()
        place = (line + by) % count if line >= 0 else min(by, 0) % count
        self.list.setCurrentRow(place)
        return tr("{n} of {count}: {about}", n=place + 1, count=count, about=self.about.text())

    def toggle_compare(self) -> bool:
        """Before or after; True when it is before now."""
        self.compare.setChecked(not self.compare.isChecked() and self.list.count() > 0)
        return bool(self.compare.isChecked())

    # Inside

    def _ticked(self) -> list[Key]:
        items = [self.list.item(i) for i in range(self.list.count())]
        return [
            item.data(_Role.UserRole)
            for item in items
            if item.checkState() == Qt.CheckState.Checked
        ]

    def _tapped(self) -> None:
        if self._is_away:
            self.chosen.emit(self.current)

    def _changed(self) -> None:
        self._reset_compare()
        self._describe()
        self.chosen.emit(self.current)

    def _reset_compare(self) -> None:
        self.compare.blockSignals(True)
        self.compare.setChecked(False)
        self.compare.blockSignals(False)
        self._name_compare(False)

    def _name_compare(self, before: bool) -> None:
        """A button that stays down is hardly seen in a dark theme."""
        self.compare.setText(tr("Before") if before else tr("Compare"))

    def _describe(self) -> None:
        item = self.list.currentItem()
        self.about.setText(item.toolTip() if item is not None else "")
        self.star.setChecked(item is not None and bool(item.data(_Role.UserRole + 1)))
        # One alone is large already, while it is seen over its own canvas.
        is_alone = self.list.count() == 1 and item is not None and not self._is_away
        is_alone = is_alone and not bool(item.data(_Role.UserRole + 2))
        self.list.setVisible(self.list.count() > 0 and not is_alone)
        for button in (self.star, self.compare):
            button.setEnabled(item is not None)
        count = len(self.decided)
        many = count > 1
        for button in (self.keep, self.keep_mask, self.discard):
            button.setEnabled(count > 0)
        self.keep.setText(tr("Keep {count} in a group", count=count) if many else tr("Keep"))
        self.keep.setToolTip(
            tr("Make them layers in one group, the one you look at visible")
            if many
            else tr("Make it a layer")
        )

    def _star(self, is_favourite: bool) -> None:
        if self.current is not None:
            self.starred.emit(self.current, is_favourite)

    def _hold(self) -> None:
        self._held.start()
        if not self.compare.isChecked():
            self.compared.emit(True)

    def _let_go(self) -> None:
        """Released after ``toggled``: a long look ends, a tap stays."""
        if self.compare.isChecked() and self._held.elapsed() > _TAP:
            self.compare.setChecked(False)


def _shared(*buttons: tuple[QtWidgets.QToolButton, int]) -> QtWidgets.QHBoxLayout:
    """Buttons side by side that share the docker's width in these parts, however long their words."""
    line = row(*(button for button, _ in buttons))
    for i, (button, part) in enumerate(buttons):
        button.setSizePolicy(_Policy.Ignored, _Policy.Fixed)
        line.setStretch(i, part)
    return line


def thumbnail_pixmap(png: bytes, side: int, *, is_stray: bool = False) -> QtGui.QPixmap:
    """The picture on grey, so that its transparency is seen; sharp on any screen. is_stray: in a frame
    of dashes, as it belongs to no picture that is open."""
    image = QtGui.QImage.fromData(png, "PNG")
    ratio = QtWidgets.QApplication.instance().devicePixelRatio()
    pixmap = QtGui.QPixmap(round(side * ratio), round(side * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(_BACKGROUND)
    if image.isNull():
        return pixmap
    place = QtCore.QRect(
        QtCore.QPoint(0, 0),
        image.size().scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio),
    )
    place.moveCenter(QtCore.QRect(0, 0, side, side).center())
    painter = QtGui.QPainter(pixmap)
    painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
    painter.drawImage(place, image)
    if is_stray:
        for colour, dashes in (("black", Qt.PenStyle.SolidLine), ("white", Qt.PenStyle.DashLine)):
            painter.setPen(QtGui.QPen(QtGui.QColor(colour), 2, dashes))
            painter.drawRect(1, 1, side - 2, side - 2)
    painter.end()
    return pixmap


def with_margin(rect: Rect, width: int, height: int) -> Rect:
    """``rect`` with some of the canvas around it; not cut where it lies outside already."""
    x, y = round(rect.width * _MARGIN), round(rect.height * _MARGIN)
    left, top = max(min(0, rect.x), rect.x - x), max(min(0, rect.y), rect.y - y)
    right = min(max(width, rect.right), rect.right + x)
    bottom = min(max(height, rect.bottom), rect.bottom + y)
    return Rect(left, top, right - left, bottom - top)


def composed(
    canvas: QtGui.QImage, over: QtGui.QImage | None, rect: Rect, around: Rect
) -> QtGui.QImage:
    """``over`` at ``rect`` on ``canvas``, which shows ``around`` (both canvas pixels), made small."""
    size = QtCore.QSize(around.width, around.height)
    if max(around.width, around.height) > _LARGE:
        size.scale(_LARGE, _LARGE, Qt.AspectRatioMode.KeepAspectRatio)
    made = QtGui.QImage(size, QtGui.QImage.Format.Format_ARGB32_Premultiplied)
    made.fill(_BACKGROUND)
    painter = QtGui.QPainter(made)
    painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
    painter.scale(size.width() / around.width, size.height() / around.height)
    painter.drawImage(QtCore.QRect(0, 0, around.width, around.height), canvas)
    if over is not None:
        place = QtCore.QRect(rect.x - around.x, rect.y - around.y, rect.width, rect.height)
        painter.drawImage(place, over)
    painter.end()
    return made
