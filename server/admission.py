"""Who may come in: decided here for every door, from the head of an HTTP request."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from velatura.protocol.client import TOKEN_SUBPROTOCOL

from .settings import Settings, is_loopback


class Headers(Protocol):
    def get_all(self, key: str) -> Sequence[str]: ...


@dataclass(frozen=True)
class Refusal:
    """An HTTP status, and one sentence for who was refused."""

    status: int
    sentence: str


class Admission:
    """Checks requests against ``settings`` and the ``token``; ``port`` is what we listen at."""

    def __init__(self, settings: Settings, token: str) -> None:
        self._settings = settings
        self._token = token.encode()

    def refuse(self, headers: Headers, port: int) -> Refusal | None:
        """Why who sent ``headers`` may not come in; None when they may."""
        if not self._is_our_host(headers.get_all("Host"), port):
            return Refusal(403, "This server does not go by that name.")
        origins = headers.get_all("Origin")
        if origins and (len(origins) > 1 or origins[0] not in self._settings.origins):
            return Refusal(403, "Web pages may not connect.")
        if not self._has_token(headers):
            return Refusal(401, "The token is missing or wrong.")
        return None

    def _is_our_host(self, hosts: Sequence[str], our_port: int) -> bool:
        """Against DNS rebinding: a page's name that points at us is still the page's name.

        An address cannot be rebound, so on a network any will do.
        """
        if len(hosts) != 1:
            return False
        try:
            parts = urlsplit("//" + hosts[0])
            name, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        default = 443 if self._settings.certificate else 80
        if parts.netloc != hosts[0] or "@" in hosts[0] or (port or default) != our_port:
            return False
        if is_loopback(name) or name in self._settings.host_names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._settings.listen_on_network

    def _has_token(self, headers: Headers) -> bool:
        offered = [
            value.split(None, 1)[1].strip()
            for value in headers.get_all("Authorization")
            if value.lower().startswith("bearer ") and len(value.split(None, 1)) == 2
        ]
        for line in headers.get_all("Sec-WebSocket-Protocol"):
            for name in line.split(","):
                if name.strip().startswith(TOKEN_SUBPROTOCOL):
                    offered.append(name.strip()[len(TOKEN_SUBPROTOCOL) :])
        right = [
            hmac.compare_digest(one.encode("utf-8", "replace"), self._token) for one in offered
        ]
        return bool(right) and all(right)
