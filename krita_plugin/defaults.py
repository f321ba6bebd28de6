"""What a docker begins with, and goes back to when the painter says so."""

from __future__ import annotations

from collections.abc import Iterable

from .preferences import Preferences
from .ui.panel import Panel


def use(panel: Panel, preferences: Preferences, names: Iterable[str]) -> None:
    """Set these fields of the docker (some of preferences.DEFAULTS) to their first values."""
    for name in names:
        value = getattr(preferences, name)
        if name == "variants":
            panel.chance.variants.setValue(value)
        elif name == "soft_edge":
            panel.area.show_edge(value)
        elif name == "paint_from":
            panel.source.combo.choose(value)
        else:
            panel.set_strength(name, value)
