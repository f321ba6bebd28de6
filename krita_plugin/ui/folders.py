"""The button that brings in the models of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...protocol.discovery import read_model_folders, write_model_folders
from ...protocol.errors import LocalError
from ..qt import QtWidgets, Signal
from .parts import TOUCH
from .words import tr


class FolderButton(QtWidgets.QToolButton):
    """chosen(str): the painter chose this folder."""

    chosen = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("add_models")
        self.setText("+")
        self.setMinimumSize(TOUCH, TOUCH)
        self.setToolTip(
            tr("Use the models of a ComfyUI, an A1111 or any folder; they stay where they are")
        )
        self.clicked.connect(self._ask)

    def _ask(self) -> None:
        # Not exec: Krita defers its own signals while another event loop runs.
        dialog = QtWidgets.QFileDialog(self, tr("Folder with models"))
        dialog.setObjectName("models_folder")
        dialog.setFileMode(QtWidgets.QFileDialog.FileMode.Directory)
        dialog.setOption(QtWidgets.QFileDialog.Option.ShowDirsOnly, True)
        dialog.fileSelected.connect(self.chosen)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()


def use_folder(data: Path, path: str) -> str:
    """Have the server of this machine read ``path`` from now on; what to tell the painter."""
    try:
        write_model_folders(data, dict.fromkeys((*read_model_folders(data), Path(path))))
    except (LocalError, OSError):
        return tr("The folder could not be noted: see that Velatura's data folder can be written.")
    return tr("The folder's models appear in the list in a moment, if there are any.")
