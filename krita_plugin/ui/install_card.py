"""The card that installs this computer's server: what it will do, how far it is, what went wrong."""

from __future__ import annotations

from typing import Any

from ..install import view
from ..install.installed import KEPT
from ..install.installer import Progress
from ..install.view import CardView
from ..qt import QtWidgets, Signal
from .parts import TOUCH, Combo, ElidedButton, WrappedLabel, column, row, tool_button
from .words import tr

_KEPT_WORDS = {
    "models": "Keep models",
    "styles": "Keep styles",
    "results": "Keep results",
    "settings": "Keep settings",
}


class InstallCard(QtWidgets.QFrame):
    """pressed: do what the button says. cancelled: stop. dismissed: not now. folder_wanted: the
    painter wants another folder. device_chosen(id). log_wanted: show the log."""

    pressed = Signal()
    cancelled = Signal()
    dismissed = Signal()
    folder_wanted = Signal()
    device_chosen = Signal(str)
    log_wanted = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("install_card")
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.sentence = WrappedLabel("install_sentence")
        self.device = Combo("install_device", tr("What paints"))
        self.folder = ElidedButton("install_folder")
        self.kept = {name: QtWidgets.QCheckBox(tr(_KEPT_WORDS[name])) for name in KEPT}
        self.bar = QtWidgets.QProgressBar()
        self.bar.setObjectName("install_progress")
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.words = WrappedLabel("install_words")
        self.trouble = WrappedLabel("install_trouble")
        self.button = QtWidgets.QPushButton()
        self.button.setObjectName("install")
        self.button.setMinimumHeight(TOUCH)
        self.cancel = tool_button("install_cancel", tr("Cancel"), tr("What has arrived stays"))
        self.later = tool_button("install_later", tr("Not now"), tr("Ask again next time"))
        self.log = tool_button("install_log", tr("Log"), tr("What was done; it holds no secrets"))
        lines = column(self, margin=4)
        for widget in (self.sentence, self.trouble, self.device, self.folder):
            lines.addWidget(widget)
        for name, box in self.kept.items():
            box.setObjectName(f"keep_{name}")
            box.setChecked(True)
            lines.addWidget(box)
        lines.addWidget(self.bar)
        lines.addWidget(self.words)
        buttons = row(self.button, self.cancel, self.later, self.log)
        buttons.addStretch(1)
        lines.addLayout(buttons)
        self.button.clicked.connect(lambda checked=False: self.pressed.emit())
        self.cancel.clicked.connect(lambda checked=False: self.cancelled.emit())
        self.later.clicked.connect(lambda checked=False: self.dismissed.emit())
        self.log.clicked.connect(lambda checked=False: self.log_wanted.emit())
        self.folder.clicked.connect(lambda checked=False: self.folder_wanted.emit())
        self.device.activated.connect(
            lambda index: self.device_chosen.emit(str(self.device.itemData(index)))
        )
        self.show_view(CardView(view.NOTHING))

    @property
    def keeps(self) -> tuple[str, ...]:
        """What shall stay when the server is removed."""
        return tuple(name for name, box in self.kept.items() if box.isChecked())

    def show_view(self, shown: CardView) -> None:
        kind = shown.kind
        asks = kind in (view.OFFER, view.UPDATE, view.REPAIR)
        self.sentence.setText(tr(shown.sentence))
        self.trouble.setText(tr(shown.trouble))
        self.trouble.setVisible(bool(shown.trouble))
        self.device.setVisible(asks)
        self.folder.setVisible(kind == view.OFFER)
        if asks:
            self.device.offer([(device, tr(label)) for device, label in shown.devices])
            self.device.choose(shown.device)
            self.folder.setText(shown.folder)
            self.folder.setToolTip(tr("{folder}: tap to choose another", folder=shown.folder))
        for box in self.kept.values():
            box.setVisible(kind == view.REMOVE)
        for widget in (self.bar, self.words, self.cancel):
            widget.setVisible(kind == view.RUNNING)
        self.button.setText(tr(shown.button))
        self.button.setVisible(asks or kind == view.REMOVE)
        self.later.setVisible(kind in (view.UPDATE, view.REPAIR, view.REMOVE))
        self.log.setVisible(bool(shown.trouble) and kind != view.REFUSED)
        self.setVisible(kind != view.NOTHING)

    def show_progress(self, progress: Progress) -> None:
        self.bar.setValue(round(view.part_done(progress) * 1000))
        self.words.setText(view.progress_words(progress))


def choose_folder(parent: Any, before: str) -> str:
    """Ask for a folder; "" when the painter thinks better of it."""
    return str(
        QtWidgets.QFileDialog.getExistingDirectory(parent, tr("A folder for the server"), before)
    )
