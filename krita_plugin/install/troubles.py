"""What went wrong while installing: one sentence that says what to do, then Retry."""

from __future__ import annotations

import errno
import re
from pathlib import Path

# kind -> (what uv or the system says, in order of precedence, the sentence)
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        "no_space",
        r"no space left|not enough space|os error 28\b|os error 112\b|disk quota|os error 122\b",
        "The disk is full: make room, or choose another folder, and try again.",
    ),
    (
        "too_long",
        r"file name too long|os error 36\b|os error 206\b|path.{0,20}too long",
        "The folder's path is too long: choose a shorter one.",
    ),
    (
        "read_only",
        r"read-only file system|os error 30\b|os error 19\b",
        "The folder cannot be written to: choose another one.",
    ),
    (
        "locked",
        r"being used by another process|os error 32\b|os error 33\b|text file busy|os error 26\b",
        "Another program holds a file of the server: close it (a virus scanner may need a minute) "
        "and try again.",
    ),
    (
        "read_only",
        r"permission denied|access is denied|os error 13\b|os error 5\b|operation not permitted",
        "The folder cannot be written to: choose another one.",
    ),
    (
        "broken",
        r"hash mismatch|checksum|corrupt|invalid (?:zip|gzip|tar)|crc|unexpected (?:end|eof)|"
        r"end of central directory|bad magic|invalid local file header|failed to extract",
        "A download arrived damaged: try again; if it happens again, a proxy may change it.",
    ),
    (
        "proxy",
        r"proxy|tunnel|\b407\b|unknownissuer|invalid peer certificate|certificate verify|"
        r"self.signed certificate",
        "A proxy stands between this computer and the internet and lets nothing through: set it in "
        "the system's network settings, or ask who looks after the network.",
    ),
    (
        "no_network",
        r"dns error|failed to lookup|name resolution|connection refused|connection reset|"
        r"network is unreachable|error sending request|timed out|timeout|connection closed|"
        r"failed to (?:fetch|download)|could not connect|client error|error decoding response|"
        r"request failed",
        "The downloads cannot be reached: check the network and try again; what has arrived stays.",
    ),
    (
        "missing",
        r"no solution found|no interpreter found|not found in the (?:package registry|provided)|"
        r"was not found in|no download found",
        "Where the downloads come from lacks a version that is needed: check the mirror, or send "
        "the log.",
    ),
)
_BY_ERRNO = {
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.ENAMETOOLONG: "too_long",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.ETXTBSY: "locked",
    errno.EBUSY: "locked",
}
# Windows' own numbers (winerror) where errno says too little.
_BY_WINERROR = {112: "no_space", 206: "too_long", 32: "locked", 33: "locked", 19: "read_only"}
_SECRETS = re.compile(r"(?<=://)[^/\s@]+@|(?<=[?&])(?:token|key|password|auth)=[^&\s]+", re.I)


class Trouble(Exception):
    """kind: a name of a row above, or unsupported, folder, busy, check, ended, unknown."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence


class Cancelled(Exception):
    """The painter wanted it to stop. What has arrived stays for the next time."""


def explain(output: str, code: int) -> Trouble:
    """What a command's output means. The first row that fits, so that a cause wins over what
    follows from it."""
    text = output.lower()
    for kind, pattern, sentence in _KNOWN:
        if re.search(pattern, text):
            return Trouble(kind, sentence)
    last = next((x.strip() for x in reversed(output.splitlines()) if x.strip()), "")
    if code < 0 or not last:
        return Trouble("ended", f"Another program, or the system, ended it ({code}): try again.")
    return Trouble("unknown", f"It stopped ({code}) and said: {without_secrets(last)[:300]!r}.")


def of_os_error(error: OSError, path: Path) -> Trouble:
    """The same for an error of the system, about ``path``."""
    kind = _BY_WINERROR.get(getattr(error, "winerror", None) or 0)
    kind = kind or _BY_ERRNO.get(error.errno or 0)
    for known, _, sentence in _KNOWN:
        if known == kind:
            return Trouble(kind, f"{path}: {sentence}")
    return Trouble("unknown", f"{path}: {error.strerror or error}.")


def without_secrets(line: str, home: Path | None = None) -> str:
    """``line`` without passwords in addresses and without the name in the user's folder."""
    clean = _SECRETS.sub("***@" if "://" in line else "***", line)
    return clean.replace(str(home), "~") if home and len(str(home)) > 1 else clean
