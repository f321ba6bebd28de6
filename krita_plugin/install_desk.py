"""Between the card and the installer: looks, installs and removes on threads of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..protocol.discovery import read_running
from ..protocol.errors import LocalError
from . import state
from .install import settings as stored
from .install import view
from .install.installed import Installed, go_back, uninstall, used
from .install.installer import LOG, Installer, Progress
from .install.machine import Machine, this_machine
from .install.plan import Plan, make_plan
from .install.release import Release, payload_folder, read_release
from .install.settings import InstallSettings
from .install.troubles import Cancelled, Trouble
from .install.view import CardView
from .line import STARTING
from .qt import QtCore, QtGui, Signal
from .state import LinkState
from .ui.install_card import InstallCard, choose_folder
from .ui.words import tr

# How long the server may take to end, in seconds.
_STOP_LIMIT = 20.0
# What an installer that is cancelled because Krita ends may take, in seconds.
_END_LIMIT = 3.0


class InstallDesk(QtCore.QObject):
    """start_wanted: let this computer's server start. said(sentence): something is done.
    startable: whether there is one that could start. slowness(words): how long it takes without a
    graphics card, "" with one.

    Nothing here holds the GUI thread: a driver's program that tells the card may take seconds.
    """

    start_wanted = Signal()
    said = Signal(str)
    startable = Signal(bool)
    slowness = Signal(str)
    _planned = Signal(object, object)  # Machine, Plan or Trouble
    _came = Signal(object)  # Progress
    _ended = Signal(object)  # Installed, Trouble, or None when cancelled
    _removed = Signal(object)  # what could not be removed

    def __init__(
        self,
        card: InstallCard,
        data: Path,
        payload: Path | None = None,
        parent: Any = None,
    ) -> None:
        super().__init__(parent)
        self._card, self._data = card, data
        self._payload = payload or payload_folder()
        self._release: Release | None = read_release(self._payload)
        self._settings = InstallSettings()
        self._machine: Machine | None = None
        self._plan: Plan | None = None
        self._kind = view.NOTHING
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._is_here = True
        self._is_new = self._starts = False  # just installed; and being started for the first time
        self._was_removed = False
        self._trouble = ""
        card.pressed.connect(self._press)
        card.cancelled.connect(self._cancel.set)
        card.dismissed.connect(self._dismiss)
        card.folder_wanted.connect(self._choose_folder)
        card.device_chosen.connect(lambda device: self._change(device=device))
        card.log_wanted.connect(self._show_log)
        self._planned.connect(self._show_plan)
        self._came.connect(card.show_progress)
        self._ended.connect(self._finish)
        self._removed.connect(self._is_removed)
        self._look()

    @property
    def home(self) -> Path:
        return Path(self._settings.folder) if self._settings.folder else self._data / "server"

    @property
    def can_manage(self) -> bool:
        """True when the server that starts here was installed by us, and nothing is under way."""
        return (
            self._release is not None
            and not self._is_busy
            and used(self._data, self.home) is not None
        )

    @property
    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    # What the painter wants

    def repair(self) -> None:
        """Offer to make the server anew."""
        self._kind = view.REPAIR
        self._plan_anew()

    def ask_removal(self) -> None:
        """Ask what shall stay when the server goes."""
        self._kind = view.REMOVE
        self._card.show_view(
            CardView(view.REMOVE, "The server and its libraries are removed from this computer.")
        )

    def follow(self, is_here: bool) -> None:
        """is_here: this computer's server is the chosen one."""
        self._is_here = is_here
        self._card.setVisible(self._kind != view.NOTHING and (is_here or self._is_busy))
        self.startable.emit(self._kind not in (view.OFFER, view.REFUSED))
        now = used(self._data, self.home)
        self.slowness.emit("" if now is None else view.ready_words(now.receipt))

    def end(self) -> None:
        """Krita ends: what is under way stops, and goes on next time."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join(_END_LIMIT)

    def link_changed(self, link: LinkState) -> None:
        """A server that was just installed and does not start gives way to the one before."""
        if self._is_new and link == STARTING:
            self._is_new, self._starts = False, True
        if not self._starts or link.kind not in (state.NO_SERVER, state.READY):
            return
        self._starts = False
        if link.kind == state.NO_SERVER:
            with suppress(Trouble):
                if go_back(self._data, self.home) is not None:
                    self.said.emit(
                        tr("The new server did not start: the one before is used again.")
                    )
                    self.start_wanted.emit()

    # The look

    def _look(self) -> None:
        if self._release is None:
            return
        try:
            self._settings = stored.load(self._data)
        except LocalError as error:
            self._refuse(error.message)
            return
        self._kind = view.situation(self._data, self.home, self._release)
        if self._kind != view.NOTHING:
            self._plan_anew()

    def _plan_anew(self, trouble: str = "") -> None:
        """Find the device and what it takes, elsewhere; the card appears when it is known."""
        release, settings = self._release, self._settings
        if release is None:
            return
        self._trouble = trouble

        def look() -> None:
            machine = self._machine or this_machine()
            try:
                found: object = make_plan(machine, self._payload, release, self._data, settings)
            except Trouble as refused:
                found = refused
            self._tell(self._planned, machine, found)

        threading.Thread(target=look, name="velatura-look", daemon=True).start()

    def _show_plan(self, machine: Machine, found: object) -> None:
        self._machine = machine
        if isinstance(found, Trouble):
            self._refuse(found.sentence)
        elif isinstance(found, Plan):
            self._plan = found
            self._card.show_view(view.offer(self._kind, found, machine, self._trouble))
            self.follow(self._is_here)
            is_due = self._kind in (view.OFFER, view.UPDATE) and not self._trouble
            is_due = is_due and not self._was_removed  # by the painter, a moment ago
            if self._settings.unattended and is_due and not self._is_busy:
                self._install(found)

    def _refuse(self, sentence: str) -> None:
        self._kind = view.REFUSED
        self._card.show_view(CardView(view.REFUSED, sentence))
        self.follow(self._is_here)

    def _change(self, **changes: Any) -> None:
        self._settings = replace(self._settings, **changes)
        self._plan_anew()

    def _choose_folder(self) -> None:
        folder = choose_folder(self._card.window(), str(self.home.parent))
        if folder:
            self._change(folder=folder)

    def _dismiss(self) -> None:
        self._kind = view.NOTHING
        self._card.show_view(CardView(view.NOTHING))
        self.follow(self._is_here)

    def _show_log(self) -> None:
        home = self._plan.home if self._plan else self.home
        QtGui.QDesktopServices.openUrl(QtCore.QUrl.fromLocalFile(str(home / LOG)))

    # The work

    def _press(self) -> None:
        if self._is_busy:
            return
        if self._kind == view.REMOVE:
            keep, home = self._card.keeps, self.home
            self._dismiss()
            self._work(lambda: self._remove(home, keep))
        elif self._plan is not None:
            self._install(self._plan)

    def _install(self, plan: Plan) -> None:
        self._cancel.clear()
        self._keep_settings()
        self._card.show_view(
            CardView(view.RUNNING, view.offer(self._kind, plan, self._here).sentence)
        )
        self._card.show_progress(Progress(0))
        self._work(lambda: self._run(plan))

    @property
    def _here(self) -> Machine:
        assert self._machine is not None  # a plan was made with it
        return self._machine

    def _work(self, task: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=task, name="velatura-install", daemon=True)
        self._thread.start()

    def _run(self, plan: Plan) -> None:
        try:
            installer = Installer(
                plan,
                self._data,
                lambda progress: self._tell(self._came, progress),
                is_cancelled=self._cancel.is_set,
            )
            new = installer.install()
            stop_server(self._data)
            self._tell(self._ended, new)
        except Trouble as trouble:
            self._tell(self._ended, trouble)
        except Cancelled:
            self._tell(self._ended, None)
        except Exception as error:  # noqa: BLE001  a thread that dies silently leaves a bar for ever
            self._tell(self._ended, Trouble("unknown", f"The installer failed: {error!r}."))

    @staticmethod
    def _tell(signal: Any, *values: object) -> None:
        """To the GUI thread; into the void when its window was closed meanwhile."""
        with suppress(RuntimeError):
            signal.emit(*values)

    def _finish(self, outcome: object) -> None:
        if isinstance(outcome, Installed):
            self._dismiss()
            receipt = outcome.receipt
            self.said.emit(tr(view.installed_words(receipt.device, receipt.seconds)))
            self._is_new = True
            self.start_wanted.emit()
        else:
            self._plan_anew(outcome.sentence if isinstance(outcome, Trouble) else "")

    def _keep_settings(self) -> None:
        """The chosen folder must be found again; a studio's own file stays as it is."""
        if self._plan is None or os.environ.get(stored.VARIABLE):
            return
        self._settings = replace(self._settings, folder=str(self._plan.home))
        with suppress(OSError):
            stored.save(self._data, self._settings)

    def _remove(self, home: Path, keep: tuple[str, ...]) -> None:
        stop_server(self._data)
        self._tell(self._removed, uninstall(self._data, home, keep))

    def _is_removed(self, left: list[str]) -> None:
        if left:
            self.said.emit(
                tr("A program still holds {files}: remove it later.", files=", ".join(left))
            )
        else:
            self.said.emit(tr("The server is removed."))
        self._was_removed = True
        self._look()


def stop_server(data: Path) -> bool:
    """End this computer's server and wait for it; False when it does not end in time."""
    running = read_running(data)
    if running is None:
        return True
    with suppress(OSError):
        os.kill(running.pid, signal.SIGTERM)
    until = time.monotonic() + _STOP_LIMIT
    while read_running(data) == running:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
