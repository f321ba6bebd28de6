"""The server's log: a rotating file in the data folder, one line per record, no secrets."""

from __future__ import annotations

import logging
import logging.handlers
import re
from pathlib import Path
from types import TracebackType

from .settings import cannot, make_folder, own_file

LARGEST = 5 << 20
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escape(text: str) -> str:
    """``text`` on one line of printable characters: nobody writes lines of ours into the log."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


_Failure = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _NoHeads(logging.Filter):
    """Leaves out what websockets could not read of a handshake: it may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and "handshake" in record.getMessage():
            kind = record.exc_info[0]
            record.msg, record.args = f"{record.getMessage()}: {kind.__name__ if kind else '?'}", ()
            record.exc_info, record.exc_text = None, None
        return True


class _Formatter(logging.Formatter):
    def __init__(self, token: str) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s")
        self._token = token

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escape(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: _Failure) -> str:
        lines = super().formatException(ei).splitlines()
        return "\n".join("    " + escape(line) for line in lines)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace(self._token, "(token)")


def open_log(folder: Path, token: str) -> logging.Handler:
    """Send the log of ours and of websockets to ``folder``/server.log. Returns the handler.

    Raises StartError.
    """
    make_folder(folder)
    path = own_file(folder / "server.log")
    try:
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=LARGEST, backupCount=2, encoding="utf-8"
        )
    except OSError as error:
        raise cannot(f"{path} cannot be written", error) from None
    handler.setFormatter(_Formatter(token))
    handler.addFilter(_NoHeads())
    for name in ("velatura", "websockets"):
        logger = logging.getLogger(name)
        # websockets prints whole requests, secrets included, at level DEBUG.
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False
    return handler
