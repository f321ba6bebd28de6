"""The commands that uv is given, and how far it has come by what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..launch import server_environment
from .machine import WINDOWS
from .plan import Plan

# Of a painter's own uv: it would send us elsewhere. A studio's addresses and certificates stay.
_NOT_OURS = re.compile(
    r"UV_(PYTHON|PYTHON_PREFERENCE|PROJECT|CONFIG_FILE|SYSTEM_PYTHON|TARGET|PREFIX)$|VIRTUAL_ENV"
)
_SIZE = re.compile(r"^\s*Downloading (?P<name>\S+).*\((?P<number>[\d.]+)(?P<unit>[KMG]?i?B)\)")
_DONE = re.compile(r"^\s*Downloaded (?P<name>\S+)")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# A wheel holds about this part of the bytes that are unpacked from it.
_PACKED = 0.45


def uv_path(plan: Plan) -> Path:
    """Where this release's uv is put."""
    return plan.home / f"uv-{plan.release.uv.sha256[:6]}" / plan.release.uv.name


def python_path(folder: Path, system: str) -> Path:
    """The interpreter of the environment in ``folder``."""
    venv = folder / "venv"
    return venv / "Scripts/python.exe" if system == WINDOWS else venv / "bin/python"


def launch_command(folder: Path, system: str) -> list[str]:
    """What starts the server of the installation in ``folder``. On a free port, which the plugin
    finds written down: two users of one computer have a server each."""
    return [str(python_path(folder, system)), "-m", "velatura.server.cli", "serve", "--port", "0"]


def environment(plan: Plan, environ: Mapping[str, str], *, links: bool) -> dict[str, str]:
    """What uv runs with: everything that it writes lies in the plan's home.

    Addresses and passwords that ``environ`` holds for uv are passed on and stored nowhere.
    """
    passed = {k: v for k, v in server_environment(environ).items() if not _NOT_OURS.match(k)}
    own = {
        "UV_CACHE_DIR": str(plan.home / "cache"),
        "UV_PYTHON_INSTALL_DIR": str(plan.home / "python"),
        "UV_CREDENTIALS_DIR": str(plan.home / "credentials"),
        "UV_PYTHON_INSTALL_BIN": "0",  # no link in the user's own folder of programs
        "UV_PYTHON_INSTALL_REGISTRY": "0",
        "UV_NO_CONFIG": "1",
        "UV_SYSTEM_CERTS": "1",  # a studio's proxy has a certificate of its own
        "UV_LINK_MODE": "hardlink" if links else "copy",
        "UV_INDEX_STRATEGY": "unsafe-first-match",  # versions are pinned; PyTorch's index comes first
        "NO_COLOR": "1",
    }
    indexes = passed.get("UV_INDEX", "").split()
    torch = plan.mirror.torch or plan.build.index
    if "://" in torch:
        indexes.insert(0, torch)
    if indexes:
        own["UV_INDEX"] = " ".join(indexes)
    if "://" in plan.mirror.packages:
        own["UV_DEFAULT_INDEX"] = plan.mirror.packages
    if plan.mirror.python:
        own["UV_PYTHON_DOWNLOADS_JSON_URL"] = _python_list(plan.mirror.python)
    return {**passed, **own}


def make_environment(plan: Plan, folder: Path) -> list[str]:
    """An empty environment in ``folder``: a fitting Python of this computer, else uv's own."""
    return [
        *(str(uv_path(plan)), "venv", "--no-project", "--clear"),
        *("--python", plan.release.python, str(folder / "venv")),
    ]


def install_packages(plan: Plan, folder: Path) -> list[str]:
    """The server and its libraries, in one resolution: torch's and torchvision's builds must fit."""
    folders = {x for x in (plan.mirror.packages, plan.mirror.torch) if x and "://" not in x}
    return [
        *(str(uv_path(plan)), "pip", "install"),
        *("--python", str(python_path(folder, plan.system))),
        *("--constraint", str(plan.payload / "requirements.txt")),
        *(["--no-index"] if plan.mirror.packages in folders else []),
        *(part for one in sorted(folders) for part in ("--find-links", one)),
        str(plan.payload / plan.release.wheel.name),
    ]


def _python_list(where: str) -> str:
    if "://" in where or where.endswith(".json"):
        return where if "://" in where else Path(where).as_uri()
    return (Path(where) / "downloads.json").as_uri()


@dataclass
class Downloads:
    """Bytes by what uv says: a name and a size when a file begins, a name when it is complete.

    expected: bytes of a whole installation, until uv has said what is lacking.
    """

    expected: int
    name: str = ""

    def __post_init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._complete: set[str] = set()
        self._grown = 0

    def hear(self, line: str) -> bool:
        """Take a line of uv's; True when it says something of downloads."""
        begins, ends = _SIZE.match(line), _DONE.match(line)
        if begins:
            self.name = begins["name"]
            self._sizes[self.name] = int(float(begins["number"]) * _UNITS.get(begins["unit"], 1))
        elif ends:
            self._complete.add(ends["name"])
            running = [name for name in self._sizes if name not in self._complete]
            self.name = max(running, key=self._sizes.__getitem__, default=self.name)
        return bool(begins or ends)

    def grow(self, unpacked: int) -> None:
        """unpacked: bytes that came to lie on the disk since the beginning; between two files it
        tells how far the one that is coming has come."""
        self._grown = max(self._grown, unpacked)

    @property
    def total(self) -> int:
        return sum(self._sizes.values()) or self.expected

    @property
    def done(self) -> int:
        complete = sum(self._sizes.get(name, 0) for name in self._complete)
        coming = sum(size for name, size in self._sizes.items() if name not in self._complete)
        return complete + min(int(coming * 0.99), max(0, int(self._grown * _PACKED) - complete))
