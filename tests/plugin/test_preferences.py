"""What a painter set once is there at the next start, whatever became of the file."""

from __future__ import annotations

import json
import stat

import pytest
from velatura.krita_plugin import preferences
from velatura.krita_plugin.preferences import FILE, Preferences, load, save


def test_what_was_saved_is_loaded_and_only_the_user_may_read_it(tmp_path):
    folder = tmp_path / "new"
    save(folder, Preferences(history_mb=3, prompts=0))
    assert load(folder) == (Preferences(history_mb=3, prompts=0), "")
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600


def test_without_a_file_the_first_settings_are_used_in_silence(tmp_path):
    assert load(tmp_path) == (Preferences(), "")


def test_keys_of_another_version_stay(tmp_path):
    (tmp_path / FILE).write_text('{"later": [1], "prompts": 7}', "utf-8")
    assert load(tmp_path) == (Preferences(prompts=7), "")
    save(tmp_path, Preferences(history_mb=9))
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["later"] == [1]


@pytest.mark.parametrize("text", ["", "[]", '{"prompts"', "\x00", "\udcff"])
def test_a_broken_file_means_the_first_settings_and_one_sentence(tmp_path, text):
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    found, wrong = load(tmp_path)
    assert found == Preferences()
    assert wrong == "settings.json cannot be read: the first settings are used instead."
    save(tmp_path, Preferences(prompts=1))
    assert load(tmp_path) == (Preferences(prompts=1), "")


@pytest.mark.parametrize("number", [-1, preferences.MOST_HISTORY + 1, True, 1.5, "9", None])
def test_a_number_out_of_range_is_named_and_the_others_hold(tmp_path, number):
    (tmp_path / FILE).write_text(json.dumps({"history_mb": number, "prompts": 4}), "utf-8")
    found, wrong = load(tmp_path)
    assert found == Preferences(prompts=4)
    assert wrong == '"history_mb" in settings.json must be a whole number from 0 to 1024.'
