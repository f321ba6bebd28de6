"""How a painting program finds the server on the same machine, and how to start it.

Everything lies in one folder of the user's, mode 0700:

    token         the secret, one line, mode 0600
    server.json   written by a running server: {"pid", "host", "port", "version", "tls", "certificate"}
    launch.json   written by the plugin's installer or by ``velatura plugin install``:
                  {"command": [...]} starts the server
    models.json   written by ``velatura add`` or the plugin: {"folders": [...]} with models to read
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path

from .errors import LocalError
from .fields import check_record, flag, integer, key, load_record, several, text

DEFAULT_PORT = 7861
_LARGEST_FILE = 1 << 20
# Of RFC 9110's tokens and RFC 6750's, what both may hold, and a comma never.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+./=^_`|~-]+")


def data_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Velatura's folder: $VELATURA_HOME, else the platform's place for a user's data.

    Both sides must find the same one, so a sandbox's own XDG_DATA_HOME (Flatpak) is passed over.
    """
    if environ.get("VELATURA_HOME"):
        return Path(environ["VELATURA_HOME"])
    home = Path(environ.get("HOME") or Path.home())
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData/Local") / "Velatura"
    if platform == "darwin":
        return home / "Library/Application Support/Velatura"
    if environ.get("XDG_DATA_HOME") and not environ.get("FLATPAK_ID"):
        return Path(environ["XDG_DATA_HOME"]) / "velatura"
    return home / ".local/share/velatura"


@dataclass(frozen=True)
class Running:
    """Where a server listens on this machine; with TLS, the path of its certificate."""

    pid: int = integer(1, 2**31)
    host: str = key()
    port: int = integer(1, 65535)
    version: str = text(100, "")
    tls: bool = flag(False)
    certificate: str = text(4096, "")

    def __post_init__(self) -> None:
        check_record(self)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.tls else 'ws'}://{host}:{self.port}"


@dataclass(frozen=True)
class Launch:
    """The command that starts the server, as arguments of one process."""

    command: tuple[str, ...] = several(text(4096, shortest=1), 64, MISSING)

    def __post_init__(self) -> None:
        check_record(self)


@dataclass(frozen=True)
class ModelFolders:
    """Folders with a painter's own models, absolute."""

    folders: tuple[str, ...] = several(text(4096, shortest=1), 256)

    def __post_init__(self) -> None:
        check_record(self)


def _read(path: Path, cls: type) -> object | None:
    try:
        loaded: object = load_record(cls, json.loads(_text(path)), ())
    # Missing, half-written or foreign: not found.
    except (OSError, ValueError, RecursionError, LocalError):
        return None
    return loaded


def _text(path: Path) -> str:
    """What is in a small file of ours. Raises OSError, ValueError."""
    if not path.is_file():  # a pipe would hold us for ever
        raise ValueError(f"{path} is not a file")
    with path.open("rb") as file:
        return file.read(_LARGEST_FILE).decode("utf-8")


def read_running(folder: Path) -> Running | None:
    found = _read(folder / "server.json", Running)
    return found if isinstance(found, Running) else None


def read_launch(folder: Path) -> Launch | None:
    found = _read(folder / "launch.json", Launch)
    return found if isinstance(found, Launch) else None


def read_model_folders(folder: Path) -> tuple[Path, ...]:
    found = _read(folder / "models.json", ModelFolders)
    return tuple(map(Path, found.folders)) if isinstance(found, ModelFolders) else ()


def write_model_folders(folder: Path, folders: Iterable[Path]) -> None:
    """A running server notices. Raises LocalError for a path that cannot be written down."""
    names = ModelFolders(tuple(str(path) for path in folders)).folders
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / "models.json.part"
    part.write_text(json.dumps({"folders": names}, ensure_ascii=False, indent=1), "utf-8")
    part.replace(folder / "models.json")


def read_token(folder: Path) -> str | None:
    """None where there is none, or what is there cannot travel in a header: one line of ASCII."""
    try:
        token = _text(folder / "token").strip()
    except (OSError, ValueError):
        return None
    return token if _TOKEN.fullmatch(token) else None
