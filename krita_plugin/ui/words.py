"""Every string that a painter reads goes through ``tr``."""

from __future__ import annotations

from ...protocol.sentences import Sentence
from ..qt import QtCore


def tr(text: str, **values: object) -> str:
    """``text`` in the painter's language, with {names} filled in."""
    if isinstance(text, Sentence):
        return text.translated(tr)
    translated = str(QtCore.QCoreApplication.translate("velatura", text))
    return translated.format(**values) if values else translated


def said(error: Exception) -> str:
    """The sentence of an error of ours, in the painter's language. (str() forgets its template.)"""
    return tr(error.args[0])
