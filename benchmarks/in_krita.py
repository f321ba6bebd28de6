"""A real Krita for a benchmark: that of the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent / "tests"


@contextmanager
def krita(folder: Path) -> Iterator[Any]:
    """``krita.run("script.py", env=...)`` with a script of tests/krita/scripts, at home in ``folder``.

    Without a Krita it exits with one sentence. What the tests of the server use can be imported too.
    """
    sys.path[:0] = [str(TESTS / "krita"), str(TESTS / "server")]
    from krita_harness import INSTALL, Installation, missing

    if missing():
        sys.exit(f"This needs {' and '.join(missing())}: {INSTALL}")
    installation = Installation(folder)
    try:
        yield installation
    finally:
        installation.close()
