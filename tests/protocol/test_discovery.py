"""Both sides find the same folder, and foreign or broken files are simply not found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from velatura.protocol.discovery import (
    Launch,
    Running,
    data_folder,
    read_launch,
    read_model_folders,
    read_running,
    read_token,
    write_model_folders,
)
from velatura.protocol.errors import LocalError


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"VELATURA_HOME": "/x", "HOME": "/home/ann"}, "linux", "/x"),
        ({"HOME": "/home/ann"}, "linux", "/home/ann/.local/share/velatura"),
        ({"HOME": "/home/ann", "XDG_DATA_HOME": "/data"}, "linux", "/data/velatura"),
        (
            {"HOME": "/home/ann", "XDG_DATA_HOME": "/sandbox", "FLATPAK_ID": "org.kde.krita"},
            "linux",
            "/home/ann/.local/share/velatura",
        ),
        ({"HOME": "/Users/ann"}, "darwin", "/Users/ann/Library/Application Support/Velatura"),
        ({"HOME": "/h", "LOCALAPPDATA": "/l"}, "win32", "/l/Velatura"),
    ],
)
def test_the_data_folder_follows_the_platform(environ, platform, folder):
    assert data_folder(environ, platform) == Path(folder)


def test_what_was_written_is_found(tmp_path):
    (tmp_path / "server.json").write_text('{"pid": 7, "host": "::1", "port": 80, "new": 1}')
    (tmp_path / "launch.json").write_text(json.dumps({"command": ["python", "-m", "x"]}))
    (tmp_path / "token").write_text("secret\n")
    assert read_running(tmp_path) == Running(pid=7, host="::1", port=80)
    assert read_running(tmp_path).url == "ws://[::1]:80"
    assert read_launch(tmp_path) == Launch(("python", "-m", "x"))
    assert read_token(tmp_path) == "secret"


def test_the_painters_model_folders_are_written_whole_and_read_back(tmp_path):
    folders = (Path("/a folder"), Path("C:/größer"))
    write_model_folders(tmp_path, folders)
    assert read_model_folders(tmp_path) == folders
    with pytest.raises(LocalError):
        write_model_folders(tmp_path, [Path("two\x00")])
    assert read_model_folders(tmp_path) == folders


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "7"}', '{"command": [3]}', "\xff"])
def test_a_broken_file_is_not_found(tmp_path, text):
    for name in ("server.json", "launch.json", "models.json"):
        (tmp_path / name).write_text(text, "latin-1")
    assert read_model_folders(tmp_path) == ()
    assert read_running(tmp_path) is None
    assert read_launch(tmp_path) is None
    assert read_token(tmp_path) is None
