"""What painters get: one zip a platform, complete, small, and the same from the same sources."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load_release():
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools/release.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["release"] = module
    spec.loader.exec_module(module)
    return module


release = load_release()


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    return release.build(tmp_path_factory.mktemp("dist"), cache=ROOT / ".cache/uv")


@pytest.fixture(scope="module")
def wheel_names(zips, tmp_path_factory):
    with zipfile.ZipFile(zips[0]) as archive:
        name = next(x for x in archive.namelist() if x.endswith(".whl"))
        path = archive.extract(name, tmp_path_factory.mktemp("wheel"))
    with zipfile.ZipFile(path) as wheel:
        return wheel.namelist()


def test_a_second_build_gives_the_same_bytes(zips, tmp_path):
    again = release.build(tmp_path, cache=ROOT / ".cache/uv")
    assert [x.name for x in again] == [x.name for x in zips]
    for one, other in zip(zips, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_each_platform_has_a_zip_below_ninety_megabytes_with_uv_for_it(zips):
    starts = {
        "linux-x86_64": b"\x7fELF",
        "windows-x86_64": b"MZ",
        "macos-arm64": b"\xcf\xfa\xed\xfe",
    }
    assert len(zips) == len(starts)
    for path in zips:
        assert path.stat().st_size <= 90_000_000
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("velatura/payload/release.json"))
            uv = archive.read("velatura/payload/" + about["uv"]["name"])
            wheel = archive.read("velatura/payload/" + about["wheel"]["name"])
            assert archive.namelist()[0] == "velatura/"
        assert path.stem.endswith(about["platform"])
        assert uv.startswith(starts[about["platform"]])
        assert hashlib.sha256(uv).hexdigest() == about["uv"]["sha256"]
        assert hashlib.sha256(wheel).hexdigest() == about["wheel"]["sha256"]


def test_the_starter_travels_once_and_its_training_not_at_all(zips, wheel_names):
    with zipfile.ZipFile(zips[0]) as archive:
        outside = archive.namelist()
    weights = "velatura/models/starter/unet/diffusion_pytorch_model.safetensors"
    assert wheel_names.count(weights) == 1
    assert not [name for name in outside if name.endswith(".safetensors")]
    assert not [x for x in wheel_names if "/starter/recipe/" in x or "/server/demo/" in x]


def test_the_wheel_holds_every_other_file_of_the_house(wheel_names):
    listed = subprocess.run(
        ["git", "ls-files", "--", *release._SOURCES],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    wanted = {
        f"velatura/{name}"
        for name in listed
        if not name.startswith(("models/starter/recipe/", "server/demo/"))
        and (ROOT / name).is_file()
    }
    assert wanted - set(wheel_names) == set()


def test_building_the_wheel_says_nothing(tmp_path):
    source = release.copy_sources(tmp_path / "source")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Warning" not in done.stdout + done.stderr
    assert "!!" not in done.stdout + done.stderr


def test_versions_that_belong_to_one_build_of_torch_are_not_pinned_for_the_others():
    kept = release.pinned(
        "numpy==2.4.6\nnvidia-nccl-cu13==2\ncuda-bindings==13\ntriton==3\ntorch==2\n"
    )
    assert kept == "numpy==2.4.6\ntorch==2\n"


def test_a_uv_of_another_hash_is_refused_and_said(tmp_path):
    wrong = release.Platform("linux-x86_64", "manylinux_2_17_x86_64", "0" * 64)
    with pytest.raises(release.ReleaseError, match=r"uv 0\.\d+\.\d+ for linux-x86_64 could not"):
        release.take_uv(wrong, tmp_path)
