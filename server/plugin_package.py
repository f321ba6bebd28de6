"""Puts the plugin together, as a zip for Krita's plugin importer or straight into a user's Krita.

Inside Krita the folders import as they do here: ``velatura.protocol``, ``velatura.krita_plugin``,
and the websockets package as ``velatura._vendor.websockets``, so that nothing of ours changes what
other plugins import.
"""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from velatura.protocol.discovery import data_folder

# The oldest Python that a supported Krita brings (5.2 on Windows and macOS).
KRITA_PYTHON = (3, 10)
# Krita's importer reads every .desktop and .action file of the zip, wherever it lies, and the
# template is what it makes: none of them belongs into the package's own folder.
_PLACED = {
    "velatura.desktop": "pykrita/velatura.desktop",
    "velatura.action": "actions/velatura.action",
    "manual.html": "pykrita/velatura/manual.html",
    "package_init.py.in": "pykrita/velatura/__init__.py",
}
_SKIPPED_WEBSOCKETS = ("legacy/", "__main__.py", "cli.py")


class PackageError(Exception):
    """One sentence: why the plugin cannot be built or installed, and what to do."""


@dataclass(frozen=True)
class Krita:
    """One Krita of the user's: ``resources`` holds pykrita/, ``settings`` is its kritarc."""

    name: str
    resources: Path
    settings: Path


def contents() -> dict[str, bytes]:
    """The plugin's files by their path in Krita's resource folder ("pykrita/...", "actions/...").

    Raises PackageError when the installed websockets package does not run on KRITA_PYTHON.
    """
    files = {"pykrita/velatura/_vendor/__init__.py": b""}
    for package in ("protocol", "krita_plugin"):
        folder = _package_folder(f"velatura.{package}")
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and "__pycache__" not in path.parts:
                place = _PLACED.get(name) if package == "krita_plugin" else None
                data = path.read_bytes()
                if name == "manual.html":
                    data = _with_pictures(data, folder)
                elif name.startswith("manual/"):
                    continue
                files[place or f"pykrita/velatura/{package}/{name}"] = data
    files.update(_websockets())
    return dict(sorted(files.items()))


def _with_pictures(manual: bytes, folder: Path) -> bytes:
    """The page with its pictures inside: Krita shows it without knowing where it lies."""

    def inside(found: re.Match[bytes]) -> bytes:
        picture = (folder / found[1].decode()).read_bytes()
        return b'src="data:image/png;base64,' + base64.b64encode(picture) + b'"'

    return re.sub(rb'src="(manual/[a-z]+\.png)"', inside, manual)


def build(zip_path: Path | str, payload: Mapping[str, bytes] | None = None) -> Path:
    """Write the zip for Krita's "Import Python Plugin from File"; the same files, the same bytes.

    payload: files for the plugin's own installer, by name; without them the plugin installs nothing.
    """
    inside = {"velatura/": b""}  # the importer finds the module by this entry
    inside |= {path.removeprefix("pykrita/"): data for path, data in contents().items()}
    inside |= {f"velatura/payload/{name}": data for name, data in (payload or {}).items()}
    return write_zip(Path(zip_path), inside)


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write ``files`` in their order, without dates; what is a zip itself is only stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w") as archive:
        for name, data in files.items():
            entry = _entry(name)
            packed = name.endswith((".whl", "/"))
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    part.replace(path)
    return path


def install(resource_folder: Path | str | None = None, launch: Sequence[str] = ()) -> list[str]:
    """Install and enable the plugin; return sentences that say what was done and what comes next.

    resource_folder: Krita's resource folder (Settings > Manage Resources > Open Resource Folder);
    by default every Krita found for this user, or where one would look.
    launch: the command that starts the server, kept where the plugin's "Start server" finds it.
    Raises PackageError when nothing can be written there.
    """
    known = find_kritas()
    if resource_folder is None:
        chosen = [krita for krita in known if krita.resources.is_dir()] or known[:1]
    else:
        folder = Path(resource_folder).expanduser()
        chosen = [krita for krita in known if krita.resources == folder]
        if not chosen:
            copy_into(folder)
            return [
                f"The plugin is in {folder}.",
                "Start Krita and tick Velatura in Settings > Configure Krita > Python Plugin "
                "Manager, then start Krita again.",
                *_remember(launch),
            ]
    sentences = []
    for krita in chosen:
        install_into(krita)
        sentences.append(f"The plugin is in {krita.resources} and enabled ({krita.name}).")
    sentences.append("Start Krita again, then open Settings > Dockers > Velatura.")
    return [*sentences, *_remember(launch)]


def install_into(krita: Krita) -> None:
    """Copy the plugin into one Krita and enable it there."""
    copy_into(krita.resources)
    try:
        before = krita.settings.read_bytes() if krita.settings.exists() else b""
        krita.settings.parent.mkdir(parents=True, exist_ok=True)
        _replace(krita.settings, enabled(before))
    except OSError as error:
        raise PackageError(
            f"{krita.settings} could not be written ({error.strerror}): tick Velatura in "
            "Settings > Configure Krita > Python Plugin Manager instead."
        ) from error


def copy_into(resources: Path) -> None:
    """Write the plugin into a resource folder, in place of an older one."""
    files = contents()
    try:
        resources.mkdir(parents=True, exist_ok=True)
        # Complete before it takes the old one's place: a full disk leaves the old plugin working.
        with tempfile.TemporaryDirectory(prefix=".velatura-", dir=resources) as made:
            staged = Path(made) / "new"
            for name, data in files.items():
                path = staged / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            for name in ("pykrita", "actions"):
                (resources / name).mkdir(exist_ok=True)
            for name in ("pykrita/velatura", "pykrita/velatura.desktop", "actions/velatura.action"):
                target = resources / name
                if target.is_dir() and not target.is_symlink():
                    target.rename(Path(made) / "old")
                elif target.is_symlink():
                    target.unlink()
                (staged / name).replace(target)
    except OSError as error:
        raise PackageError(
            f"The plugin could not be written to {resources} ({error.strerror}): close Krita, "
            "check that the folder is yours, and try again."
        ) from error


def find_kritas(
    environ: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    home: Path | None = None,
) -> list[Krita]:
    """Where Krita keeps its resources and settings here, the usual one first."""
    home = home or Path.home()
    if platform == "win32":
        roaming = Path(environ.get("APPDATA") or home / "AppData/Roaming")
        local = Path(environ.get("LOCALAPPDATA") or home / "AppData/Local")
        return [Krita("Krita", roaming / "krita", local / "kritarc")]
    if platform == "darwin":
        library = home / "Library"
        return [
            Krita("Krita", library / "Application Support/krita", library / "Preferences/kritarc")
        ]
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    flatpak = home / ".var/app/org.kde.krita"
    return [
        Krita("Krita", data / "krita", config / "kritarc"),
        Krita("Krita, Flatpak", flatpak / "data/krita", flatpak / "config/kritarc"),
    ]


def enabled(settings: bytes) -> bytes:
    """A kritarc with the plugin enabled and every other line as it was."""
    ending = b"\r\n" if b"\r\n" in settings else b"\n"
    wanted = b"enable_velatura=true"
    lines = settings.splitlines()
    try:
        start = lines.index(b"[python]") + 1
    except ValueError:
        lines += [b"", b"[python]", wanted] if lines else [b"[python]", wanted]
    else:
        end = next((i for i in range(start, len(lines)) if lines[i].startswith(b"[")), len(lines))
        section = [line for line in lines[start:end] if not line.startswith(b"enable_velatura=")]
        lines[start:end] = [wanted, *section]
    return ending.join(lines) + ending


def _package_folder(name: str) -> Path:
    # By name, not by import: the server does not depend on the plugin's code.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise PackageError(f"{name} is not installed: install velatura again.")
    return Path(spec.origin).parent


def _websockets() -> dict[str, bytes]:
    """The pure-Python part of the installed websockets package, with its licence."""
    package = importlib.metadata.distribution("websockets")
    needs = package.metadata["Requires-Python"] or ""
    least = re.search(r">=\s*3\.(\d+)", needs)
    if least is None or (3, int(least[1])) > KRITA_PYTHON:
        raise PackageError(
            f"websockets {package.version} needs Python {needs}, but Krita brings 3.10: "
            "pip install 'websockets>=16.1,<17' and build again."
        )
    target = "pykrita/velatura/_vendor/"
    files = {}
    for path in package.files or ():
        name = path.as_posix()
        inner = name.removeprefix("websockets/")
        if name != inner and name.endswith(".py") and not inner.startswith(_SKIPPED_WEBSOCKETS):
            files[target + name] = path.read_binary()
        elif path.name == "LICENSE":
            files[target + "websockets/LICENSE"] = path.read_binary()
    if target + "websockets/__init__.py" not in files:
        raise PackageError("websockets' own files were not found: pip install websockets again.")
    return files


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry without a date of its own, so that a build can be compared with another."""
    info = zipfile.ZipInfo(name)
    info.external_attr = (0o40755 << 16) | 0x10 if name.endswith("/") else 0o100644 << 16
    return info


def _remember(launch: Sequence[str]) -> list[str]:
    if not launch:
        return []
    folder = data_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(folder / "launch.json", json.dumps({"command": list(launch)}).encode())
    return ["The plugin's Start server button starts the server of this installation."]


def _replace(path: Path, data: bytes) -> None:
    path = path.resolve()  # a linked kritarc stays a link
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    if path.exists():
        shutil.copymode(path, part)
    part.replace(path)
