"""One look at the disk: what it found stays as it is, and a job pays for the folders alone."""

from __future__ import annotations

import os
import struct
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from velatura.models.library import Library

FILES, FOLDERS = 2430, 30
_EMPTY = struct.pack("<Q", 2) + b"{}"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with 2,430 LoRAs in 30 sub-folders; none of them is any good."""
    root = tmp_path_factory.mktemp("models")
    for number in range(FILES):
        folder = root / "loras" / f"shelf {number % FOLDERS}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.safetensors").write_bytes(_EMPTY)
    return root


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every folder whose content is listed from now on."""
    seen: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": seen.append(str(path)) or scandir(path))
    return seen


def test_the_latest_snapshot_lists_no_folder_until_one_changes(
    many: Path, scans: list[str]
) -> None:
    library = Library([many], starter=many / "none")
    first = library.snapshot()
    assert len(first.addons) == FILES
    scans.clear()
    assert library.latest() is first
    assert scans == []
    (many / "loras" / "shelf 3" / "new.safetensors").write_bytes(_EMPTY)
    assert len(library.latest().addons) == FILES + 1
    assert len(scans) <= 3 * (FOLDERS + 8), "one look lists each folder a few times, no file"
    (many / "loras" / "shelf 3" / "new.safetensors").unlink()


def test_a_snapshot_does_not_change_while_the_disk_does(many: Path) -> None:
    library = Library([many], starter=many / "none")
    before = library.snapshot()
    names = [addon.name for addon in before.addons]
    (many / "loras" / "late.safetensors").write_bytes(_EMPTY)
    assert library.snapshot() is not before
    assert [addon.name for addon in before.addons] == names
    (many / "loras" / "late.safetensors").unlink()
    with pytest.raises(FrozenInstanceError):
        before.addons = ()  # type: ignore[misc]


def test_a_file_of_equal_size_and_time_in_anothers_place_is_seen(many: Path) -> None:
    path = many / "loras" / "shelf 0" / "0.safetensors"
    library = Library([many], starter=many / "none")
    before = next(addon for addon in library.snapshot().addons if addon.path == path)
    status = path.stat()
    path.with_suffix(".part").write_bytes(_EMPTY)
    os.utime(path.with_suffix(".part"), ns=(status.st_atime_ns, status.st_mtime_ns))
    path.with_suffix(".part").replace(path)
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert before.changed
    after = next(addon for addon in library.snapshot().addons if addon.path == path)
    assert after.stamp != before.stamp
