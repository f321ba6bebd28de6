"""The one door to Qt: PyQt5 in Krita 5, PyQt6 in Krita 6.

Write every enum with its scope (``Qt.AlignmentFlag.AlignLeft``, ``QImage.Format.Format_RGBA8888``):
PyQt6 knows no other spelling and PyQt5 understands it too. ``QAction``, ``QActionGroup`` and
``QShortcut`` moved between modules: import them from here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping

__all__ = [
    "QT_MAJOR",
    "QAction",
    "QActionGroup",
    "QShortcut",
    "Qt",
    "QtCore",
    "QtGui",
    "QtNetwork",
    "QtWidgets",
    "Signal",
    "Slot",
]

# Krita's own module loads the binding that Krita was built with. Asking for the other one is refused
# by Krita 6 and can crash Krita 5. Outside Krita, as in the widget tests, there is no such module.
with contextlib.suppress(ImportError):
    from krita import Krita as _Krita  # noqa: F401


def choose(loaded: Mapping[str, object], environ: Mapping[str, str]) -> int:
    """5 or 6: the binding already loaded, else VELATURA_QT, else whichever is installed.

    Raises ImportError when VELATURA_QT is neither 5 nor 6, or no PyQt is installed.
    """
    for major in (5, 6):
        if f"PyQt{major}.QtCore" in loaded:
            return major
    wanted = environ.get("VELATURA_QT")
    if wanted is not None:
        if wanted not in ("5", "6"):
            raise ImportError(f"VELATURA_QT must be 5 or 6, not {wanted!r}.")
        return int(wanted)
    for major in (5, 6):
        if importlib.util.find_spec(f"PyQt{major}") is not None:
            return major
    raise ImportError("Velatura needs PyQt: on Debian and Ubuntu, install python3-pyqt5.")


QT_MAJOR = choose(sys.modules, os.environ)
QtCore = importlib.import_module(f"PyQt{QT_MAJOR}.QtCore")
QtGui = importlib.import_module(f"PyQt{QT_MAJOR}.QtGui")
QtWidgets = importlib.import_module(f"PyQt{QT_MAJOR}.QtWidgets")
QtNetwork = importlib.import_module(f"PyQt{QT_MAJOR}.QtNetwork")

Qt = QtCore.Qt
Signal = QtCore.pyqtSignal
Slot = QtCore.pyqtSlot
_actions = QtGui if QT_MAJOR == 6 else QtWidgets
QAction = _actions.QAction
QActionGroup = _actions.QActionGroup
QShortcut = _actions.QShortcut
