"""What the zip brought for the installer: the server's wheel, uv, and the versions to install."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ...protocol.errors import LocalError
from ...protocol.fields import check_record, load_record, record, text

_SHA256 = {"longest": 64, "shortest": 64}


@dataclass(frozen=True)
class Packed:
    """A file of the payload."""

    name: str = text(200, shortest=1)
    sha256: str = text(**_SHA256)

    def __post_init__(self) -> None:
        check_record(self)
        if "/" in self.name or "\\" in self.name or self.name.startswith("."):
            raise LocalError("invalid_field", "name must be a file's name.", field="name")


@dataclass(frozen=True)
class Release:
    """version: of the server. platform: "linux-x86_64", ... python: which one it wants, "3.11"."""

    version: str = text(100, shortest=1)
    platform: str = text(100, shortest=1)
    python: str = text(20, shortest=1)
    wheel: Packed = record(Packed)
    uv: Packed = record(Packed)

    def __post_init__(self) -> None:
        check_record(self)

    @property
    def name(self) -> str:
        """Short, because Windows counts a path's letters; another wheel has another name."""
        return f"{self.version}-{self.wheel.sha256[:6]}"


def payload_folder() -> Path:
    """Where the zip's own files are: beside the plugin's package."""
    return Path(__file__).resolve().parents[2] / "payload"


def read_release(payload: Path) -> Release | None:
    """None where the plugin came without a server."""
    try:
        found = load_record(Release, json.loads((payload / "release.json").read_bytes()), ())
    except (OSError, ValueError, LocalError):
        return None
    return found if isinstance(found, Release) else None


def is_whole(payload: Path, packed: Packed) -> bool:
    """True when the file is there as it was packed. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with (payload / packed.name).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == packed.sha256
