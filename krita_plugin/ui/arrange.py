"""Where everything stands in the docker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..qt import Qt, QtWidgets
from .parts import SPACING, column

if TYPE_CHECKING:
    from .panel import Panel


def arrange(panel: Panel) -> QtWidgets.QScrollArea:
    """Put the panel's groups into one column; returns the part of it that scrolls.

    What comes and goes scrolls too, so that nothing outgrows a small docker; what waits for the
    painter's decision is the first of it.
    """
    options = QtWidgets.QWidget()
    below = column(options)
    for group in (
        panel.install,
        panel.strip,
        panel.notice,
        panel.progress.note,
        panel.progress.picture,
        panel.live.picture,
        panel.strip.look,
        panel.remarks,
        panel.borrowed,
        panel.live_options,
        panel.source,
        panel.area,
        panel.sent_row,
        panel.chance,
        panel.style_row,
        panel.model,
        panel.guide,
        panel.past,
    ):
        below.addWidget(group)
    below.addStretch(1)
    scroll = QtWidgets.QScrollArea()
    scroll.setObjectName("options")
    scroll.setWidget(options)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setMinimumSize(0, 60)
    lines = column(panel, margin=SPACING)
    for group in (
        panel.connection,
        panel.prompts,
        panel.recipe,
        panel.strength,
        panel.expand,
        panel.press,
        panel.progress,
        panel.live,
    ):
        lines.addWidget(group)
    lines.addWidget(scroll, 1)
    return scroll
