"""The docker's widgets in one column, and what they say together. Knows no Krita and no server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...protocol.errors import LocalError
from ...protocol.messages import AddOnInfo, ModelInfo
from ...protocol.style import Style
from .. import capture
from ..canvas import Canvas, enlarged, suits_layer, what_to_do
from ..desk import Desk
from ..qt import Qt, QtCore, QtGui, QtWidgets, Signal
from ..state import (
    ACTIONS,
    AUTOMATIC,
    FIRST_STRENGTHS,
    LAYER,
    MOST_PROMPTS,
    VISIBLE,
    LinkState,
    Memory,
    Settings,
    action_at,
    automatic_variants,
)
from .area import AreaGroup
from .arrange import arrange
from .borrowed import BorrowedRow
from .chance import ChanceRow
from .connection import ConnectionRow
from .expand import ExpandRow
from .guide import GuideGroup
from .install_card import InstallCard
from .live import LiveOptions, LiveRow
from .model import ModelGroup
from .notice import Notice
from .past import PastGroup
from .press import PressRow
from .progress import ProgressGroup
from .prompt import PromptGroup
from .recipe import RecipeRow
from .remarks import Remarks
from .sent import SentRow
from .source import SourceRow
from .strength import StrengthRow
from .strip import Strip
from .style import StyleRow
from .words import said


class Panel(QtWidgets.QWidget):
    """Signals are the painter's wishes; methods show what has become of them.

    pressed: paint ``action`` with ``settings``. entered: the pen came into the docker.
    remembered: ``memory`` changed. desk_changed: ``desk`` may have. left: the canvas is where the
    painter goes on.
    escaped: the picture so far should leave the canvas; the painting goes on.
    """

    pressed = Signal()
    cancelled = Signal()
    entered = Signal()
    remembered = Signal()
    desk_changed = Signal()
    left = Signal()
    escaped = Signal()

    def __init__(self, memory: Memory | None = None, parent: Any = None) -> None:
        super().__init__(parent)
        self.memory = memory or Memory(FIRST_STRENGTHS)
        self.is_painting = False
        self._most_prompts = MOST_PROMPTS
        self._choice = ""
        self._selection_action = "fill"
        self._canvas: Canvas | None = None
        self._device = ""
        self._addons: tuple[AddOnInfo, ...] = ()
        self.connection = ConnectionRow()
        self.install = InstallCard()
        self.prompts = PromptGroup()
        self.recipe = RecipeRow()
        self.borrowed = BorrowedRow()
        self.strength = StrengthRow()
        self.expand = ExpandRow()
        self.press = PressRow()
        self.remarks = Remarks()
        self.progress = ProgressGroup()
        self.notice = Notice()
        self.strip = Strip()
        self.past = PastGroup()
        self.source = SourceRow()
        self.area = AreaGroup()
        self.sent_row = SentRow()
        self.plan: capture.Plan | None = None  # what a press would send
        self.in_the_way = ""  # why there is none: said at the press
        self.chance = ChanceRow()
        self.guide = GuideGroup()
        self.live = LiveRow()
        self.live_options = LiveOptions()
        self.style_row = StyleRow()
        self.model = ModelGroup()
        self._scroll = arrange(self)
        self.prompts.show_past(self.memory.prompts)
        self.source.combo.choose(self.memory.paint_from)
        self.chance.variants.setValue(self.memory.variants)
        self.model.want(self.memory.model)
        self.style_row.want(self.memory.style)
        self._connect()
        self._show_action()

    def _connect(self) -> None:
        self.prompts.submitted.connect(self.pressed)
        self.prompts.left.connect(self.left)
        self.strip.came.connect(lambda: self._scroll_to(self.strip))
        self.notice.said.connect(lambda sentence: self._scroll_to(self.notice))
        for changed in (self.prompts.changed, self.guide.changed, self.source.changed):
            changed.connect(self.desk_changed)
        self.press.pressed.connect(self.pressed)
        self.press.cancelled.connect(self.cancelled)
        self.press.chosen.connect(self._choose)
        self.strength.changed.connect(self._strength_moved)
        self.model.changed.connect(self._model_changed)
        self.style_row.chosen.connect(self._style_chosen)
        self.source.changed.connect(self._remember)
        self.source.changed.connect(self._show_action)
        for changed in (self.area.changed, self.expand.changed):
            changed.connect(self._show_area)
        self.chance.changed.connect(self._remember)
        self.borrowed.returned.connect(self.give_back)

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(200, super().minimumSizeHint().height())

    def keyPressEvent(self, event: Any) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        else:
            super().keyPressEvent(event)

    def enterEvent(self, event: Any) -> None:
        super().enterEvent(event)
        self.entered.emit()

    # What the painter wants

    @property
    def action(self) -> str:
        """What a press does now (a key of ACTIONS)."""
        if self._choice:
            return self._choice
        natural = "generate" if self._canvas is None else what_to_do(self._canvas)
        return self._selection_action if natural == "fill" else natural

    @property
    def settings(self) -> Settings:
        model = self.model.model
        return Settings(
            prompt=self.prompts.prompt.toPlainText().strip(),
            negative=self.prompts.avoid.toPlainText().strip(),
            strength=self.strength.percent,
            paint_from=self._paint_from,
            guides=self.guide.guides,
            leave_out=self.source.left_out,
            context=self.area.context.currentData(),
            soft_edge=self.area.soft_edge,
            keep_outline=self.area.outline.isChecked(),
            variants=self.chance.count,
            seed=self.chance.locked_seed,
            model="" if model is None else model.name,
            steps=self.model.steps.value(),
            guidance=self.model.guidance.value(),
            sampler=self.model.sampler.currentData(),
            clip_skip=self.model.clip_skip.value(),
            detail=self.model.detail.currentData(),
            style=self.style_row.style,
        )

    @property
    def _paint_from(self) -> str:
        chosen = str(self.source.combo.currentData())
        return self._automatic_source if chosen == AUTOMATIC else chosen

    @property
    def _automatic_source(self) -> str:
        canvas = self._canvas
        return LAYER if canvas is not None and suits_layer(canvas, self.action) else VISIBLE

    @property
    def _layer_meant(self) -> str:
        """The name of the layer that alone is painted over; "" where there is none."""
        layer = None if self._canvas is None else self._canvas.layer
        return layer.name if layer is not None and self._paint_from == LAYER else ""

    @property
    def desk(self) -> Desk:
        """What belongs to the picture."""
        return Desk(
            prompt=self.prompts.prompt.toPlainText(),
            negative=self.prompts.avoid.toPlainText(),
            guides=self.guide.guides,
            leave_out=self.source.wanted_out,
        )

    # What is so

    def show_desk(self, desk: Desk) -> None:
        """Another picture, or none, is open now."""
        self.prompts.prompt.setPlainText(desk.prompt)
        self.prompts.avoid.setPlainText(desk.negative)
        self.guide.show_guides(desk.guides)
        self.source.leave(desk.leave_out)

    def sent(self, settings: Settings, seed: int) -> None:
        """A press is on its way: what can be used again is kept, and the canvas gets the keys."""
        self.chance.show_seed(seed)
        self.memory = self.memory.with_prompt(settings.prompt, self._most_prompts)
        self.prompts.show_past(self.memory.prompts)
        self.remembered.emit()
        self.left.emit()

    def limit_prompts(self, most: int) -> None:
        """Remember no more than so many prompts, from now on."""
        self._most_prompts = most
        if len(self.memory.prompts) > most:
            self.memory = replace(self.memory, prompts=self.memory.prompts[:most])
            self.prompts.show_past(self.memory.prompts)
            self.remembered.emit()

    def set_strength(self, action: str, percent: int) -> None:
        self.memory = self.memory.with_strength(action, percent)
        self._show_action()
        self.remembered.emit()

    def show_link(self, link: LinkState) -> None:
        self.connection.show_state(link)
        if link.device:
            self._device = link.device
            self._show_action()

    def show_models(self, models: tuple[ModelInfo, ...]) -> None:
        self.model.offer(models)

    def show_addons(self, addons: tuple[AddOnInfo, ...]) -> None:
        self._addons = addons
        self._offer_addons()

    def show_styles(self, styles: tuple[Style, ...]) -> None:
        self.style_row.offer(styles)

    def show_canvas(self, canvas: Canvas | None, layers: list[tuple[str, str]]) -> None:
        """layers: (id, name) of those that hold a picture, topmost first."""
        before = None if self._canvas is None else what_to_do(self._canvas)
        if canvas is None or self._canvas is None or canvas.size != self._canvas.size:
            self.expand.clear()
        self._canvas = canvas
        if canvas is None or before != what_to_do(canvas):
            self._choice = ""  # another canvas asks another question
        self.guide.offer_layers(layers)
        self.source.offer_layers(layers)
        self._show_action()

    def show_recipe(self, action: str, settings: Settings) -> None:
        """Fill every field as it was for an earlier picture, until another one is open."""
        self.borrowed.keep_own(self)
        self.prompts.prompt.setPlainText(settings.prompt)
        self.prompts.avoid.setPlainText(settings.negative)
        self.source.combo.choose(settings.paint_from)
        self.source.leave(settings.leave_out)
        self.area.choose(settings.context, settings.soft_edge, settings.keep_outline)
        self.chance.variants.setValue(settings.variants)
        if settings.seed is not None:
            self.chance.show_seed(settings.seed)
            self.chance.lock.setChecked(True)
        self.style_row.show_style(settings.style)
        self.model.show_settings(settings)
        self.guide.show_guides(settings.guides)
        self.memory = self.memory.with_strength(action, settings.strength)
        self._choice = action
        if action in ("fill", "refine_selection"):
            self._selection_action = action
        self._show_action()
        self.borrowed.show_borrowed(self)

    @property
    def habits(self) -> Memory:
        """The memory without what a recipe set."""
        own = self.borrowed.own
        return self.memory if own is None else replace(own.memory, prompts=self.memory.prompts)

    def give_back(self) -> None:
        """The fields are the painter's own again, not a recipe's."""
        memory = self.borrowed.give_back(self)
        if memory is None:
            return
        self.memory = replace(memory, prompts=self.memory.prompts)
        self._choice = ""
        self._selection_action = "fill"
        self._show_action()
        self.remembered.emit()

    def show_painting(self, is_painting: bool) -> None:
        self.is_painting = is_painting
        self.press.cancel.setVisible(is_painting)
        if not is_painting:
            self.progress.hide_all()

    def show_preview(self, image: QtGui.QImage) -> None:
        self.progress.picture.show_image(image)

    # Inside

    def _scroll_to(self, group: QtWidgets.QWidget) -> None:
        # Shown just now: it has its place only after the layout.
        QtCore.QTimer.singleShot(0, lambda: self._scroll.ensureWidgetVisible(group, 0, 0))

    def _choose(self, action: str) -> None:
        self._choice = action
        self._show_action()

    def _strength_moved(self, percent: int) -> None:
        action = action_at(self.action, percent)
        if action in ("fill", "refine_selection"):
            self._selection_action = action
            if self._choice:
                self._choice = action
        self.set_strength(action, percent)

    def _model_changed(self) -> None:
        model = self.model.model
        name, kinds = ("", ()) if model is None else (model.name, model.controls)
        self.guide.offer_kinds(name, kinds)
        self._offer_addons()
        self._show_area()
        self._remember()

    def _offer_addons(self) -> None:
        model = self.model.model
        self.prompts.add.offer(self._addons, 0 if model is None else model.text_width)

    def _style_chosen(self) -> None:
        """The style's numbers, else the model's own; from here on they are the painter's."""
        self.model.use_style(self.style_row.style)
        self._remember()

    def _remember(self) -> None:
        if self.borrowed.own is not None:
            self.borrowed.show_borrowed(self)
            return  # a recipe's are not the painter's habits
        model, style = self.model.model, self.style_row.style
        self.memory = replace(
            self.memory,
            paint_from=self.source.combo.currentData(),
            variants=self.chance.variants.value(),
            model=self.memory.model if model is None else model.name,
            style="" if style is None else style.name,
        )
        self.remembered.emit()

    def _show_action(self) -> None:
        action, canvas = self.action, self._canvas
        self.press.show_action(action, self._layer_meant)
        self.press.show_choice(
            self._choice, selection=canvas is not None and canvas.selection is not None
        )
        self.expand.setVisible(action == "expand")
        takes = ACTIONS[action].takes_strength
        self.strength.setEnabled(takes)
        self.strength.show_percent(self.memory.strengths[action] if takes else 100)
        self.source.show_automatic(self._automatic_source)
        self.chance.show_automatic(automatic_variants(action, self._device))
        self._show_area()

    def _show_area(self) -> None:
        canvas, model, settings = self._canvas, self.model.model, self.settings
        selection = None if canvas is None else canvas.selection
        self.area.show_soft_edge(None if selection is None else capture.soft_edge(selection))
        self.area.edge.setEnabled(selection is not None)
        self.area.outline.setEnabled(settings.paint_from == LAYER and self.action != "fill")
        times = at_best = 1.0
        self.plan, self.in_the_way = None, ""
        if canvas is not None and model is not None:
            try:
                if self.action == "expand":
                    canvas = enlarged(canvas, self.expand.chosen)
                self.plan = plan = capture.plan(
                    canvas, self.action, settings, model, most_pixels=2**40
                )
                times = capture.enlargement(plan, settings, model)
                at_best = capture.enlargement(plan, replace(settings, detail="full"), model)
            except (capture.CaptureError, LocalError) as error:
                self.in_the_way = said(error)
        self.notice.review()
        self.remarks.show_enlargement(times, at_best)
        self.remarks.show_canvas(self._canvas)
        self.sent_row.refresh()
