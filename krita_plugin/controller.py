"""From a press to a result: takes the panel's wishes to the document and the server."""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ..protocol import messages as m
from ..protocol.errors import LocalError
from ..protocol.region import Rect
from . import canvas, capture, sending, trace
from .back import BackToWork
from .capture import CaptureError
from .desks import Desks
from .document import Document, DocumentError, LayerGone, too_large
from .failures import Failures
from .first_press import FirstPress
from .link import Link
from .painting import Painting, hidden_by
from .pictures import PictureFiles
from .placing import visible_sum
from .preview import Preview
from .qt import QtCore
from .reopen import Reopening
from .results import Results
from .state import CONNECTING, LOADING, VISIBLE, LinkState, stage_words
from .trace import Tracing
from .ui.guide import GuideRow, kind_name
from .ui.panel import Panel
from .ui.sent import SIDE
from .ui.words import said, tr


class Controller(QtCore.QObject):
    """Lives on the GUI thread and never waits."""

    def __init__(
        self,
        panel: Panel,
        link: Link,
        active_document: Callable[[], Document | None],
        parent: Any = None,
    ) -> None:
        super().__init__(parent)
        self._panel, self._link, self._find_active = panel, link, active_document
        self._paintings: dict[str, Painting] = {}
        self._tracings: dict[str, Tracing] = {}
        self._server = ""  # the id of the one that paints
        # Of each server: jobs without a final answer, in order.
        self._asked: dict[str, dict[str, m.Progress | None]] = {}
        self._models: dict[str, str] = {}  # what the painter chose at servers that rest
        self._arrivals: dict[str, int] = {}
        self._limits: m.Limits | None = None
        self._state = LinkState(CONNECTING, "")
        self._seen: Any = None
        self._failures = Failures(panel.notice, self._again)
        self.desks = Desks(panel, self)
        self.recipes = Reopening(panel, self._active)
        self.preview = Preview(panel, self)
        self.results = Results(panel, link, self._active, self)
        self.back = BackToWork()
        self._first = FirstPress(panel, link, self.press, self)
        self.pictures = PictureFiles(panel, self._active, self.results.workshop)
        panel.pressed.connect(self.press)
        panel.cancelled.connect(self.cancel)
        panel.progress.all_cancelled.connect(self.cancel_all)
        panel.escaped.connect(self.preview.hide)
        panel.entered.connect(self.look)
        panel.recipe.reopened.connect(self._reopen)
        panel.recipe.removed.connect(self.recipes.remove_all)
        panel.recipe.removed.connect(self.results.show_past)
        panel.guide.traced.connect(self._trace)
        panel.sent_row.wanted.connect(self._show_sent)
        link.state_changed.connect(self._link_changed)
        link.catalogue.connect(self._offer)
        link.addons.connect(panel.show_addons)
        link.styles.connect(panel.show_styles)
        link.limits.connect(self._limit)
        link.result.connect(self._arrived)
        link.control_map.connect(self._traced)
        link.failed.connect(self._failed)
        link.news.connect(self._news)

    # The server

    def switch(self, server: str) -> None:
        """Another one paints from now on, or the same anew; what was asked of each stays with it."""
        model = self._panel.model.model
        if model is not None:
            self._models[self._server] = model.name
        self._server = server
        self._limits = None
        self.preview.end()
        self._show_progress()

    def remove_server(self, server: str, name: str) -> None:
        """It is used no more; what it still owes may be asked of the one that paints now."""
        jobs = self._asked.pop(server, {})
        owed = [self._paintings[job] for job in jobs if job in self._paintings]
        for job in jobs:
            self._link.cancel(job)

        def ask_here() -> None:
            for painting in owed:
                self._again(painting)

        if owed:
            said = tr('"{name}" was removed before all its pictures came.', name=name)
            self._panel.notice.say(said, ask_here, tr("Ask again here"))

    @property
    def _open(self) -> dict[str, m.Progress | None]:
        """What was asked of the server that paints."""
        return self._asked.setdefault(self._server, {})

    def _offer(self, models: tuple[m.ModelInfo, ...]) -> None:
        self._panel.show_models(models)
        self._panel.model.combo.choose(self._models.pop(self._server, ""))

    # Looking at the canvas

    def glance(self) -> None:
        """Look closer if the document, its size, its selection, its layer or what of it is shown is
        another one."""
        if self._sight() != self._seen:
            self.look()

    def look(self) -> canvas.Canvas | None:
        """Show what a press would do to the canvas as it is now."""
        try:
            return self._look()
        except LayerGone:
            # Krita lets timers in while it deletes a layer: look again.
            self._seen = None
            return None

    def _look(self) -> canvas.Canvas | None:
        document = self._active()
        self.back.follow()
        self.desks.follow(document)
        self._seen = self._sight()
        self.recipes.look(document)
        self.results.look(document)
        self._panel.notice.review()
        if document is None:
            self._panel.show_canvas(None, [])
            sentence = too_large()
            self._panel.remarks.show_obstacle("" if sentence is None else tr(sentence))
            return None
        layers = [(x.id, x.name) for x in reversed(document.layers()) if x.is_picture]
        seen = canvas.look(document, self._panel.settings.left_out)
        self._panel.show_canvas(seen, layers)
        return seen

    def _show_sent(self) -> None:
        """The thumbnail of what a press would send."""
        document, plan, row = self._active(), self._panel.plan, self._panel.sent_row
        if document is None or plan is None:
            row.show_picture(None)
            return
        with contextlib.suppress(DocumentError):  # said at the press
            region = plan.region
            row.show_picture(sending.picture(document, plan, SIDE), region.width, region.height)

    def _active(self) -> Document | None:
        # While a view closes, Krita still calls its document active.
        document = self._find_active()
        return document if document is not None and document.is_open else None

    def _sight(self) -> Any:
        document = self._active()
        if document is None:
            return str(too_large() or "")
        return (
            document,
            document.size,
            document.selection_bounds(),
            document.active_layer,
            document.shown,
            self._panel.settings.left_out,
            document.limits(),
        )

    def _reopen(self) -> None:
        self.recipes.open()
        self._seen = self._sight()

    # Asking

    def press(self) -> None:
        """Read what is needed and send it."""
        panel = self._panel
        panel.notice.clear()
        document = self._active()
        if document is None:
            why = too_large() or "Open or create a picture first."
            panel.notice.say(tr(why), still=lambda: not self._active())
            return
        model = panel.model.model
        if model is None or self._limits is None:
            self._say_why_not()
            return
        try:
            painting = self._prepare(document, model, self._limits)
        except capture.NothingOnLayer as error:
            panel.notice.say(said(error), self._press_everything, tr("Everything visible"))
            return
        except (CaptureError, DocumentError, LocalError) as error:
            sentence = said(error)
            # What does not come from the fields stands until the next press.
            passes = sentence == panel.in_the_way
            panel.notice.say(
                sentence,
                self.press,
                still=(lambda: panel.in_the_way == sentence) if passes else None,
            )
            return
        self._send(painting)
        panel.sent(painting.settings, painting.request.seed)

    def _say_why_not(self) -> None:
        """There is nothing to paint with."""
        kind, again, words = self._state.kind, self.press, ""
        if kind == LOADING:
            why = tr("The model is loading: wait until the light is green.")
        elif self._state.is_connected:
            why = tr("The server has no model that can paint: put one into its models folder.")
        elif self._state.may_start:
            if self._first.ask():
                return
            why, words = tr("There is no server yet: start it."), tr("Start server")
            again = self._panel.connection.start_server.emit
        else:
            why = tr("There is no server yet: wait until the light is green.")
        self._panel.notice.say(why, again, words, still=lambda: self._state.kind == kind)

    def _press_everything(self) -> None:
        """The other source than the layer that turned out to be empty."""
        self._panel.source.combo.choose(VISIBLE)
        self.press()

    def _prepare(self, document: Document, model: m.ModelInfo, limits: m.Limits) -> Painting:
        document.wait_for_idle()
        seen = self.look() or canvas.look(document)
        action, settings, enlarge = self._panel.action, self._panel.settings, None
        if action == "expand":
            if settings.left_out:
                # What was left out may be what fills the border.
                with document.without(settings.left_out) as rest:
                    border = canvas.look(rest)
                seen = replace(seen, empty=border.empty, painted=border.painted)
            seen = canvas.enlarged(seen, self._panel.expand.chosen)
            if seen.size != document.size:
                enlarge = Rect(*seen.origin, seen.size.width, seen.size.height)
        plan = capture.plan(seen, action, settings, model, most_pixels=limits.picture_pixels)
        seed = settings.seed
        request = capture.build_request(
            str(uuid.uuid4()),
            plan,
            capture.read(document, plan, settings),
            settings,
            model,
            random.randrange(m.LARGEST_SEED + 1) if seed is None else seed,
        )
        reopened = self.recipes.above(document, settings)
        watched: Rect | None = (seen.selection if plan.selected else None) or plan.region
        if enlarge is not None or seen.limits.isolated:
            watched = None  # nobody painted there yet, or it will be seen again as a whole
        return Painting(
            request=request,
            action=action,
            settings=settings,
            document=document,
            name=document.name,
            file=document.path,
            source=plan.layer,
            asked_size=document.size,
            enlarge=enlarge,
            above=reopened or plan.layer,
            hides=hidden_by(request.selection is None, plan.layer, reopened),
            watched=watched,
            before=0 if watched is None else visible_sum(document, watched),
            shown=document.shown,
            frames=document.frames,
        )

    def _send(self, painting: Painting, again: str = "") -> None:
        """again: the job that did not bring it."""
        job = painting.request.job
        self.results.expect(painting, again)
        self._paintings[job] = painting
        self._open[job] = None
        self._link.generate(painting.request)
        self._show_progress()

    def _trace(self, row: GuideRow) -> None:
        """Make the guide of that row from the picture."""
        panel, document, kind = self._panel, self._active(), row.kind.currentData()
        panel.notice.clear()
        again = partial(self._trace, row)
        if document is None or self._limits is None or not kind:
            panel.notice.say(tr("Open a picture and wait until the light is green."), again)
            return
        document.wait_for_idle()
        try:
            request = trace.build_request(
                document, panel.settings, kind, most_pixels=self._limits.picture_pixels
            )
        except (CaptureError, DocumentError, LocalError) as error:
            panel.notice.say(said(error), again)
            return
        self._tracings[request.job] = Tracing(request, document, row.follow)
        self._open[request.job] = None
        self._link.annotate(request)
        self._show_progress()

    def _traced(self, answer: m.ControlMap) -> None:
        tracing = self._tracings.pop(answer.job, None)
        self._close(answer.job)
        if tracing is None:  # of an earlier start of Krita: nobody waits for it
            return
        name = tr("{kind} (Trace)", kind=kind_name(answer.kind))
        try:
            active = tracing.document.active_layer
            layer = trace.insert(tracing.document, name, answer)
            self.back.expect(tracing.document, layer, active)
        except DocumentError as error:
            self._panel.notice.say(said(error))
            return
        self.look()
        tracing.use(layer)
        self._panel.notice.say(
            tr('"{name}" is a new hidden layer on top: show it to draw on it.', name=name)
        )

    def cancel(self) -> None:
        """Cancel what is shown: the oldest job without an answer."""
        if self._open:
            self._link.cancel(next(iter(self._open)))

    def cancel_all(self) -> None:
        # The newest first: else the next in the queue begins meanwhile.
        for job in tuple(self._open)[::-1]:
            self._link.cancel(job)

    def _again(self, painting: Painting) -> None:
        """Ask anew for the variants that did not arrive: each is the picture of its own seed."""
        request, asked = painting.request, painting.request.job
        missing = request.variants - self._arrivals.get(request.job, 0)
        request = replace(
            request,
            job=str(uuid.uuid4()),
            seed=request.seed_of(request.variants - missing),
            variants=missing,
        )
        self._send(replace(painting, request=request), asked)

    # Hearing from the server

    def _link_changed(self, link: LinkState) -> None:
        self._state = link
        self._panel.show_link(link)
        self._panel.notice.review()
        self._show_progress()

    def _limit(self, limits: m.Limits) -> None:
        self._limits = limits

    def _news(self) -> None:
        for event in self._link.take_news():
            if not isinstance(event, (m.Progress, m.Preview)) or event.job not in self._open:
                continue
            if isinstance(event, m.Progress):
                self._open[event.job] = event
                self._show_progress()
            elif event.job == next(iter(self._open)):
                self.preview.show(event, self._paintings.get(event.job))

    def _show_progress(self) -> None:
        self._panel.connection.show_owed({id: len(jobs) for id, jobs in self._asked.items()})
        self._panel.show_painting(bool(self._open))
        if not self._open:
            return
        job, progress = next(iter(self._open.items()))
        if not self._state.is_connected:
            words, done = tr("Goes on as soon as the server is back"), 0.0
            progress = None
        elif progress is None:
            words, done = tr("Sent"), 0.0
        else:
            painting = self._paintings.get(job)
            words = stage_words(progress, 1 if painting is None else painting.request.variants, tr)
            done = progress.done
        others = len(self._open) - 1
        if others:
            words = tr("{words}; {count} more wait", words=words, count=others)
        note = "" if progress is None else progress.note
        self._panel.progress.show_stage(words, done, note, others=others)

    def _arrived(self, result: m.Result) -> None:
        painting = self._paintings.get(result.job)
        self._arrivals[result.job] = self._arrivals.get(result.job, 0) + 1
        self.results.arrive(result, painting)
        if result.last:
            self._close(result.job)

    def _failed(self, error: m.Error) -> None:
        job = error.job or ""
        painting = self._paintings.get(job)
        self._tracings.pop(job, None)
        self._close(job)
        if error.code == "cancelled":
            self.results.expect_no_more(job)
            return
        if painting is None:
            self._panel.notice.say(tr(error.sentence))
        else:
            self._failures.say(tr(error.sentence), painting)

    def _close(self, job: str) -> None:
        for jobs in self._asked.values():
            jobs.pop(job, None)
        self.preview.end()
        self._show_progress()
