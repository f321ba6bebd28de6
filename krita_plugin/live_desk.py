"""Live painting: from the brush to the server and back onto the canvas. Lives on the GUI thread.

Everything here exists only while Live is on; switched off, it leaves no timer, no widget, no frame.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from ..protocol import messages as m
from ..protocol.errors import LocalError
from ..protocol.region import Rect, Size
from .changes import Changes
from .document import Document, DocumentError, too_large
from .link import Link
from .live import NOTHING_SELECTED, SELECTION_LOST, Close, LivePolicy, Open
from .live_area import Scope, framed
from .live_keeper import LiveKeeper
from .live_pace import LivePace
from .live_picture import LivePicture
from .live_source import LiveSource
from .overlay import Overlay
from .qt import QtCore, QtGui, Signal
from .state import LinkState
from .ui.panel import Panel
from .view import PenWatch, View, active_view

# How often the selection, the view and the settings are looked at, in ms: Krita tells of none.
_GLANCE = 250
# What only the opening of a canvas tells.
_OPENING = frozenset(("model", "area"))
_NO_PICTURE = "Live waits: open or create a picture."
_NO_SERVER = "Live waits for the server: see the light above."
_NO_MODEL = "Live waits: the server has no model that can paint."


class LiveDesk(QtCore.QObject):
    """remembered(LiveChoice): the painter chose something else."""

    remembered = Signal(object)

    def __init__(
        self,
        panel: Panel,
        link: Link,
        find_active: Callable[[], Document | None],
        keeper: LiveKeeper,
        parent: Any = None,
    ) -> None:
        super().__init__(parent)
        self._panel, self._link, self._find_active = panel, link, find_active
        self._keeper = keeper
        self._policy, self._scope = LivePolicy(), Scope()
        self._on = self._is_connected = False
        self._source: LiveSource | None = None
        self._view: View | None = None
        self._blocked = ""
        self._stale = True
        self._sight: Any = None  # what the last look at the layers was made for
        self._error = ""
        self._model = self._sampler = ""
        self._guides: tuple[Any, tuple[m.Control, ...]] = (None, ())
        self._settings: m.LiveOpen | None = None
        self._selection: bytes | None = None  # Gray8 of the picture's rectangle, as is the next
        self._outline: bytes | None = None
        self._picture: LivePicture | None = None
        self._pace = LivePace()
        self._overlay = Overlay(self)
        self._pen = PenWatch(self)
        self._changes = Changes(self)
        self._glance = self._timer(self._place, single=False)
        self._glance.setInterval(_GLANCE)
        self._look_timer = self._timer(self._look)
        self._pen.moved.connect(self._pen_moved)
        self._changes.happened.connect(self._changed)
        panel.live.switched.connect(self.switch)
        panel.live.paused.connect(self._pause)
        panel.live.kept.connect(self.keep)
        panel.live_options.changed.connect(self._chosen)
        panel.live_options.pinned.connect(self._pin)
        link.state_changed.connect(self._link_changed)
        link.live.connect(self._heard)

    def _timer(self, call: Callable[[], None], *, single: bool = True) -> Any:
        made = QtCore.QTimer(self)
        made.setSingleShot(single)
        made.timeout.connect(call)
        return made

    # The switch

    def switch(self, on: bool) -> None:
        if on and not self._on:
            self._on = True
            self._error = ""
            self._policy = LivePolicy()
            self._panel.live.show_on()
            self._changes.start()
            self._glance.start()
            self._place()
        elif self._on and not on:
            self._on = False
            self._send(self._policy.ended())
            self._glance.stop()
            self._look_timer.stop()
            self._changes.stop()
            self._pen.watch(None)
            self._overlay.hide()
            self._source = self._view = self._picture = self._settings = None
            self._selection = self._outline = None
            self._guides = (None, ())
            self._keeper.forget()
            self._panel.live_options.unpin()
            self._scope = Scope()
            self._panel.live.show_off()

    def _pause(self, on: bool) -> None:
        if not self._on:
            return
        self._error = ""
        self._scope.go_on()
        if on:
            self._send(self._policy.pause())
        else:
            self._policy.resume()
        self._stale = True
        self._place()

    def _pin(self, on: bool) -> None:
        view = active_view()
        seen = None if view is None or too_large() else view.visible()
        self._scope.pinned = (
            framed(seen, self._panel.live_options.choice.side) if on and seen is not None else None
        )
        self._scope.go_on()
        if self._on:
            self._place()

    def _chosen(self) -> None:
        self.remembered.emit(self._panel.live_options.choice)
        self._stale = True
        if self._on:
            self._place()
            self._show_picture()

    def follow(self) -> None:
        """Another view is active."""
        if self._on:
            self._stale, self._view = True, None
            self._place()
            self._overlay.follow()

    # What is painted

    def _changed(self) -> None:
        self._stale = True
        self._policy.touched()
        self._schedule()

    def _pen_moved(self, down: bool) -> None:
        self._policy.pen(down)
        self._schedule()

    def _place(self) -> None:
        """Look where to paint and with what; open, change or close the live canvas to suit."""
        try:
            area, why = self._area()
            self._send(self._policy.place(area, str(uuid.uuid4()), why))
            if area is not None and self._policy.area == area:
                self._tell(area)
        except (DocumentError, LocalError) as error:
            self._fail(error.args[0])
        self._panel.live.show_pause(self._policy.is_paused or self._scope.lost or bool(self._error))
        self._schedule()
        self._show_words()

    def _area(self) -> tuple[Rect | None, str]:
        """Where to paint, or why not."""
        document, model = self._find_active(), self._panel.model.model
        if document is not None and not document.is_open:  # its view is closing
            document = None
        view = self._view
        if view is None or document is None or not view.is_seen or not view.shows(document):
            view = self._view = active_view()
        self._pen.watch(view)
        if self._source is None or document is None or self._source.document != document:
            self._send(self._policy.ended())
            self._source = None if document is None else LiveSource(document)
            self._scope.go_on()
            self._stale = True
        if self._error:
            return None, self._error
        if self._source is None or document is None or view is None or not view.shows(document):
            return None, too_large() or _NO_PICTURE
        if not self._is_connected or model is None:
            return None, _NO_SERVER if not self._is_connected else _NO_MODEL
        if model.name != self._model:
            self._send(self._policy.ended())
            self._model, self._sampler = model.name, model.sampler
        self._keeper.back_to_work()
        choice = self._panel.live_options.choice
        area = self._scope.area(
            document.size,
            document.selection_bounds(),
            view.visible(),
            choice,
            model.native,
            self._policy.most_pixels,
        )
        sight = (document.active_layer, choice, self._panel.settings.left_out)
        if self._stale or sight != self._sight:
            self._stale, self._sight = False, sight
            self._blocked = self._source.look(choice, self._panel.settings)
            self._guides = (None, ())
        # Not every change of it is told of; reading it costs less than half a millisecond.
        self._read_selection()
        if self._blocked:
            return None, self._blocked
        return area, SELECTION_LOST if self._scope.lost else NOTHING_SELECTED

    def _tell(self, area: Rect) -> None:
        """Settings that changed apply to the next picture."""
        job, source = self._policy.job, self._source
        if job is None or source is None or self._picture is None:
            return
        settings, choice = self._panel.settings, self._panel.live_options.choice
        asked = (settings.active_guides, area)
        if self._guides[0] != asked:
            self._guides = (asked, source.guides(area, settings))
        wanted = m.LiveOpen(
            job=job,
            model=self._model,
            area=Size(area.width, area.height),
            prompt=settings.prompt,
            negative=settings.negative,
            style=settings.style,
            strength=choice.strength / 100,
            steps=choice.steps,
            sampler=settings.live_sampler(self._sampler),
            seed=choice.seed,
            clip_skip=settings.clip_skip,
            controls=self._guides[1],
        )
        if not self._policy.takes(wanted):
            return
        is_open = self._settings is not None and self._settings.job == job
        self._settings = wanted
        if is_open:
            fields = {name: value for name, value in vars(wanted).items() if name not in _OPENING}
            self._link.send_live(m.LiveSettings(**fields))
        else:
            self._link.send_live(wanted)

    def _send(self, actions: tuple[Close | Open, ...]) -> None:
        for action in actions:
            if isinstance(action, Close):
                self._link.send_live(m.LiveClose(job=action.job))
            else:
                # Told to the server by _tell, with the settings.
                self._picture = LivePicture(action.area)
                self._selection = self._outline = None
                self._pace.begin()
                self._read_selection()
                self._show_picture()

    def _read_selection(self) -> None:
        picture, source = self._picture, self._source
        if picture is None or source is None:
            return
        before = self._selection
        self._selection = source.document.read_selection(picture.rect)
        if self._selection != before:
            self._mask()
            self._show_picture()

    # Looking and sending

    def _schedule(self) -> None:
        if not self._on:
            return
        wait = self._policy.next_look(time.monotonic())
        if wait is None:
            self._look_timer.stop()
        elif not self._look_timer.isActive():
            self._look_timer.start(round(1000 * wait))

    def _look(self) -> None:
        source, area = self._source, self._policy.area
        if source is None or area is None or not source.document.is_open:
            return
        try:
            pixels = source.read(area)
        except DocumentError:  # its layer is gone, say: choose anew
            self._stale = True
            self._place()
            return
        frame = self._policy.look(time.monotonic(), pixels)
        if frame is not None:
            self._link.send_live(frame)
            self._read_outline(pixels)
            self._mask()
            self._show_words()
        self._schedule()

    def _mask(self) -> None:
        """What may change: what is selected and, of a layer with transparency, where it has paint."""
        if self._picture is not None:
            masks = (self._selection, self._outline)
            self._picture.masks = tuple(mask for mask in masks if mask is not None)

    def _read_outline(self, pixels: bytes) -> None:
        self._outline = None
        if self._source is not None and self._source.layer is not None:
            alpha = pixels[3::4]
            if self._panel.settings.keep_outline and alpha.count(255) != len(alpha):
                self._outline = alpha

    # Hearing and showing

    def _heard(self, message: m.Message) -> None:
        if not self._on or getattr(message, "job", None) != self._policy.job:
            return
        if isinstance(message, m.LiveResult):
            if self._policy.answered(message) and self._picture is not None:
                self._picture.lay(message)
                self._pace.picture(time.monotonic())
                self._show_picture()
        elif isinstance(message, m.LiveKeyFrame):
            self._policy.key_frame(message.job)
        elif isinstance(message, m.Progress):
            self._pace.stage(message.stage)
        elif isinstance(message, m.LiveClosed):
            self._policy.ended()
        elif isinstance(message, m.Error):
            self._policy.ended()
            self._fail(message.sentence)
        self._schedule()
        self._show_words()

    def _fail(self, sentence: str) -> None:
        """Wait until the painter resumes: the next attempt would fail in the same way."""
        self._error = sentence
        self._send(self._policy.place(None, "", sentence))
        self._panel.live.show_pause(True)

    def _link_changed(self, link: LinkState) -> None:
        self._is_connected = link.is_connected
        if self._on:
            self._place()

    def _show_picture(self) -> None:
        picture, source = self._picture, self._source
        if picture is None or source is None or not self._on:
            return
        image = QtGui.QImage() if picture.is_empty else picture.shown()
        self._panel.live.show_picture(None if picture.is_empty else image)
        opacity = self._panel.live_options.choice.opacity / 100
        framed = self._selection is None
        if opacity > 0:
            self._overlay.show(
                image, picture.rect, opacity, document=source.document, framed=framed
            )
        else:
            self._overlay.hide()

    def _show_words(self) -> None:
        if not self._on:
            return
        busy = self._policy.is_waiting
        words = self._pace.words(self._policy.sentence, busy, time.monotonic())
        self._panel.live.show_words(words, busy=busy)

    # Keeping

    def keep(self, go_on: bool) -> None:
        """Make the picture a layer with its recipe. go_on: a hidden one, and live goes on."""
        picture, source, settings = self._picture, self._source, self._settings
        selection = self._selection
        if not self._on or picture is None or source is None or settings is None:
            return
        # First: Krita handles events while it adds a layer.
        if not go_on:
            self.switch(False)
        self._keeper.keep(picture, source, settings, selection, go_on=go_on)
