"""Install without a press, for studios: one command with what a settings file would hold.

    PYTHONPATH=<the folder pykrita> python3 -m velatura.krita_plugin.install --mirror //nas/velatura

Takes any Python from 3.10 on. Without arguments it does what install.json in Velatura's folder says.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ...protocol.discovery import data_folder
from ...protocol.errors import LocalError
from . import settings as stored
from .devices import LABELS
from .installed import KEPT, uninstall, used
from .installer import STEPS, Installer, Progress
from .machine import this_machine
from .plan import home_of, in_gb, make_plan
from .release import payload_folder, read_release
from .settings import InstallSettings, Mirror
from .troubles import Trouble


def main(arguments: list[str] | None = None) -> int:
    """0 when the server is installed (or removed); 1 with one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="velatura.krita_plugin.install")
    parser.add_argument("--settings", type=Path, help="another settings file than install.json")
    parser.add_argument("--folder", help="where the server goes")
    parser.add_argument("--device", choices=list(LABELS), help="instead of the one that is found")
    parser.add_argument("--mirror", help="a folder: wheels/ and python/downloads.json in it")
    parser.add_argument("--packages", help="a package index, or a folder of wheels")
    parser.add_argument("--torch", help="the same for PyTorch")
    parser.add_argument("--python", help="uv's list of interpreters, or a folder that holds it")
    parser.add_argument("--uninstall", action="store_true")
    parser.add_argument(
        "--keep", default=",".join(KEPT), help=f"when uninstalling; of {','.join(KEPT)}"
    )
    chosen = parser.parse_args(arguments)
    try:
        settings = _settings(chosen)
        if chosen.uninstall:
            return _uninstall(settings, chosen.keep)
        return _install(settings)
    except (Trouble, LocalError) as error:
        print(error, file=sys.stderr)
        return 1


def _settings(chosen: argparse.Namespace) -> InstallSettings:
    environ = {stored.VARIABLE: str(chosen.settings)} if chosen.settings else None
    found = stored.load(data_folder(), environ) if environ else stored.load(data_folder())
    mirror = from_folder(chosen.mirror) if chosen.mirror else found.mirror
    mirror = Mirror(
        chosen.packages or mirror.packages,
        chosen.torch or mirror.torch,
        chosen.python or mirror.python,
    )
    return replace(
        found,
        folder=chosen.folder or found.folder,
        device=chosen.device or found.device,
        mirror=mirror,
    )


def from_folder(folder: str) -> Mirror:
    """The mirror that a studio's folder is: wheels/, and python/ where it holds interpreters."""
    wheels, python = Path(folder) / "wheels", Path(folder) / "python/downloads.json"
    return Mirror(str(wheels), str(wheels), str(python) if python.exists() else "")


def _install(settings: InstallSettings) -> int:
    payload = payload_folder()
    release = read_release(payload)
    if release is None:
        raise Trouble("unsupported", "This plugin came without a server: take a release's zip.")
    plan = make_plan(this_machine(), payload, release, data_folder(), settings)
    said = [-1]

    def tell(progress: Progress) -> None:
        if progress.step != said[0]:
            said[0] = progress.step
            size = f", {in_gb(progress.total)}" if progress.total else ""
            print(f"{STEPS[progress.step]}{size} ...", flush=True)

    new = Installer(plan, data_folder(), tell).install()
    stored.save(data_folder(), replace(settings, folder=str(plan.home)))
    receipt = new.receipt
    print(f"Installed in {new.folder}: paints on {receipt.paints_on}, {receipt.seconds:.1f} s.")
    return 0


def _uninstall(settings: InstallSettings, keep: str) -> int:
    data = data_folder()
    home = home_of(Path(settings.folder)) if settings.folder else data / "server"
    names = [name for name in keep.split(",") if name]
    wrong = [name for name in names if name not in KEPT]
    if wrong:
        raise Trouble("folder", f"--keep takes {', '.join(KEPT)}, not {', '.join(wrong)}.")
    if used(data, home) is None and not home.exists():
        raise Trouble("folder", f"No server is installed in {home}.")
    left = uninstall(data, home, names)
    if left:
        raise Trouble("locked", f"Still there, because a program holds it: {', '.join(left)}.")
    print("The server is gone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
