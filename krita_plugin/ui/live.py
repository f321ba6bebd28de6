"""Live painting: the switch, what is painted just now, and how."""

from __future__ import annotations

from typing import Any

from ...protocol.messages import LARGEST_SEED, MOST_STEPS
from ..live_area import SIDES, LiveChoice
from ..qt import Qt, QtGui, QtWidgets, Signal
from ..state import LAYER, VISIBLE
from .parts import (
    Combo,
    ElidedLabel,
    Fold,
    WrappedLabel,
    column,
    label,
    quiet_wheel,
    row,
    spin,
    tool_button,
)
from .progress import Picture
from .words import tr

_Policy = QtWidgets.QSizePolicy.Policy
# Spin boxes end at 2**31 - 1.
_LARGEST_SEED = min(LARGEST_SEED, 2**31 - 1)
_BUSY, _AT_REST = "\u25cf", "\u25cb"


class LiveRow(QtWidgets.QWidget):
    """``picture`` is laid out by the panel, where there is room for it.

    switched(on), paused(bool), kept(go_on: live goes on afterwards): the painter's wishes."""

    switched = Signal(bool)
    paused = Signal(bool)
    kept = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        switch = tr("The polished picture follows the brush (image to image at every stroke)")
        self.switch = tool_button("live", tr("Live"), switch)
        self.switch.setCheckable(True)
        self.light = QtWidgets.QLabel(_AT_REST)
        self.light.setObjectName("live_light")
        self.light.setToolTip(tr("Full while a picture is being painted"))
        self.words = ElidedLabel("live_words")
        keeps_place = self.words.sizePolicy()
        keeps_place.setRetainSizeWhenHidden(True)
        self.words.setSizePolicy(keeps_place)
        self.why = WrappedLabel("live_why")
        self.picture = _LivePicture()
        stop = tr("Stop painting live; the canvas is left alone")
        self.pause = tool_button("live_pause", "", stop, shares=True)
        self.pause.setCheckable(True)
        keep = tr("Make this picture a layer and switch Live off")
        self.keep = tool_button("live_keep", tr("Keep"), keep, shares=True)
        keep_on = tr("Make this picture a hidden layer, and go on painting live")
        self.keep_on = tool_button("live_keep_on", tr("Keep, go on"), keep_on, shares=True)
        lines = column(self)
        lines.addLayout(row(self.switch, self.light, self.words, stretch=2))
        lines.addWidget(self.why)
        self.body = QtWidgets.QWidget()
        self.body.setLayout(row(self.pause, self.keep, self.keep_on))
        lines.addWidget(self.body)
        self.switch.toggled.connect(self.switched)
        self.pause.toggled.connect(self._paused)
        self.keep.clicked.connect(lambda checked=False: self.kept.emit(False))
        self.keep_on.clicked.connect(lambda checked=False: self.kept.emit(True))
        self._paused(False)
        self.show_off()

    def show_on(self) -> None:
        """What live starts with."""
        self._check(self.switch, True)
        self._check(self.pause, False)
        self._show_pause()
        self.body.setVisible(True)
        self.show_picture(None)
        self.show_words("", busy=False)

    def show_off(self) -> None:
        self._check(self.switch, False)
        self.body.setVisible(False)
        self.light.setVisible(False)
        self.show_picture(None)
        self.show_words("", busy=False)

    def show_pause(self, on: bool) -> None:
        """on: live stands still, and Resume is offered."""
        self._check(self.pause, on)
        self._show_pause()

    def show_words(self, words: str, *, busy: bool) -> None:
        self.words.setText(words)
        self._fit_words()
        self.light.setText(_BUSY if busy else _AT_REST)
        self.light.setVisible(bool(self.switch.isChecked()))

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._fit_words()

    def _fit_words(self) -> None:
        """Beside the switch, or below it where they do not fit: they may ask for something."""
        words = self.words.text()
        room = self.width() - self.words.x()
        fits = self.words.fontMetrics().horizontalAdvance(words) <= room
        self.words.setVisible(fits)
        self.why.setText("" if fits else words)
        self.why.setVisible(not fits)

    def show_picture(self, image: QtGui.QImage | None) -> None:
        self.picture.show_image(image)
        self.keep.setEnabled(image is not None)
        self.keep_on.setEnabled(image is not None)

    def _paused(self, on: bool) -> None:
        self._show_pause()
        self.paused.emit(on)

    def _show_pause(self) -> None:
        self.pause.setText(tr("Resume") if self.pause.isChecked() else tr("Pause"))

    @staticmethod
    def _check(button: Any, on: bool) -> None:
        button.blockSignals(True)
        button.setChecked(on)
        button.blockSignals(False)


class LiveOptions(QtWidgets.QWidget):
    """changed: the painter chose something else. pinned(bool): pin what is seen now, or let it go."""

    changed = Signal()
    pinned = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        strength = tr("How much of what is there may change live (denoising strength)")
        opacity = tr("How much of the picture lies over the canvas; 0: it is in the docker only")
        source = tr("What is painted over live (source)")
        side = tr("How large the frame is where nothing is selected, in pixels of the canvas")
        seed = tr("The same seed all the time: a stroke changes the picture only around it")
        steps = tr("How many steps each picture takes; all of them run (sampling steps)")
        self.strength = _Percent("live_strength", 1, strength)
        self.opacity = _Percent("live_opacity", 0, opacity)
        self.paint_from = Combo("live_paint_from", source)
        self.paint_from.offer([(VISIBLE, tr("Everything visible")), (LAYER, tr("Current layer"))])
        self.follow = QtWidgets.QCheckBox(tr("Follow view"))
        self.follow.setObjectName("live_follow")
        self.follow.setToolTip(tr("Where nothing is selected: paint the middle of what is seen"))
        pin = tr("Paint what is seen now, and stay there")
        self.pin = tool_button("live_pin", tr("Pin frame"), pin, shares=True)
        self.pin.setCheckable(True)
        self.side = Combo("live_side", side)
        self.side.offer([(str(one), tr("{side} px", side=one)) for one in SIDES])
        self.seed = spin("live_seed", 0, _LARGEST_SEED, 1, "", seed)
        self.steps = spin("live_steps", 1, MOST_STEPS, 4, "", steps)
        fold = Fold("live_options", tr("Live settings"))
        lines = column(fold.body)
        for name, tip, widget in (
            (tr("Strength"), strength, self.strength),
            (tr("Opacity"), opacity, self.opacity),
            (tr("Paint from"), source, self.paint_from),
        ):
            lines.addLayout(row(label(name, tip), widget, stretch=1))
        lines.addLayout(row(self.follow, self.pin, stretch=1))
        lines.addLayout(row(label(tr("Frame"), side), self.side, stretch=1))
        lines.addLayout(row(label(tr("Seed"), seed), self.seed, stretch=1))
        lines.addLayout(row(label(tr("Steps"), steps), self.steps, stretch=1))
        column(self).addWidget(fold)
        self.choose(LiveChoice())
        for changed in (
            self.strength.slider.valueChanged,
            self.opacity.slider.valueChanged,
            self.paint_from.currentIndexChanged,
            self.follow.toggled,
            self.side.currentIndexChanged,
            self.seed.valueChanged,
            self.steps.valueChanged,
        ):
            changed.connect(lambda value: self.changed.emit())
        self.pin.toggled.connect(self.pinned)

    @property
    def choice(self) -> LiveChoice:
        return LiveChoice(
            strength=self.strength.percent,
            paint_from=self.paint_from.currentData(),
            follow=self.follow.isChecked(),
            side=int(self.side.currentData()),
            seed=self.seed.value(),
            steps=self.steps.value(),
            opacity=self.opacity.percent,
        )

    def unpin(self) -> None:
        self.pin.setChecked(False)

    def choose(self, choice: LiveChoice) -> None:
        self.strength.slider.setValue(choice.strength)
        self.opacity.slider.setValue(choice.opacity)
        self.paint_from.choose(choice.paint_from)
        self.follow.setChecked(choice.follow)
        self.side.choose(str(choice.side))
        self.seed.setValue(choice.seed)
        self.steps.setValue(choice.steps)


class _Percent(QtWidgets.QWidget):
    """A slider and its number, ``low`` to 100 %."""

    def __init__(self, name: str, low: int, tip: str) -> None:
        super().__init__()
        self.slider = QtWidgets.QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName(name)
        self.slider.setRange(low, 100)
        self.slider.setPageStep(5)
        self.slider.setMinimumWidth(40)
        self.slider.setToolTip(tip)
        quiet_wheel(self.slider)
        self.number = spin(f"{name}_number", low, 100, low, " %", tip)
        self.setLayout(row(self.slider, self.number, stretch=0))
        self.slider.valueChanged.connect(self.number.setValue)
        self.number.valueChanged.connect(self.slider.setValue)

    @property
    def percent(self) -> int:
        return int(self.slider.value())


class _LivePicture(Picture):
    """As large as half of the docker: on a second screen that is a lot."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("live_picture")

    def most_height(self) -> int:
        least = super().most_height()
        return max(least, self.window().height() // 2) if self._floats() else least

    def _floats(self) -> bool:
        above = self.parentWidget()
        while above is not None and not isinstance(above, QtWidgets.QDockWidget):
            above = above.parentWidget()
        return above is not None and bool(above.isFloating())
