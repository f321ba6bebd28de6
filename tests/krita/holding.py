"""Puts a clock around every function of an installed plugin, for kt/holds.py: the product has none."""

from __future__ import annotations

import ast
from pathlib import Path

CLOCK = "from kt import holds as _holds"


def watch(package: Path) -> None:
    """Rewrite the modules in ``package``, the installed plugin's folder, without those it vendors."""
    for path in package.rglob("*.py"):
        if "_vendor" not in path.parts:
            tree = ast.parse(path.read_text("utf-8"))
            _Clocks(path.relative_to(package).with_suffix("").as_posix()).visit(tree)
            heads = [n for n, one in enumerate(tree.body) if _is_head(one)]
            tree.body.insert(heads[-1] + 1 if heads else 0, ast.parse(CLOCK).body[0])
            path.write_text(ast.unparse(ast.fix_missing_locations(tree)), "utf-8")


def _is_head(node: ast.stmt) -> bool:
    """What must stay before all else: the docstring and ``from __future__``."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "__future__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class _Clocks(ast.NodeTransformer):
    def __init__(self, module: str) -> None:
        self._names = [module]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self._inside(node)
        if not any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in ast.walk(node)):
            what = ".".join([*self._names, node.name])
            first = 1 if ast.get_docstring(node) is not None else 0
            clock = ast.parse(
                f"_hold = _holds.begin({what!r})\n"
                "try:\n    pass\nfinally:\n    if _hold is not None:\n        _holds.end(_hold)"
            ).body
            clock[1].body = node.body[first:] or [ast.Pass()]
            node.body[first:] = clock
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        self.generic_visit(node)
        what = ".".join([*self._names, f"lambda in line {node.lineno}"])
        call = ast.parse(f"_holds.run({what!r}, lambda: 0)", mode="eval").body
        call.args[1].body = node.body
        node.body = call
        return node

    def _inside(self, node: ast.ClassDef | ast.FunctionDef) -> ast.ClassDef | ast.FunctionDef:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()
        return node
