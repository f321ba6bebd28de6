"""Who may see which results.

A session's id is the server's, unguessable, and good only together with the token it was made
under: on disk and in the server a session is known by its key, the HMAC of its id under the token.
Its folder is its record, so that it outlives the server.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
import time
from pathlib import Path

from .settings import make_folder

MOST = 4096


class Sessions:
    """The sessions of one ``folder``. ``age``: seconds after which an unused one is forgotten."""

    def __init__(self, folder: Path, token: str, *, age: float) -> None:
        self._folder = folder
        self._token = token
        self._age = age
        make_folder(folder)

    def key(self, session: str) -> str:
        """32 hexadecimal digits; the name of the session's folder."""
        digest = hmac.new(self._token.encode(), session.encode(), hashlib.sha256)
        return digest.hexdigest()[:32]

    def create(self) -> str:
        session = secrets.token_urlsafe(32)
        make_folder(self._folder / self.key(session))
        return session

    def resume(self, session: str) -> bool:
        """True when ``session`` is one of ours under this token; it then counts as used."""
        folder = self._folder / self.key(session)
        if not folder.is_dir():
            return False
        os.utime(folder)
        return True

    def forget_old(self) -> None:
        """Remove what nobody used for ``age``, and the oldest beyond MOST. For the start."""
        used = sorted(
            ((entry.stat().st_mtime, entry.path) for entry in os.scandir(self._folder)),
            reverse=True,
        )
        eldest = time.time() - self._age
        for place, (moment, path) in enumerate(used):
            if moment < eldest or place >= MOST:
                shutil.rmtree(path)
