"""What a painter points to is recognised and read in place: ComfyUI, A1111, the Hub's cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ldm import full_size, save_sparse
from velatura.models.families import single
from velatura.models.items import Item, pick
from velatura.models.library import Library
from velatura.models.places import find_places, hub_folder
from velatura.models.starter.recipe.tiny import make_tiny


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    return full_size(single.CONFIGS / "sd15")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("made") / "tiny")


def library_of(*folders: Path) -> Library:
    return Library(folders, starter=Path("no-starter"))


def names(library: Library, kind: str = "") -> list[str]:
    if kind:
        return [item.name for item in library.snapshot().of_kind(kind) if not item.reason]
    return [info.name for info in library.models()]


def weights(*paths: Path) -> None:
    for path in paths:
        save_sparse(path, {"lora_unet_down.lora_up.weight": (4, 4)})


@pytest.mark.parametrize("start", ["", "models", "around"])
def test_a_comfyui_is_read_from_its_root_its_models_folder_or_its_package(
    tmp_path, shapes, tiny, start
):
    root = tmp_path / "package" / "ComfyUI"
    models = root / "models"
    save_sparse(models / "checkpoints" / "photo.safetensors", shapes)
    save_sparse(models / "checkpoints" / "anime" / "ink.safetensors", shapes)
    shutil.copytree(tiny, models / "diffusers" / "folder")
    weights(models / "loras" / "wash.safetensors", models / "embeddings" / "bad.safetensors")
    weights(models / "controlnet" / "lines.safetensors", models / "vae" / "vae.safetensors")
    library = library_of({"": root, "models": models, "around": root.parent}[start])
    assert names(library) == ["anime/ink", "photo", "folder"]
    assert names(library, "lora") == ["wash"]
    assert names(library, "embedding") == ["bad"]
    nets = library.snapshot().of_kind("controlnet")
    assert [net.name for net in nets] == ["lines"]
    # It is a weight file of no net at all.
    assert [one.name for one in library.unusable()] == ["lines"]
    assert library.snapshot().places[0].label == "ComfyUI"


@pytest.mark.parametrize("start", ["", "models"])
def test_an_a1111_is_read_with_what_lies_beside_its_models(tmp_path, shapes, start):
    root = tmp_path / "webui"
    save_sparse(root / "models" / "Stable-diffusion" / "photo.safetensors", shapes)
    weights(
        root / "models" / "Lora" / "ink" / "wash.safetensors",
        root / "models" / "ControlNet" / "lines.safetensors",
        root / "extensions" / "sd-webui-controlnet" / "models" / "depth.safetensors",
        root / "embeddings" / "bad.safetensors",
    )
    library = library_of(root / start)
    assert names(library) == ["photo"]
    assert names(library, "lora") == ["ink/wash"]
    assert names(library, "embedding") == ["bad"]
    nets = library.snapshot().of_kind("controlnet")
    assert sorted(net.name for net in nets) == ["depth", "lines"]
    assert library.snapshot().places[0].label == "A1111"


def test_comfyuis_extra_paths_are_read_where_it_reads_them(tmp_path, shapes, monkeypatch):
    comfy, other = tmp_path / "ComfyUI", tmp_path / "other"
    monkeypatch.setenv("OTHER", str(other))
    save_sparse(comfy / "models" / "checkpoints" / "own.safetensors", shapes)
    save_sparse(other / "models" / "Stable-diffusion" / "theirs.safetensors", shapes)
    weights(other / "models" / "Lora" / "a.safetensors", other / "LyCORIS" / "b.safetensors")
    (comfy / "extra_model_paths.yaml").write_text(
        """
a111:
    base_path: $OTHER
    checkpoints: models/Stable-diffusion
    loras: |
        models/Lora
        LyCORIS
    clip_vision: models/clip
nothing:
"""
    )
    assert names(library_of(comfy)) == ["own", "theirs"]
    alone = library_of(comfy / "extra_model_paths.yaml")
    assert names(alone) == ["theirs"]
    assert names(alone, "lora") == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch {mark}']",
        "a: [",
        "- a list",
        "[" * 5000,
        "a: \x00",
        "x" * 2_000_000,
    ],
    ids=["code", "broken", "list", "nested", "control", "large"],
)
def test_a_bad_extra_paths_file_is_one_sentence_and_runs_nothing(tmp_path, text):
    mark = tmp_path / "mark"
    path = tmp_path / "extra_model_paths.yaml"
    path.write_text(text.replace("{mark}", str(mark)))
    library = library_of(path)
    assert names(library) == []
    (reason,) = [other.reason for other in library.unusable()]
    assert reason.startswith("extra_model_paths.yaml ")
    assert reason.count(".") == 2
    assert not mark.exists()


def test_the_hubs_cache_lists_each_repositorys_current_revision(tmp_path, tiny):
    hub = tmp_path / "hub"
    repository = hub / "models--painter--tiny"
    for revision in ("old", "new"):
        shutil.copytree(tiny, repository / "snapshots" / revision)
    blobs = repository / "blobs"
    blobs.mkdir()
    # As the Hub's library keeps files: content apart, linked into the snapshot.
    for number, path in enumerate(sorted((repository / "snapshots" / "new").rglob("*.*"))):
        if path.is_file():
            shutil.move(path, blobs / str(number))
            path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("new")
    (hub / "models--someone--text" / "snapshots" / "1").mkdir(parents=True)
    for start in (hub, tmp_path):
        library = library_of(start)
        assert names(library) == ["painter/tiny"]
        assert library.snapshot().entry("painter/tiny").path.name == "new"
        assert library.unusable() == ()
    (repository / "refs" / "main").write_text("../../../..")
    assert library.snapshot().entry("painter/tiny").path.parent == repository / "snapshots"


def test_the_hubs_cache_is_where_its_library_keeps_it():
    assert hub_folder({"HF_HUB_CACHE": "/a"}) == Path("/a")
    assert hub_folder({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}) == Path("/b/hub")
    assert hub_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub")


def test_a_plain_folder_holds_models_in_it_and_other_kinds_in_folders_of_their_own(
    tmp_path, shapes
):
    save_sparse(tmp_path / "photo.safetensors", shapes)
    save_sparse(tmp_path / "anime" / "ink.safetensors", shapes)
    weights(tmp_path / "loras" / "wash.safetensors", tmp_path / "embeddings" / "bad.safetensors")
    library = library_of(tmp_path)
    assert names(library) == ["anime/ink", "photo"]
    assert names(library, "lora") == ["wash"]
    assert names(library, "embedding") == ["bad"]
    assert library.unusable() == ()


def test_folders_that_overlap_list_each_file_once_and_namesakes_apart(tmp_path, shapes):
    first, second = tmp_path / "first", tmp_path / "second"
    save_sparse(first / "photo.safetensors", shapes)
    save_sparse(second / "photo.safetensors", shapes)
    assert names(library_of(first, first, second)) == ["photo", "photo (second)"]


def test_links_lead_anywhere_in_the_folders_that_were_named_and_nowhere_else(tmp_path, shapes):
    comfy, drive = tmp_path / "ComfyUI", tmp_path / "drive"
    save_sparse(drive / "photo.safetensors", shapes)
    (comfy / "models" / "checkpoints").mkdir(parents=True)
    (comfy / "models" / "checkpoints" / "photo.safetensors").symlink_to(drive / "photo.safetensors")
    weights(drive / "loras" / "wash.safetensors")
    (comfy / "models" / "loras").symlink_to(drive / "loras")
    library = library_of(comfy)
    assert names(library) == names(library, "lora") == []
    assert "add the folder that they lie in" in library.unusable()[0].reason
    assert "outside the models folder" in library.snapshot().of_kind("lora")[0].reason
    assert names(library_of(comfy, drive)) == ["photo"]
    assert names(library_of(comfy, drive), "lora") == ["wash"]


def test_pickles_of_every_kind_are_listed_with_the_way_out(tmp_path):
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "bad.pt").write_bytes(b"\x80\x04")
    (item,) = library_of(tmp_path).snapshot().of_kind("embedding")
    assert (item.name, item.path.suffix) == ("bad.pt", ".pt")
    assert "velatura convert" in item.reason


def test_the_list_of_folders_may_change_while_it_is_used(tmp_path, shapes):
    folders: list[Path] = []
    library = Library(lambda: tuple(folders), starter=tmp_path / "no-starter")
    assert names(library) == []
    save_sparse(tmp_path / "models" / "photo.safetensors", shapes)
    folders.append(tmp_path / "models")
    assert names(library) == ["photo"]
    folders.clear()
    assert names(library) == []


def test_a_file_that_stays_the_same_is_read_once(tmp_path, shapes, monkeypatch):
    from velatura.models import library as module

    reads: list[Path] = []
    detect = module.detect
    monkeypatch.setattr(module, "detect", lambda path, unet: reads.append(path) or detect(path))
    save_sparse(tmp_path / "a.safetensors", shapes)
    library = library_of(tmp_path)
    assert names(library) == ["a"]
    before = library.snapshot().entry("a").stamp
    save_sparse(tmp_path / "b.safetensors", shapes)
    assert names(library) == ["a", "b"]
    assert [path.stem for path in reads] == ["a", "b"]
    assert library.snapshot().entry("a").stamp == before
    os.utime(tmp_path / "a.safetensors", (1, 1))
    assert library.snapshot().entry("a").stamp != before


def test_a_name_is_found_with_and_without_its_folder():
    def item(name: str) -> Item:
        return Item("lora", name, Path(name), "ours", Path())

    items = [item("ink/wash"), item("photo"), item("a/twin"), item("b/twin"), item("Wash")]
    assert pick(items, "Wash") == items[4]
    assert pick(items, "photo.safetensors") == items[1]
    assert pick(items, "PHOTO") == items[1]
    assert pick(items, "ink\\wash") == items[0]
    assert pick(items, "b/twin") == items[3]
    assert pick(items, "twin") is None
    assert pick(items, "../photo") is None


def test_a_place_that_is_not_there_is_empty(tmp_path):
    assert [place.folders for place in find_places(tmp_path / "nowhere")] == [()]
