"""Who may see which results.

A session's id is the server's, unguessable, and good only together with the token it was made
under: on disk and in the server a session is known by its key, the HMAC of its id under the token.
Its folder is its record, so that it outlives the server.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from .settings import make_folder

_KEY = re.compile(r"[0-9a-f]{32}")


class Sessions:
    """The sessions of one ``folder``.

    needed  whether the session of a key has a client, jobs or results: it never ends here
    age     (s) after which one that nobody needs is forgotten when the server starts
    most    so many that nobody needs are remembered; the one that was used longest ago ends first
    """

    def __init__(
        self,
        folder: Path,
        token: str,
        *,
        age: float,
        needed: Callable[[str], bool] = lambda key: False,
        most: int = 256,
    ) -> None:
        self._folder = folder
        self._token = token
        self._needed = needed
        self._most = most
        make_folder(folder)
        # By when they were used last, the oldest first.
        self._known: OrderedDict[str, None] = OrderedDict.fromkeys(self._scan(age))

    def key(self, session: str) -> str:
        """32 hexadecimal digits; the name of the session's folder."""
        digest = hmac.new(self._token.encode(), session.encode(), hashlib.sha256)
        return digest.hexdigest()[:32]

    def create(self) -> str:
        """Raises OSError when the folder cannot be written to."""
        session = secrets.token_urlsafe(32)
        key = self.key(session)
        (self._folder / key).mkdir(mode=0o700)
        self._known[key] = None
        self._end_idle(key)
        return session

    def resume(self, session: str) -> bool:
        """True when ``session`` is one of ours under this token; it then counts as used."""
        key = self.key(session)
        if not (self._folder / key).is_dir():
            return False
        with contextlib.suppress(OSError):  # on a disk that became read-only results can be had
            os.utime(self._folder / key)
        self._known[key] = None
        self._known.move_to_end(key)
        return True

    def _scan(self, age: float) -> list[str]:
        found = []
        eldest = time.time() - age
        for entry in os.scandir(self._folder):
            try:
                ours = _KEY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                used = entry.stat(follow_symlinks=False).st_mtime
            except OSError:  # it went, or is not ours to look at
                continue
            if not ours:
                continue
            if used < eldest and not self._needed(entry.name):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                found.append((used, entry.name))
        return [name for _, name in sorted(found)]

    def _end_idle(self, newest: str) -> None:
        """Each look at one that is needed puts it behind the others: no call looks at many."""
        for _ in range(8):
            if len(self._known) <= self._most:
                return
            key = next(iter(self._known))
            if key == newest or self._needed(key):
                self._known.move_to_end(key)
            else:
                del self._known[key]
                shutil.rmtree(self._folder / key, ignore_errors=True)
