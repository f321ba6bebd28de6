"""A job looks at the disk once, however many variants, and paints with what is there now."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from painting import ask, engine_with, results, scenery
from velatura.models.starter.recipe.tiny import make_tiny


def test_a_job_lists_no_folder_that_has_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny(tmp_path / "tiny")
    engine = engine_with(tmp_path)
    engine.catalogue()
    request = ask(scenery(64, 64), action="generate", steps=1, variants=4)
    results(engine, request)  # whatever is loaded is loaded
    scans: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": scans.append(str(path)) or scandir(path))
    assert len(results(engine, request)) == 4
    its_own = [path for path in scans if Path(path).is_relative_to(tmp_path / "tiny")]
    assert scans == its_own, "the models folder was walked"
    assert len(scans) == len(set(scans)), "a folder was listed twice for one job"


def test_weights_that_were_written_over_in_their_place_are_what_paints(tmp_path: Path) -> None:
    make_tiny(tmp_path / "tiny")
    make_tiny(tmp_path / "elsewhere" / "other", seed=1)
    engine = engine_with(tmp_path)
    request = ask(scenery(64, 64), action="generate", steps=1)
    before = results(engine, request)[0].picture
    unet = next((tmp_path / "tiny" / "unet").glob("*.safetensors"))
    other = tmp_path / "elsewhere" / "other" / "unet" / unet.name
    with other.open("rb") as source, unet.open("r+b") as target:
        shutil.copyfileobj(source, target)
    assert results(engine, request)[0].picture != before
