"""The one guard around every reader of what lies in a models folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from velatura.models.errors import ModelError
from velatura.protocol.errors import LocalError

_log = logging.getLogger(__name__)


@contextmanager
def reading() -> Iterator[None]:
    """Turn whatever the reading of one file or folder raises into a ModelError with its sentence.

    What lies on disk is anybody's: a reader that meets what nobody thought of fails alone, and
    what lies beside it is listed. Not for loading, where a lack of memory is to be told as such.
    """
    try:
        yield
    except ModelError:
        raise
    except LocalError as error:
        raise ModelError("unsupported", error.message) from error
    except OSError as error:
        why = f" ({error.strerror})" if error.strerror else ""
        raise ModelError(
            "unsupported", f"it cannot be read{why}: see to it, or remove it."
        ) from error
    except Exception as error:
        _log.debug("a reader failed", exc_info=error)
        raise ModelError("unsupported", "it is broken: get it again.") from error
