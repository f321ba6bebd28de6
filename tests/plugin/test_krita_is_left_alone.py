"""What the plugin must not touch of the Python that it shares with Krita's other plugins."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import velatura.krita_plugin

ROOT = Path(velatura.krita_plugin.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The first names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def test_the_docker_and_live_painting_are_among_the_files():
    assert {"docker.py", "live_desk.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_touches_the_garbage_collection_of_all_of_kritas_python(path):
    assert "gc" not in imported(path)
