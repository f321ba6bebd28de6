"""Nothing is downloaded behind a painter's back, no code of a model's maker is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import velatura.models.library
import velatura.server.app

ROOTS = [Path(m.__file__).parent for m in (velatura.models.library, velatura.server.app)]
# Training reads what it has just written itself.
FILES = [p for root in ROOTS for p in sorted(root.rglob("*.py")) if "recipe" not in p.parts]
# What would fetch or run a model's own code, in diffusers and transformers.
FORBIDDEN = {"trust_remote_code", "custom_pipeline", "custom_revision"}
LOADERS = {"from_pretrained", "from_single_file"}
CONVERTER = "convert.py"


def calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text("utf-8"))
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def test_the_files_that_load_are_looked_at():
    loading = {
        f"{path.parent.name}/{path.name}"
        for path in FILES
        for call in calls(path)
        if name_of(call) in LOADERS
    }
    wanted = {"models/parts.py", "models/depth.py", "families/single.py", "unet/parts.py"}
    assert wanted <= loading


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_load_is_offline_and_runs_no_code_of_the_models(path):
    for call in calls(path):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        assert not FORBIDDEN & set(given), ast.unparse(call)
        if name_of(call) in LOADERS:
            offline = given.get("local_files_only")
            # Settings that are shared by several calls stand in a dict, checked below.
            assert None in given or (isinstance(offline, ast.Constant) and offline.value is True), (
                ast.unparse(call)
            )
            if None in given and offline is None:
                assert '"local_files_only": True' in path.read_text("utf-8")
        if name_of(call) == "load" and ast.unparse(call.func) == "torch.load":
            assert path.name == CONVERTER, "pickles are read by the converter's own process only"
            assert ast.unparse(given["weights_only"]) == "True"
