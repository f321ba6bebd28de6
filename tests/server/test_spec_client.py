"""SPEC.md is complete: a client written from it alone paints a picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from velatura.models.starter.recipe.tiny import make_tiny

CLIENT = Path(__file__).parent / "spec_client.py"


def run_client(folder: Path, out: Path) -> None:
    subprocess.run([sys.executable, CLIENT, folder, "a house", out], check=True, timeout=120)


def test_it_uses_nothing_of_ours():
    assert "velatura." not in CLIENT.read_text().replace("velatura.v1", "").replace(
        "velatura.token.", ""
    )


def test_it_paints_through_the_instant_engine(server, tmp_path):
    run_client(server.folder, tmp_path / "out.ppm")
    header, pixels = (tmp_path / "out.ppm").read_bytes().split(b"255\n", 1)
    assert header == b"P6 96 64 "
    assert len(pixels) == 96 * 64 * 3


@pytest.mark.slow
def test_it_paints_through_the_real_engine(make_server, tmp_path):
    make_tiny(tmp_path / "models" / "tiny")
    server = make_server(
        worker=[sys.executable, "-m", "velatura.server.worker.host.process"],
        models=[str(tmp_path / "models")],
    )
    run_client(server.folder, tmp_path / "out.ppm")
    header, pixels = (tmp_path / "out.ppm").read_bytes().split(b"255\n", 1)
    assert header == b"P6 96 64 "
    assert len(set(pixels)) > 50  # something was painted, not one colour
