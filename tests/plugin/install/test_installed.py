"""Receipts, the switch, going back, and removal of what was installed and of nothing else."""

from __future__ import annotations

import json

import pytest
from velatura.krita_plugin.install.installed import (
    KEPT,
    RECEIPT,
    go_back,
    installed,
    is_foreign,
    uninstall,
    used,
)
from velatura.krita_plugin.install.installer import Installer
from velatura.protocol.discovery import read_launch
from workshop import fake, make_payload, plan_for


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for name in ("models/a.safetensors", "results/r", "styles/s.toml", "settings.json", "token"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    return folder


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def put(tmp_path, home, data, version):
    payload = make_payload(tmp_path / version, version)
    return Installer(plan_for(payload, home), data, environ=fake()).install()


def test_the_newest_installation_is_used_and_the_one_before_stays(tmp_path, home, data):
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        new = put(tmp_path, home, data, version)
    assert [one.receipt.version for one in installed(home)] == ["3.0.0", "2.0.0"]
    assert used(data, home) == new


def test_going_back_starts_the_one_before_and_lets_go_of_the_new_one(tmp_path, home, data):
    put(tmp_path, home, data, "1.0.0")
    new = put(tmp_path, home, data, "2.0.0")
    assert go_back(data, home).receipt.version == "1.0.0"
    assert used(data, home).receipt.version == "1.0.0"
    assert not new.folder.exists()
    assert go_back(data, home) is None
    assert used(data, home).receipt.version == "1.0.0"


def test_the_same_version_again_is_repair_in_a_new_folder(tmp_path, home, data):
    first = put(tmp_path, home, data, "1.0.0")
    payload = make_payload(tmp_path / "again", "1.0.0")
    second = Installer(plan_for(payload, home), data, environ=fake()).install()
    assert second.folder != first.folder
    assert used(data, home) == second


@pytest.mark.parametrize(
    "spoil", ["half a receipt", "no receipt", "no python", "a foreign receipt"]
)
def test_what_is_half_installed_never_counts(tmp_path, home, data, spoil):
    one = put(tmp_path, home, data, "1.0.0")
    receipt = one.folder / RECEIPT
    if spoil == "half a receipt":
        receipt.write_text(receipt.read_text()[:30])
    elif spoil == "no receipt":
        receipt.unlink()
    elif spoil == "no python":
        (one.folder / "venv/bin/python").unlink()
    else:
        receipt.write_text(json.dumps({"version": 1}))
    assert installed(home) == []
    assert used(data, home) is None


def test_a_developers_own_server_is_foreign_and_stays(tmp_path, home, data):
    own = json.dumps({"command": ["/src/.venv/bin/python", "-m", "x"]})
    (data / "launch.json").write_text(own)
    assert is_foreign(data, home)
    uninstall(data, home, KEPT)
    assert (data / "launch.json").read_text() == own


@pytest.mark.parametrize("kept", [(), ("models",), ("models", "styles", "results", "settings")])
def test_uninstall_removes_the_server_and_keeps_what_was_wanted(tmp_path, home, data, kept):
    put(tmp_path, home, data, "1.0.0")
    assert uninstall(data, home, kept) == []
    assert not home.exists()
    assert read_launch(data) is None
    for what, names in {
        "models": "models/a.safetensors",
        "results": "results/r",
        "styles": "styles/s.toml",
        "settings": "settings.json",
    }.items():
        assert (data / names).exists() == (what in kept)


def test_what_others_put_into_the_folder_survives_uninstall(tmp_path, home, data):
    put(tmp_path, home, data, "1.0.0")
    (home / "my picture.kra").write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (home / "versions/link").symlink_to(outside)
    assert uninstall(data, home, KEPT) == []
    assert (home / "my picture.kra").read_text() == "mine"
    assert (outside / "precious").read_text() == "mine"


def test_a_folder_that_is_not_ours_is_left_alone(home, data):
    (home / "cache").mkdir(parents=True)
    (home / "python").mkdir()
    uninstall(data, home, KEPT)
    assert (home / "cache").is_dir()
    assert (home / "python").is_dir()
