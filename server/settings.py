"""What a server is told when it starts, and the secret it shares with its painters."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from velatura.models.places import hub_folder
from velatura.protocol.codec import LARGEST_MESSAGE, LARGEST_PICTURE
from velatura.protocol.discovery import DEFAULT_PORT, read_model_folders, read_token
from velatura.protocol.messages import Limits
from velatura.server.worker.runtime.switches import DEFAULT, Switches

WORKER = (sys.executable, "-m", "velatura.server.worker.host.process")
LIMITS = Limits(message_bytes=LARGEST_MESSAGE, picture_pixels=LARGEST_PICTURE, jobs=64)
# What nobody guesses, even one that a person made up.
SHORTEST_TOKEN = 12
# How the server tells the worker where models are besides Velatura's own folder; joined as PATH is.
MODELS_VARIABLE = "VELATURA_MODELS"
# And the most bytes that models may take.
MEMORY_VARIABLE = "VELATURA_MEMORY"


class StartError(Exception):
    """Why the server cannot start: one sentence that says what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One server. Times in seconds, sizes in bytes.

    folder         Velatura's data folder (see protocol.discovery)
    host, port     where to listen; port 0 takes a free one
    origins        web origins that may connect, exactly as browsers send them; none by default
    certificate, key  PEM files; both or neither
    models         extra folders with models, for the worker
    memory         the most bytes that models may take; None for what the device has
    switches       which accelerations the worker is to use
    worker         the command that runs the worker process
    handshake_timeout, hello_timeout  within them a connection shows the token, and says hello
    most_connections, most_strangers  with the token, and before they have shown it
    messages_per_second, message_burst  of one connection
    waiting_bytes  pixels of jobs that wait, on disk
    results_bytes, results_age  what is kept of results that nobody acknowledged
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    listen_on_network: bool = False
    origins: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    models: tuple[Path, ...] = ()
    memory: int | None = None
    switches: Switches = DEFAULT
    worker: tuple[str, ...] = WORKER
    limits: Limits = LIMITS
    handshake_timeout: float = 5.0
    hello_timeout: float = 10.0
    most_connections: int = 64
    most_strangers: int = 32
    messages_per_second: float = 200.0
    message_burst: int = 400
    waiting_bytes: int = 8 << 30
    results_bytes: int = 8 << 30
    results_age: float = 30 * 24 * 3600.0

    def __post_init__(self) -> None:
        if not self.listen_on_network and not is_loopback(self.host):
            raise StartError(
                f"{self.host} can be reached from other machines: add --listen-on-network to allow "
                "that (better with --certificate and --key), or leave --host out."
            )
        if (self.certificate is None) != (self.key is None):
            raise StartError("--certificate and --key go together: give both PEM files or neither.")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise StartError(f"{file} is not there: give the path of a PEM file.")

    @property
    def host_names(self) -> frozenset[str]:
        """Names in a Host header that are ours, besides loopback and (on a network) addresses."""
        if not self.listen_on_network:
            return frozenset()
        name = socket.gethostname().lower()
        return frozenset((self.host.lower(), name, f"{name}.local"))


def model_folders(folder: Path, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where models are looked for: in the data folder's ``models``, where the painter said, and in
    the cache of the Hugging Face Hub where there is one."""
    extra = environ.get(MODELS_VARIABLE, "").split(os.pathsep)
    hub = hub_folder(environ)
    return (
        folder / "models",
        *(Path(name) for name in extra if name),
        *read_model_folders(folder),
        *([hub] if hub.is_dir() else []),
    )


def memory_limit(environ: Mapping[str, str] = os.environ) -> int | None:
    """The most bytes that models may take, as the server told its worker."""
    text = environ.get(MEMORY_VARIABLE, "")
    return int(text) if text.isdecimal() else None


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bytes_of(gigabytes: float) -> int:
    """``--memory`` in bytes. Raises StartError for what is no size."""
    if not math.isfinite(gigabytes) or gigabytes > 1e6:
        raise StartError("--memory must be a number of gigabytes, at most a million.")
    return round(gigabytes * 1e9)


def cannot(what: str, error: OSError) -> StartError:
    """``what`` could not be done at the start."""
    where = f"{error.filename}: " if error.filename else ""
    return StartError(f"{what} ({where}{error.strerror or error}).")


def make_folder(folder: Path) -> None:
    """``folder`` for its owner alone. On Windows the user's own folder is so already.

    Raises StartError for one that cannot be had, or that belongs to somebody else, who could put
    another token into it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise StartError(
            f"{folder} is a file, and Velatura keeps its data in a folder there: move the file away, "
            "or name another place in VELATURA_HOME."
        ) from None
    except OSError as error:
        raise cannot(f"The folder {folder} cannot be made", error) from None
    if sys.platform == "win32":
        return
    try:
        status = folder.stat()
        us = os.geteuid()
        # What root owns is as safe as root makes it.
        safe = status.st_uid == 0 and not status.st_mode & 0o022
        if us != 0 and status.st_uid != us and not safe:
            raise StartError(
                f"{folder} belongs to another user, who could read and change what is in it: "
                "make it your own with chown, or name another place in VELATURA_HOME."
            )
        if us in (0, status.st_uid):
            # Not every file system has modes; the files in it are their owner's alone by themselves.
            with contextlib.suppress(OSError):
                folder.chmod(0o700)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise StartError(f"{folder} cannot be written to: make it writable, or free the disk.")
    except OSError as error:
        raise cannot(f"The folder {folder} cannot be used", error) from None


def own_file(path: Path) -> Path:
    """``path``, which is a file or nothing yet. Raises StartError: a pipe would hold us for ever."""
    if path.exists() and not path.is_file():
        raise StartError(f"{path} is not a file, and Velatura needs one there: move it away.")
    return path


def write_private(path: Path, text: str) -> None:
    """``text`` in a file of mode 0600 that appears complete or not at all. Raises StartError."""
    part = path.with_name(path.name + ".part")
    try:
        own_file(path)
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        part.replace(path)
    except OSError as error:
        raise cannot(f"{path} cannot be written", error) from None


def own_token(folder: Path) -> str:
    """The token of this folder, made on first use: 256 bits, file mode 0600. Raises StartError."""
    make_folder(folder)
    path = own_file(folder / "token")
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32) + "\n")
    token = read_token(folder)
    if token is None or len(token) < SHORTEST_TOKEN:
        raise StartError(
            f"{path} must hold one line of {SHORTEST_TOKEN} letters and digits or more: "
            "remove it, and a new token is made."
        )
    try:
        path.chmod(0o600)
    except OSError as error:
        raise cannot(f"{path} cannot be closed to other users", error) from None
    return token
