"""What uv is told, and how far it has come by what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from velatura.krita_plugin.install import uv
from velatura.krita_plugin.install.machine import WINDOWS
from velatura.krita_plugin.install.settings import Mirror
from workshop import make_payload, plan_for

TORCH = "https://download.pytorch.org/whl/cpu"


@pytest.fixture
def payload(tmp_path):
    return make_payload(tmp_path / "payload")


def test_everything_that_uv_writes_lies_in_the_chosen_folder(payload, tmp_path):
    home = tmp_path / "home"
    environ = uv.environment(plan_for(payload, home), {}, links=True)
    for name in ("UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "UV_CREDENTIALS_DIR"):
        assert Path(environ[name]).is_relative_to(home)
    assert environ["UV_PYTHON_INSTALL_BIN"] == "0"
    assert environ["UV_PYTHON_INSTALL_REGISTRY"] == "0"


def test_kritas_own_python_and_a_painters_own_uv_settings_stay_outside(payload, tmp_path):
    outside = {"PYTHONHOME": "/krita", "UV_PYTHON": "3.14", "VIRTUAL_ENV": "/x", "HTTPS_PROXY": "p"}
    environ = uv.environment(plan_for(payload, tmp_path), outside, links=True)
    assert not {"PYTHONHOME", "UV_PYTHON", "VIRTUAL_ENV"} & set(environ)
    assert environ["HTTPS_PROXY"] == "p"


def test_pytorchs_index_comes_before_those_that_the_environment_names(payload, tmp_path):
    environ = uv.environment(plan_for(payload, tmp_path), {"UV_INDEX": "https://nas/a"}, links=True)
    assert environ["UV_INDEX"] == f"{TORCH} https://nas/a"


def test_a_studios_mirror_replaces_every_public_address(payload, tmp_path):
    mirror = Mirror("https://nas/simple", "https://nas/torch", "https://nas/python.json")
    environ = uv.environment(plan_for(payload, tmp_path, mirror=mirror), {}, links=True)
    assert environ["UV_INDEX"] == "https://nas/torch"
    assert environ["UV_DEFAULT_INDEX"] == "https://nas/simple"
    assert environ["UV_PYTHON_DOWNLOADS_JSON_URL"] == "https://nas/python.json"
    assert "pytorch.org" not in str(environ)


def test_a_folder_on_the_network_is_enough_and_no_index_is_asked(payload, tmp_path):
    nas = tmp_path / "nas # 100 % ä"
    plan = plan_for(payload, tmp_path / "h", mirror=Mirror(str(nas), str(nas), str(nas)))
    environ, command = uv.environment(plan, {}, links=True), uv.install_packages(plan, tmp_path)
    assert "UV_INDEX" not in environ
    assert environ["UV_PYTHON_DOWNLOADS_JSON_URL"].endswith(
        "nas%20%23%20100%20%25%20%C3%A4/downloads.json"
    )
    assert "--no-index" in command
    assert command[command.index("--find-links") + 1] == str(nas)


def test_a_path_is_one_argument_however_it_is_spelled(payload, tmp_path):
    folder = tmp_path / 'a b #%ä "x"'
    command = uv.install_packages(plan_for(payload, folder), folder)
    assert str(folder / "venv/bin/python") in command


def test_where_files_cannot_have_two_names_they_are_copied(payload, tmp_path):
    assert uv.environment(plan_for(payload, tmp_path), {}, links=False)["UV_LINK_MODE"] == "copy"


def test_on_windows_the_interpreter_lies_where_windows_has_it(tmp_path):
    command = uv.launch_command(tmp_path, WINDOWS)
    assert command == [
        str(tmp_path / "venv/Scripts/python.exe"),
        "-m",
        "velatura.server.cli",
        "serve",
        "--port",
        "0",
    ]


def test_names_and_bytes_are_those_that_uv_says():
    coming = uv.Downloads(expected=500)
    assert coming.total == 500
    for line in ("Downloading torch (2.0KiB)", "Downloading numpy (1.0KiB)"):
        assert coming.hear(line)
    assert (coming.done, coming.total) == (0, 3072)
    coming.hear(" Downloaded numpy")
    assert (coming.name, coming.done) == ("torch", 1024)
    coming.hear(" Downloaded torch")
    assert coming.done == coming.total == 3072


def test_an_interpreter_counts_too():
    coming = uv.Downloads(0)
    coming.hear("Downloading cpython-3.11.7-linux-x86_64-gnu (download) (25.9MiB)")
    coming.hear(" Downloaded cpython-3.11.7-linux-x86_64-gnu (download)")
    assert coming.done == coming.total == int(25.9 * (1 << 20))


def test_between_two_files_the_disk_tells_and_never_says_that_it_is_done():
    coming = uv.Downloads(0)
    coming.hear("Downloading torch (1.0MiB)")
    seen = []
    for unpacked in (0, 500_000, 1_000_000, 900_000, 9_000_000):
        coming.grow(unpacked)
        seen.append(coming.done)
    assert seen == sorted(seen)
    assert 0 < seen[1] < seen[2] < coming.total
    assert seen[-1] < coming.total
