"""What a painter set once is there at the next start, whatever became of the file."""

from __future__ import annotations

import json
import stat

import pytest
from velatura.krita_plugin.preferences import FILE, Preferences, load, save
from velatura.krita_plugin.servers import HERE, Server
from velatura.krita_plugin.state import LAYER
from velatura.protocol.errors import LocalError

STUDIO = Server("a1b2c3d4", "studio", "10.0.0.2:7900", "secret")
ALL = Preferences(3, 0, 2, 8, LAYER, 60, 30, (STUDIO,), STUDIO.id)
NAMES = tuple(Preferences.__dataclass_fields__)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_loaded_and_only_the_user_may_read_it(tmp_path):
    folder = tmp_path / "new"
    save(folder, ALL, NAMES)
    assert load(folder) == (ALL, "")
    assert ALL.chosen == STUDIO
    assert names_in(folder) == [FILE]
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600


def test_without_a_file_the_first_settings_are_used_in_silence(tmp_path):
    assert load(tmp_path) == (Preferences(), "")
    assert Preferences().chosen is HERE


def test_only_what_was_changed_is_written(tmp_path):
    save(tmp_path, Preferences(servers=(STUDIO,)), ["servers"])
    save(tmp_path, Preferences(history_mb=9), ["history_mb"])  # by a window that knew no server
    assert load(tmp_path) == (Preferences(history_mb=9, servers=(STUDIO,)), "")


def test_keys_of_another_version_stay(tmp_path):
    (tmp_path / FILE).write_text('{"later": [1], "prompts": 7}', "utf-8")
    assert load(tmp_path) == (Preferences(prompts=7), "")
    save(tmp_path, Preferences(history_mb=9), ["history_mb"])
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["later"] == [1]


BROKEN = [b"", b"[]", b'{"prompts"', b"\x00", b"\xff", b"[" * 200_000]


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_kept_aside_and_the_first_settings_are_used(tmp_path, data):
    (tmp_path / FILE).write_bytes(data)
    found, wrong = load(tmp_path)
    assert found == Preferences()
    kept = "settings.broken-1.json"
    assert wrong == f"settings.json is damaged: it is kept as {kept}, and first settings are used."
    assert (tmp_path / kept).read_bytes() == data
    assert load(tmp_path) == (Preferences(), "")
    save(tmp_path, Preferences(prompts=1), ["prompts"])
    assert load(tmp_path) == (Preferences(prompts=1), "")


def test_no_broken_file_replaces_another(tmp_path):
    for data in ("one", "two"):
        (tmp_path / FILE).write_text(data)
        load(tmp_path)
    (tmp_path / FILE).write_text("three")
    save(tmp_path, Preferences(prompts=1), ["prompts"])  # broken while Krita ran
    kept = [(tmp_path / f"settings.broken-{n}.json").read_text() for n in (1, 2, 3)]
    assert kept == ["one", "two", "three"]
    assert load(tmp_path) == (Preferences(prompts=1), "")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        *(("history_mb", x, "a whole number from 0 to 1024") for x in (-1, 1025, True, 1.5, "9")),
        ("refine_selection", 100, "a whole number from 1 to 99"),
        ("soft_edge", -1, "a whole number from 0 to 512"),
        ("paint_from", "here", "one of auto, visible, layer"),
        ("servers", {}, "a list of at most 64"),
        ("servers", [{"id": "a1b2c3d4"}] * 2, "must each have another id"),
        ("servers", [{"id": ""}], "must each have another id"),
        ("servers", [{"id": "../../etc"}], "servers[0].id must be text of 0 to 8 characters"),
        ("servers", [{"id": "../a1234"}], "servers[0].id must be eight digits 0-9, a-f"),
        ("servers", [{"id": "a1b2c3d4", "name": "\x00"}], "servers[0].name must be text"),
    ],
)
def test_a_value_out_of_range_is_named_the_others_hold_and_the_file_is_kept(
    tmp_path, field, value, allowed
):
    text = json.dumps({field: value, "prompts": 4, "later": 1})
    (tmp_path / FILE).write_text(text, "utf-8")
    found, wrong = load(tmp_path)
    assert found == Preferences(prompts=4)
    assert wrong.startswith(f"In settings.json, {field}")
    assert allowed in wrong
    assert wrong.endswith(": the file as it was is kept as settings.broken-1.json.")
    assert (tmp_path / "settings.broken-1.json").read_text("utf-8") == text
    assert load(tmp_path) == (Preferences(prompts=4), "")
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["later"] == 1


def test_a_folder_in_the_files_place_is_said_and_not_touched(tmp_path):
    (tmp_path / FILE).mkdir()
    found, wrong = load(tmp_path)
    assert found == Preferences()
    assert wrong.startswith("settings.json cannot be read (")
    with pytest.raises(OSError, match="directory"):
        save(tmp_path, Preferences(), ["prompts"])


def test_a_server_that_is_gone_leaves_this_computers(tmp_path):
    assert Preferences(server="b1b2c3d4", servers=(STUDIO,)).chosen is HERE


def test_values_are_checked_wherever_they_come_from():
    with pytest.raises(LocalError, match=r"variants must be a whole number from 0 to 8\."):
        Preferences(variants=9)
