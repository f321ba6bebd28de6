"""What a painter or a studio chose about the installation: ``install.json`` in Velatura's folder.

A studio puts the file there beforehand: {"unattended": true, "mirror": {"packages":
"//nas/velatura/wheels", "torch": "//nas/velatura/wheels", "python": "//nas/velatura/python.json"}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...protocol.errors import LocalError
from ...protocol.fields import check_record, dump_record, flag, load_record, record, text

FILE = "install.json"
# Names another settings file: one for all computers of a studio.
VARIABLE = "VELATURA_INSTALL"


@dataclass(frozen=True)
class Mirror:
    """Addresses, or folders on the network, in place of the public ones; "" for those.

    packages: a package index, or a folder of wheels. torch: the same for PyTorch, whatever the
    device. python: uv's list of interpreters (a JSON file), or a folder that holds it as
    downloads.json.
    """

    packages: str = text(4096, "")
    torch: str = text(4096, "")
    python: str = text(4096, "")

    def __post_init__(self) -> None:
        check_record(self)


PUBLIC = Mirror()


@dataclass(frozen=True)
class InstallSettings:
    """folder: where the server goes, "" for Velatura's own. device: of devices.LABELS, "" for the
    one that is found. unattended: install when Krita starts, without a press."""

    folder: str = text(4096, "")
    device: str = text(20, "")
    unattended: bool = flag(False)
    mirror: Mirror = record(Mirror, PUBLIC)

    def __post_init__(self) -> None:
        check_record(self)


def load(data: Path, environ: Mapping[str, str] = os.environ) -> InstallSettings:
    """First values where there is no file. Raises LocalError for one that cannot be used."""
    path = Path(environ[VARIABLE]) if environ.get(VARIABLE) else data / FILE
    try:
        stored = json.loads(path.read_bytes())
    except FileNotFoundError:
        return InstallSettings()
    except (OSError, ValueError) as error:
        raise LocalError("invalid_field", f"{path} cannot be read as settings: {error}.") from error
    if not isinstance(stored, dict):
        raise LocalError("invalid_field", f"{path} must hold one JSON object.")
    found: InstallSettings = load_record(InstallSettings, stored, ())
    return found


def save(data: Path, settings: InstallSettings) -> None:
    """Raises OSError."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = data / (FILE + ".part")
    part.write_text(json.dumps(dump_record(settings, []), ensure_ascii=False, indent=1), "utf-8")
    part.replace(data / FILE)
