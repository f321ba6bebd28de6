"""Every string that a painter reads goes through ``tr``."""

from __future__ import annotations

from ..qt import QtCore


def tr(text: str, **values: object) -> str:
    """``text`` in the painter's language, with {names} filled in."""
    translated = str(QtCore.QCoreApplication.translate("velatura", text))
    return translated.format(**values) if values else translated
