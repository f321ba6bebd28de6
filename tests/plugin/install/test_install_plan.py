"""What Install will do is decided, and refused, before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from velatura.krita_plugin.install.machine import MACOS, WINDOWS, Machine
from velatura.krita_plugin.install.plan import MARK, check, home_of, make_plan
from velatura.krita_plugin.install.release import read_release
from velatura.krita_plugin.install.settings import InstallSettings
from velatura.krita_plugin.install.troubles import Trouble
from workshop import HERE, NOTHING, make_payload, plan_for


@pytest.fixture
def payload(tmp_path):
    return make_payload(tmp_path / "payload")


def test_without_a_choice_the_server_goes_into_velaturas_own_folder(payload, tmp_path):
    plan = make_plan(HERE, payload, read_release(payload), tmp_path / "data", InstallSettings())
    assert plan.home == tmp_path / "data/server"
    assert plan.build.device == "cpu"


def test_the_painters_device_wins_over_the_one_that_is_found(payload, tmp_path):
    settings = InstallSettings(device="amd")
    assert make_plan(HERE, payload, read_release(payload), tmp_path, settings).build.device == "amd"


def test_a_device_that_is_not_of_this_system_is_refused_by_its_field(payload, tmp_path):
    with pytest.raises(Trouble, match=r"device must be one of nvidia,.* not apple"):
        make_plan(HERE, payload, read_release(payload), tmp_path, InstallSettings(device="apple"))


def test_a_zip_of_another_platform_is_refused_with_the_right_ones_name(tmp_path):
    payload = make_payload(tmp_path / "payload", platform="windows-x86_64")
    with pytest.raises(Trouble, match="for windows-x86_64: get the one for linux-x86_64"):
        make_plan(HERE, payload, read_release(payload), tmp_path, InstallSettings())


def test_an_intel_mac_is_told_before_anything_else(payload, tmp_path):
    mac = Machine(MACOS, "x86_64", (13,), **NOTHING)
    with pytest.raises(Trouble, match="another computer"):
        make_plan(mac, payload, read_release(payload), tmp_path, InstallSettings())


def test_a_chosen_folder_that_holds_other_things_gets_a_folder_of_ours_in_it(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    assert home_of(tmp_path) == tmp_path / "velatura-server"


def test_an_empty_a_missing_and_our_own_folder_are_taken_as_they_are(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / MARK).touch()
    for name in ("empty", "missing", "ours"):
        assert home_of(tmp_path / name) == tmp_path / name


def test_a_path_that_is_not_whole_is_refused():
    with pytest.raises(Trouble, match="from its root"):
        home_of(Path("server"))


def test_too_little_room_is_said_with_both_numbers(payload, tmp_path):
    with pytest.raises(Trouble, match=r"GB are needed in .*, 10 MB are free") as caught:
        check(plan_for(payload, tmp_path / "home"), free=lambda folder: 10_000_000)
    assert caught.value.kind == "no_space"


def test_what_is_there_already_needs_no_room_again(payload, tmp_path):
    (tmp_path / "home/cache").mkdir(parents=True)
    check(plan_for(payload, tmp_path / "home"), free=lambda folder: 600_000_000)


def test_a_path_too_long_for_windows_is_refused_with_the_length_that_is_allowed(payload, tmp_path):
    with pytest.raises(Trouble, match=r"at most \d+ letters") as caught:
        check(plan_for(payload, tmp_path / ("x" * 90), WINDOWS))
    assert caught.value.kind == "too_long"


@pytest.mark.parametrize("name", ["uv", "velatura-1.0.0-py3-none-any.whl"])
def test_a_damaged_file_of_the_zip_is_found_before_it_is_used(payload, tmp_path, name):
    with (payload / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(Trouble, match="import the zip once more") as caught:
        check(plan_for(payload, tmp_path / "home"))
    assert caught.value.kind == "broken"


def test_a_folder_that_cannot_be_made_is_named(payload, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Trouble, match=str(tmp_path / "file/home")):
        check(plan_for(payload, tmp_path / "file/home"))


@pytest.mark.parametrize("name", ["../velatura.whl", "a/b", ".hidden", "a\\b"])
def test_a_release_whose_files_lie_elsewhere_is_none(payload, name):
    text = (payload / "release.json").read_text()
    escaped = name.replace("\\", "\\\\")
    (payload / "release.json").write_text(text.replace('"uv", "sha', f'"{escaped}", "sha'))
    assert '"name": "uv"' not in (payload / "release.json").read_text()
    assert read_release(payload) is None
