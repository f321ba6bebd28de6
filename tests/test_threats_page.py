"""docs/threats.md names tests that exist, for each of its rows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = [
    line for line in (ROOT / "docs" / "threats.md").read_text("utf-8").splitlines() if "|" in line
]
NAMED = re.compile(r"`(test_\w+)`")


def existing() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return found


def test_every_test_that_the_page_names_exists():
    named = {name for row in ROWS for name in NAMED.findall(row)}
    assert not sorted(named - existing())
    assert len(named) > 60


def test_every_row_of_the_page_names_a_test():
    rows = [row for row in ROWS if not re.match(r"\|( #)? (threat or )?fault \||\|-", row)]
    bare = [row for row in rows if not NAMED.search(row) and not row.startswith("| # |")]
    assert not bare
    numbered = [int(found[1]) for row in rows if (found := re.match(r"\| (\d+) \|", row))]
    assert numbered == list(range(1, 33))
