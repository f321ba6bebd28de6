"""The servers that a painter named, and why there is no connection to one. No I/O."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..protocol.discovery import DEFAULT_PORT
from ..protocol.errors import LocalError
from ..protocol.fields import check_record, text
from . import state
from .state import LinkState, Translate

_ID = re.compile(r"([0-9a-f]{8})?")
# What a header can carry: visible ASCII.
_TOKEN = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True)
class Server:
    """address and token are as the painter typed them; ``place`` judges them.

    id: ours, so that what was asked of a server stays with it when it is renamed or moves. Raises
    LocalError.
    """

    id: str = text(8, "")
    name: str = text(60, "")
    address: str = text(200, "")
    token: str = text(200, "")

    def __post_init__(self) -> None:
        check_record(self)
        if not _ID.fullmatch(self.id):  # it becomes part of a file's name
            raise LocalError("invalid_field", "id must be eight digits 0-9, a-f.", field="id")

    @property
    def place(self) -> tuple[str, str]:
        """(URL, token) to connect with. Raises LocalError."""
        return url_of(self.address), _token_of(self.token)


# This computer's own server: its port and token are found in Velatura's folder.
HERE = Server()


def url_of(address: str) -> str:
    """ws://HOST:PORT of what a painter typed. Raises LocalError."""
    typed = address.strip()
    try:
        parts = urlsplit(typed if "://" in typed else f"ws://{typed}")
        port = parts.port or DEFAULT_PORT
    except ValueError:  # a port or an IPv6 address that is none
        parts = urlsplit("")
        port = 0
    host = parts.hostname or ""
    plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    known = parts.scheme in ("ws", "wss") and re.fullmatch(r"[\w.:-]+", host)
    # urlsplit drops line breaks.
    if not (known and plain and typed.isprintable()):
        raise LocalError(
            "invalid_field",
            "The address must be a name or a number, and its port where that is not "
            f"{DEFAULT_PORT}, such as 192.168.1.20:{DEFAULT_PORT} (with wss:// before it for TLS).",
            field="address",
        )
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _token_of(token: str) -> str:
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise LocalError(
            "invalid_field",
            "The token must be one word of ASCII letters, digits and signs: the line in the file "
            '"token" of the Velatura folder there.',
            field="token",
        )
    return token


def refused(error: BaseException, url: str, tr: Translate, *, is_here: bool) -> LinkState | None:
    """What kept a connection to ``url`` from opening; None where simply nobody answers here."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401 and is_here:
        said = "The server refused the token: it runs for another user or folder. Restart it."
    elif status == 401:
        said = 'The server refused the token: copy the line in the file "token" there again.'
    elif status == 403 and not is_here:
        said = "The server does not go by that name: use its number, such as 192.168.1.20."
    elif status is not None:
        said = tr("The server refused the connection ({status}).", status=status)
    elif is_here:
        return None
    else:
        kind, said = _elsewhere(error)
        return LinkState(kind, tr(said, place=url.split("://", 1)[1]))
    return LinkState(state.REFUSED, said)


def _elsewhere(error: BaseException) -> tuple[str, str]:
    """(kind, sentence) of an error on the way to {place}, HOST:PORT."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return state.REFUSED, "This computer does not trust the certificate of {place}."
    if isinstance(error, ssl.SSLError):
        return state.REFUSED, "{place} does not speak TLS: write the address without wss://."
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return state.UNREACHABLE, "No computer of that name is known: {place}."
    if isinstance(error, OSError):
        return state.UNREACHABLE, "Nothing answers at {place}: is the server started there?"
    return (
        state.REFUSED,
        "What answers at {place} is no Velatura server, or wants wss:// before its address.",
    )
