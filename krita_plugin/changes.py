"""What Krita tells of changes: it has no signal for them, but its own dockers do."""

from __future__ import annotations

from typing import Any

from krita import Krita

from .qt import QtCore, QtWidgets, Signal

# The History's model is reset by every undoable operation; the Layers' changes when a layer is shown,
# hidden, faded or moved, of which the History need not hear.
_HISTORY, _LAYERS = "History", "KisLayerBox"


class Changes(QtCore.QObject):
    """happened: the picture may be another one. Between ``start`` and ``stop`` only."""

    happened = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._signals: list[Any] = []

    def start(self) -> None:
        self.stop()
        for docker in Krita.instance().dockers():
            if docker.objectName() not in (_HISTORY, _LAYERS):
                continue
            for view in docker.findChildren(QtWidgets.QAbstractItemView):
                model = view.model()
                if model is None:
                    continue
                if docker.objectName() == _HISTORY:
                    self._signals.append(model.modelReset)
                else:
                    self._signals += [
                        model.dataChanged,
                        model.rowsInserted,
                        model.rowsRemoved,
                        model.rowsMoved,
                        model.layoutChanged,
                        model.modelReset,
                    ]
        for signal in self._signals:
            signal.connect(self._happened)

    def stop(self) -> None:
        for signal in self._signals:
            signal.disconnect(self._happened)
        self._signals.clear()

    def _happened(self, *_: Any) -> None:
        self.happened.emit()
