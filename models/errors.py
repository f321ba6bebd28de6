"""What models and the library raise."""

from __future__ import annotations


class ModelError(Exception):
    """One sentence for the painter with a stable ``code``, a key of the protocol's CODES.

    ``field`` names the field of the request that asked for it, where there is one.
    """

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
