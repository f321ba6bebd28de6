"""Control layers: layers whose lines, depths or poses the new picture follows."""

from __future__ import annotations

import contextlib
from typing import Any

from ...protocol.messages import MOST_CONTROLS
from ..qt import QtWidgets, Signal
from ..state import DERIVED, Guide
from .parts import Combo, Fold, column, label, row, spin, tool_button
from .words import tr

# Kind -> (painter's words, what the layer holds and the field's word), the most used first.
_KINDS = {
    "line": ("Line art", "Drawn lines, thin or thick (lineart)"),
    "scribble": ("Scribble", "A few rough strokes (scribble)"),
    "canny": ("Edges", "Hard edges, one pixel wide (canny)"),
    "soft_edge": ("Soft edges", "Edges that fade (softedge, HED)"),
    "straight": ("Straight lines", "The straight lines of buildings and rooms (MLSD)"),
    "depth": ("Depth", "Near is light, far is dark (depth)"),
    "normal": ("Surface normals", "Which way surfaces face (normal map)"),
    "pose": ("Pose", "Skeletons of figures (openpose)"),
    "segmentation": ("Areas by colour", "A colour for each kind of thing (segmentation, ADE20K)"),
    "tile": ("Colours and shapes", "A picture whose detail is painted anew (tile)"),
    "inpaint": ("Fits its surroundings", "The picture around what is filled (inpaint)"),
}


def kind_name(kind: str) -> str:
    """The painter's word for a control type."""
    return tr(_KINDS[kind][0]) if kind in _KINDS else kind


class GuideRow(QtWidgets.QFrame):
    """One guide. ``number`` ends the names of its widgets."""

    changed = Signal()
    traced = Signal()
    removed = Signal()

    def __init__(self, number: int, parent: Any = None) -> None:
        super().__init__(parent)
        self.number = number
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.on = QtWidgets.QCheckBox()
        self.on.setObjectName(f"guide_on_{number}")
        self.on.setChecked(True)
        self.on.setToolTip(tr("On: the picture follows this guide (enable control)"))
        self.kind = Combo(f"guide_kind_{number}", tr("What the layer shows (control type)"))
        self.layer = Combo(
            f"guide_layer_{number}",
            tr(
                "The layer to follow; it may be hidden, and it is not painted over (control image). "
                '"From the picture" traces it anew at every press.'
            ),
        )
        self.remove = tool_button(f"guide_remove_{number}", "\u2715", tr("Remove this guide"))
        self.trace = tool_button(
            f"guide_trace_{number}",
            tr("Trace"),
            tr("Make this guide from what is visible, as a new layer (annotator, preprocessor)"),
        )
        percent = " %"
        self.influence = spin(
            f"guide_influence_{number}", 0, 200, 100, percent, tr("How closely to follow (weight)")
        )
        self.start = spin(
            f"guide_from_{number}", 0, 99, 0, percent, tr("First part of the steps (start)")
        )
        self.until = spin(
            f"guide_until_{number}", 1, 100, 100, percent, tr("Last part of the steps (end)")
        )
        lines = column(self, margin=3)
        lines.addLayout(row(self.on, self.kind, self.trace, self.remove, stretch=1))
        lines.addLayout(row(label(tr("Layer")), self.layer, stretch=1))
        lines.addLayout(row(label(tr("Influence")), self.influence, stretch=1))
        first, then = QtWidgets.QLabel(tr("From")), QtWidgets.QLabel(tr("until"))
        lines.addLayout(row(first, self.start, then, self.until, stretch=1))
        self.start.valueChanged.connect(lambda value: self.until.setMinimum(value + 1))
        self.trace.clicked.connect(lambda checked=False: self.traced.emit())
        self.remove.clicked.connect(lambda checked=False: self.removed.emit())
        for signal in (self.on.toggled, self.kind.currentIndexChanged):
            signal.connect(lambda value: self.changed.emit())
        for box in (self.influence, self.start, self.until):
            box.valueChanged.connect(lambda value: self.changed.emit())
        self.layer.currentIndexChanged.connect(lambda index: self.changed.emit())

    @property
    def guide(self) -> Guide | None:
        """None while its layer is not in this picture."""
        kind, layer = self.kind.currentData(), self.layer.currentData()
        if not kind or not layer:
            return None
        return Guide(
            kind=kind,
            layer=layer,
            influence=self.influence.value(),
            start=self.start.value(),
            end=self.until.value(),
            on=self.on.isChecked(),
        )

    def follow(self, layer: str) -> None:
        """Take this layer of the picture, if the guide was not removed meanwhile."""
        # PyQt's own answer to a widget that was deleted.
        with contextlib.suppress(RuntimeError):
            self.layer.choose(layer)

    def show_guide(self, guide: Guide) -> None:
        self.on.setChecked(guide.on)
        self.kind.choose(guide.kind)
        self.layer.choose(guide.layer)
        self.influence.setValue(guide.influence)
        self.until.setMinimum(guide.start + 1)
        self.start.setValue(guide.start)
        self.until.setValue(guide.end)


class GuideGroup(Fold):
    """changed: which layers guide. traced(row): make that row's map from the picture."""

    changed = Signal()
    traced = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__("guide", tr("Guides"), parent)
        self.rows: list[GuideRow] = []
        self._kinds: list[tuple[str, str]] = []
        self._can_guide = False
        self._barred: dict[str, str] = {}
        self._tips: dict[str, str] = {}
        self._layers: list[tuple[str, str]] = []
        self.add = tool_button(
            "guide_add", tr("Add guide"), tr("Follow one more layer (ControlNet)")
        )
        lines = column(self.body)
        self._lines = column()
        lines.addLayout(self._lines)
        lines.addWidget(self.add)
        self.add.clicked.connect(lambda checked=False: self.add_row())
        self.offer_kinds("", ())

    def add_row(self, guide: Guide | None = None) -> GuideRow:
        taken = {line.number for line in self.rows}
        line = GuideRow(next(n for n in range(1, len(taken) + 2) if n not in taken))
        line.kind.offer(self._kinds, self._barred, self._tips)
        line.layer.offer(self._offered(None if guide is None else guide.layer))
        if guide is not None:
            line.show_guide(guide)
        elif len(self._layers) == 1:
            line.layer.choose(DERIVED)  # as a guide it would be no part of the picture any more
        line.changed.connect(self.changed)
        line.traced.connect(lambda: self.traced.emit(line))
        line.removed.connect(lambda: self._remove(line))
        self.rows.append(line)
        self._lines.addWidget(line)
        self._show_number()
        return line

    def show_guides(self, guides: tuple[Guide, ...]) -> None:
        """Replace the rows."""
        for line in list(self.rows):
            self._remove(line)
        for guide in guides:
            self.add_row(guide)
        if guides:
            self.head.setChecked(True)

    def offer_kinds(self, model: str, kinds: tuple[str, ...]) -> None:
        """The control types of the model; the others are there too, and say why not.

        A guide does not change its type with the model.
        """
        why = tr('"{model}" has no ControlNet for this.', model=model)
        self._can_guide = bool(kinds)
        self._kinds = [
            (kind, name if kind in kinds else tr("{kind} (not this model)", kind=name))
            for kind, name in ((kind, kind_name(kind)) for kind in _KINDS)
        ]
        self._tips = {kind: tr(tip) for kind, (_, tip) in _KINDS.items()}
        self._barred = {kind: why for kind in _KINDS if kind not in kinds}
        for line in self.rows:
            line.kind.offer(self._kinds, self._barred, self._tips)
        self._show_number()
        self.head.setToolTip(
            tr("Let the picture follow layers (ControlNet)")
            if kinds
            else tr("This model has no guides (ControlNets).")
        )

    def offer_layers(self, layers: list[tuple[str, str]]) -> None:
        self._layers = layers
        for line in self.rows:
            line.layer.offer(self._offered(line.layer.currentData()))

    @property
    def guides(self) -> tuple[Guide, ...]:
        found = [line.guide for line in self.rows]
        return tuple(guide for guide in found if guide is not None)

    def _offered(self, chosen: str | None) -> list[tuple[str, str]]:
        """The picture's layers, and what is derived from it at each press.

        A guide never changes to another layer by itself: where its own is gone it says so, and
        returns with it.
        """
        layers = [*self._layers, (DERIVED, tr("(from the picture)"))]
        if not chosen or any(layer == chosen for layer, _ in layers):
            return layers
        return [(chosen, tr("(not in this picture)")), *layers]

    def _remove(self, line: GuideRow) -> None:
        self.rows.remove(line)
        self._lines.removeWidget(line)
        line.setParent(None)  # its number is free at once
        line.deleteLater()
        self._show_number()

    def _show_number(self) -> None:
        self.add.setEnabled(self._can_guide and len(self.rows) < MOST_CONTROLS)
        # Guides that the model cannot follow can still be switched off.
        self.head.setEnabled(self._can_guide or bool(self.rows))
        self.head.setText(
            tr("Guides ({count})", count=len(self.rows)) if self.rows else tr("Guides")
        )
        self.changed.emit()
