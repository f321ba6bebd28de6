"""The plugin's zip and its installation, as files; tests/krita lets a real Krita load them."""

from __future__ import annotations

import ast
import base64
import importlib.metadata
import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
from velatura.server import plugin_package
from velatura.server.plugin_package import Krita, PackageError, build, enabled, find_kritas


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VELATURA_HOME", str(tmp_path / "velatura"))
    return tmp_path


def test_the_zip_holds_what_kritas_importer_looks_for(tmp_path):
    with zipfile.ZipFile(build(tmp_path / "deep/er/velatura.zip")) as archive:
        names = archive.namelist()
    assert "velatura/" in names
    assert "velatura/__init__.py" in names
    assert "velatura/_vendor/websockets/LICENSE" in names
    # One of each: the importer would offer a plugin twice otherwise.
    assert [n for n in names if n.endswith(".desktop")] == ["velatura.desktop"]
    assert [n for n in names if n.endswith(".action")] == ["actions/velatura.action"]
    assert not [n for n in names if n.endswith((".so", ".pyc", ".in", ".part"))]


def test_the_same_sources_make_the_same_zip(tmp_path):
    first, second = build(tmp_path / "a.zip"), build(tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()


def test_the_manual_brings_its_pictures_along():
    files = plugin_package.contents()
    sources = re.findall(rb'src="([^"]*)"', files["pykrita/velatura/manual.html"])
    pictures = [base64.b64decode(source.partition(b"base64,")[2]) for source in sources]
    assert pictures
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert not [path for path in files if path.endswith(".png")]


def test_everything_in_the_zip_parses_as_python_3_10():
    for path, data in plugin_package.contents().items():
        if path.endswith(".py"):
            ast.parse(data, path, feature_version=(3, 10))


def test_a_websockets_package_too_new_for_krita_is_refused(monkeypatch, tmp_path):
    newer = tmp_path / "websockets-17.4.dist-info"
    newer.mkdir()
    (newer / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: websockets\nVersion: 17.4\nRequires-Python: >=3.11\n"
    )
    found = importlib.metadata.Distribution.at(newer)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
    with pytest.raises(PackageError, match=r"websockets 17.4 needs Python >=3.11"):
        build(tmp_path / "velatura.zip")
    assert not list(tmp_path.glob("*.zip*"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"[python]\nenable_velatura=true\n"),
        (b"[a]\nb=1\n", b"[a]\nb=1\n\n[python]\nenable_velatura=true\n"),
        (
            b"[python]\nenable_x=true\nenable_velatura=false\n\n[z]\nenable_velatura=no\n",
            b"[python]\nenable_velatura=true\nenable_x=true\n\n[z]\nenable_velatura=no\n",
        ),
        (b"[python]\r\nk=\xff\r\n", b"[python]\r\nenable_velatura=true\r\nk=\xff\r\n"),
    ],
)
def test_enabling_changes_one_line_of_the_settings(before, after):
    assert enabled(before) == after
    assert enabled(after) == after


def test_krita_is_found_on_every_system():
    home = Path("/h")
    assert find_kritas({}, "linux", home) == [
        Krita("Krita", home / ".local/share/krita", home / ".config/kritarc"),
        Krita(
            "Krita, Flatpak",
            home / ".var/app/org.kde.krita/data/krita",
            home / ".var/app/org.kde.krita/config/kritarc",
        ),
    ]
    moved = {"XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "/config"}
    assert find_kritas(moved, "linux", home)[0] == Krita(
        "Krita", Path("/data/krita"), Path("/config/kritarc")
    )
    assert find_kritas({}, "darwin", home) == [
        Krita(
            "Krita",
            home / "Library/Application Support/krita",
            home / "Library/Preferences/kritarc",
        )
    ]
    windows = {"APPDATA": "/roaming", "LOCALAPPDATA": "/local"}
    assert find_kritas(windows, "win32", home) == [
        Krita("Krita", Path("/roaming/krita"), Path("/local/kritarc"))
    ]


def test_installing_reaches_every_krita_of_the_user_and_says_what_comes_next(home):
    for krita in find_kritas():
        krita.resources.mkdir(parents=True)
    sentences = plugin_package.install(launch=("python", "-m", "x"))
    for krita in find_kritas():
        assert (krita.resources / "pykrita/velatura/krita_plugin/plugin.py").is_file()
        assert (krita.resources / "pykrita/velatura.desktop").is_file()
        assert b"enable_velatura=true" in krita.settings.read_bytes()
        assert any(str(krita.resources) in sentence for sentence in sentences)
    assert any("Start Krita again" in sentence for sentence in sentences)
    launch = json.loads((home / "velatura/launch.json").read_text())
    assert launch == {"command": ["python", "-m", "x"]}


def test_installing_before_krita_ever_ran_uses_the_usual_folder_only(home):
    plugin_package.install()
    usual, flatpak = find_kritas()
    assert (usual.resources / "pykrita/velatura/__init__.py").is_file()
    assert not flatpak.resources.exists()


def test_installing_into_a_folder_of_ones_own_says_how_to_enable_it(home):
    sentences = plugin_package.install(home / "mine")
    assert (home / "mine/pykrita/velatura/__init__.py").is_file()
    assert any("Python Plugin Manager" in sentence for sentence in sentences)
    assert not (home / ".config").exists()


def test_installing_again_leaves_nothing_of_the_old_plugin_and_no_scraps(home):
    folder = home / "mine"
    plugin_package.install(folder)
    (folder / "pykrita/velatura/old.py").touch()
    plugin_package.install(folder)
    assert not (folder / "pykrita/velatura/old.py").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["actions", "pykrita"]


def test_a_folder_that_cannot_be_written_is_one_sentence(home):
    (home / "file").touch()
    with pytest.raises(PackageError, match="could not be written"):
        plugin_package.install(home / "file")
