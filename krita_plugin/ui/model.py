"""Which model paints, and its steps, guidance and sampler."""

from __future__ import annotations

from typing import Any

from ...protocol.messages import DETAILS, MOST_CLIP_SKIP, MOST_STEPS, ModelInfo
from ...protocol.style import Style
from ..qt import QtWidgets, Signal
from ..state import Settings
from .folders import FolderButton
from .parts import Combo, Fold, column, label, real_spin, row, spin
from .words import tr

_DETAILS = {"auto": "Automatic", "fast": "Fast", "full": "Full"}


class ModelGroup(QtWidgets.QWidget):
    """changed: another model was chosen, or the server's catalogue brought one."""

    changed = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._models: dict[str, ModelInfo] = {}
        self._wanted = ""
        self.combo = Combo("model", tr("What paints (checkpoint)"))
        self.fold = Fold("advanced", tr("Advanced"))
        self.steps = spin(
            "steps", 1, MOST_STEPS, 20, "", tr("How often the picture is worked over (steps)")
        )
        self.guidance = real_spin(
            "guidance", 0, 50, 5, tr("How strictly the words are followed (guidance scale, CFG)")
        )
        self.sampler = Combo("sampler", tr("How the steps are taken (sampler)"))
        self.clip_skip = spin(
            "clip_skip", 1, MOST_CLIP_SKIP, 1, "",
            tr(
                "How far from its end the text encoder is read: 1 the last layer, 2 the last but "
                "one (clip skip)"
            ),
        )  # fmt: skip
        tip = tr(
            "How finely large areas are painted. Fast: once, at the size that the model paints best, "
            "then enlarged. Full: worked over again at their own size, which takes several times as "
            "long (two passes, hires fix). Automatic: full on a fast graphics card."
        )
        self.detail = Combo("detail", tip)
        self.detail.offer([(name, tr(_DETAILS[name])) for name in DETAILS])
        lines = column(self)
        self.folder = FolderButton()
        lines.addLayout(row(label(tr("Model")), self.combo, self.folder, stretch=1))
        lines.addWidget(self.fold)
        inner = column(self.fold.body)
        inner.addLayout(row(label(tr("Steps")), self.steps, stretch=1))
        inner.addLayout(row(label(tr("Guidance")), self.guidance, stretch=1))
        inner.addLayout(row(label(tr("Sampler")), self.sampler, stretch=1))
        inner.addLayout(row(label(tr("Clip skip")), self.clip_skip, stretch=1))
        inner.addLayout(row(label(tr("Detail"), tip), self.detail, stretch=1))
        self.detail.currentIndexChanged.connect(lambda index: self.changed.emit())
        self.combo.currentIndexChanged.connect(lambda index: self._use_defaults())

    @property
    def model(self) -> ModelInfo | None:
        return self._models.get(self.combo.currentData())

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        return tuple(self._models.values())

    def want(self, name: str) -> None:
        """Choose this model when the catalogue has it."""
        self._wanted = name
        self.combo.choose(name)

    def has(self, name: str) -> bool:
        return name in self._models

    def show_settings(self, settings: Settings) -> None:
        """The model and its numbers; None leaves a number at the model's own."""
        self.combo.choose(settings.model)
        self.detail.choose(settings.detail)
        self._show_numbers(settings)
        self.clip_skip.setValue(settings.clip_skip)

    def use_style(self, style: Style | None) -> None:
        """A style's model and numbers; what it leaves out, and all for None, is the model's own."""
        if style is not None and style.model is not None:
            self.combo.choose(style.model)
        self._use_defaults()
        if style is not None:
            self._show_numbers(style)

    def _show_numbers(self, numbers: Settings | Style) -> None:
        if numbers.steps is not None:
            self.steps.setValue(numbers.steps)
        if numbers.guidance is not None:
            self.guidance.setValue(numbers.guidance)
        if numbers.sampler is not None:
            self.sampler.choose(numbers.sampler)

    def offer(self, models: tuple[ModelInfo, ...]) -> None:
        before = self.model
        self._models = {model.name: model for model in models}
        self.combo.blockSignals(True)
        self.combo.offer([(model.name, model.name) for model in models])
        if before is None and self._wanted:
            self.combo.choose(self._wanted)
        self.combo.blockSignals(False)
        if self.model != before:
            self._use_defaults()

    def _use_defaults(self) -> None:
        model = self.model
        if model is not None:
            self.combo.setToolTip(model.words or model.name)
            self.steps.setValue(model.steps)
            self.guidance.setValue(model.guidance)
            self.sampler.offer([(name, name) for name in model.samplers])
            self.sampler.choose(model.sampler)
        self.changed.emit()
