"""The library: names are keys, folders are read in place, broken files get one sentence."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from velatura.models.errors import ModelError
from velatura.models.library import Library
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.models.weights import check_safetensors, read_json
from velatura.protocol.errors import CODES
from velatura.protocol.messages import Catalogue, Error

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("made") / "tiny")


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A models folder with one model, "tiny"."""
    models = tmp_path / "models"
    shutil.copytree(made, models / "tiny")
    return models


@pytest.fixture
def library(folder, tmp_path) -> Library:
    return Library([folder], starter=tmp_path / "no-starter")


def load(library: Library, name: str = "tiny"):
    return library.load(name, CPU, torch.float32, lambda part, what: None)


def refused(library: Library, name: str = "tiny") -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(library, name)
    error = caught.value
    assert error.code in CODES
    # What goes over the wire must be a legal message: one line, no control characters.
    Error(code=error.code, message=error.message, field=error.field)
    assert "\n" not in error.message
    return error


def test_a_model_is_listed_with_what_the_catalogue_needs(library):
    (info,) = library.models()
    assert (info.name, info.family, info.native, info.largest) == ("tiny", "sd15", 64, 128)
    assert info.controls == ("canny", "line", "scribble")
    assert info.sampler in info.samplers
    Catalogue(models=library.models())


def test_the_starter_comes_first_by_its_folders_name(made, folder):
    library = Library([folder], starter=made.parent / "tiny")
    assert [info.name for info in library.models()] == ["tiny", "tiny (models)"]
    assert library.snapshot().entry("tiny").path == made.parent / "tiny"
    assert library.snapshot().entry("tiny (models)").path == folder / "tiny"


def test_a_small_vocabulary_is_described(library):
    (info,) = library.models()
    assert "boat" in info.words
    assert "<|startoftext|>" not in info.words


def test_listing_imports_no_torch(folder):
    code = (
        "import sys; from pathlib import Path; from velatura.models.library import Library;"
        f"assert Library([Path({str(folder)!r})]).models();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_changes_on_disk_appear_and_nothing_else_changes_the_list(library, folder, made):
    before = library.models()
    assert library.models() is before
    shutil.copytree(made, folder / "second")
    assert [info.name for info in library.models()] == ["second", "tiny"]
    shutil.rmtree(folder / "tiny")
    assert [info.name for info in library.models()] == ["second"]


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    library = Library([tmp_path / "nowhere"], starter=tmp_path / "no-starter")
    assert library.models() == ()
    assert refused(library).code == "unknown_model"


def test_loading_gives_every_part_and_the_controls(library):
    from diffusers import ControlNetModel

    loaded = load(library)
    assert loaded.name == "tiny"
    assert loaded.family.name == "sd15"
    net = library.load_control("tiny", "scribble", CPU, torch.bfloat16)
    assert isinstance(net, ControlNetModel)
    assert net.dtype == torch.bfloat16


def test_the_digest_is_of_the_weights_wherever_they_lie(library, folder, made, tmp_path):
    digest = load(library).digest
    assert len(digest) == 16
    (folder / "tiny").rename(folder / "renamed")
    assert load(library, "renamed").digest == digest
    os.utime(next((folder / "renamed" / "unet").glob("*.safetensors")))
    assert load(library, "renamed").digest == digest
    make_tiny(folder / "other", seed=1)
    assert load(library, "other").digest != digest


@pytest.mark.parametrize(
    "name",
    [
        "../tiny",
        "tiny/",
        "./tiny",
        "tiny/unet",
        "/etc/passwd",
        "..\\tiny",
        "\\\\host\\share\\tiny",
        "C:\\models\\tiny",
        "CON",
        "",
        "tiny\x00",
        "tiny\nand more",
        "controlnet",
        "x" * 100_000,
    ],
)
def test_a_name_is_a_key_and_never_a_path(library, name):
    assert refused(library, name).code == "unknown_model"


def test_an_absolute_path_of_a_real_model_is_no_name(library, folder):
    assert refused(library, str(folder / "tiny")).code == "unknown_model"


@pytest.mark.parametrize("link", ["model", "part", "file"])
def test_links_out_of_the_models_folder_are_not_followed(library, folder, made, link):
    target = folder / "tiny"
    inside = {"model": Path(), "part": Path("unet"), "file": Path("unet/config.json")}[link]
    if (target / inside).is_dir():
        shutil.rmtree(target / inside)
    else:
        (target / inside).unlink()
    (target / inside).symlink_to(made / inside)
    assert library.models() == ()
    assert "outside the models folder" in refused(library).message


def test_a_sibling_whose_name_begins_alike_is_outside(library, folder, made):
    sibling = folder.with_name(folder.name + "-private")
    shutil.copytree(made, sibling / "secret")
    (folder / "secret").symlink_to(sibling / "secret")
    assert [info.name for info in library.models()] == ["tiny"]


def test_a_link_to_a_model_is_the_same_model_under_the_first_of_its_names(library, folder):
    (folder / "alias").symlink_to(folder / "tiny")
    assert [info.name for info in library.models()] == ["alias"]


def test_a_link_to_itself_or_to_nothing_is_passed_over(library, folder):
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "gone").symlink_to(folder / "nowhere")
    (folder / "tiny" / "loop").symlink_to(folder / "tiny" / "loop")
    assert [info.name for info in library.models()] == ["tiny"]


def test_a_folder_whose_name_cannot_be_sent_is_unusable_and_named_on_one_line(library, folder):
    (folder / "tiny").rename(folder / "two\nlines")
    assert library.models() == ()
    assert "\n" not in library.unusable()[0].reason
    assert "name must be" in refused(library, "two\nlines").message


def test_out_of_memory_while_loading_is_torchs_own_error(library, monkeypatch):
    from diffusers import UNet2DConditionModel

    def full(*args, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", full)
    with pytest.raises(torch.OutOfMemoryError):
        load(library)


def test_pickled_weights_are_never_loaded_and_the_sentence_names_the_way_out(library, folder):
    unet = folder / "tiny" / "unet"
    next(unet.glob("*.safetensors")).unlink()
    torch.save({}, unet / "diffusion_pytorch_model.bin")
    assert library.models() == ()
    assert "velatura convert" in library.unusable()[0].reason
    assert "velatura convert" in refused(library).message


@pytest.mark.parametrize("name", ["old.ckpt", "old.pt", "old.bin"])
def test_a_pickle_in_the_models_folder_is_listed_with_the_way_out(library, folder, name):
    (folder / name).write_bytes(b"\x80\x04")
    assert f"velatura convert '{name}'" in refused(library, name).message


def test_a_folder_of_something_else_says_what_it_looks_like(library, folder):
    index = folder / "tiny" / "model_index.json"
    config = json.loads(index.read_text())
    config |= {"_class_name": "StableDiffusionXLPipeline", "text_encoder_2": ["transformers", "X"]}
    index.write_text(json.dumps(config))
    message = refused(library).message
    assert "StableDiffusionXLPipeline" in message
    assert "sd15" in message


def test_folders_that_are_no_models_are_passed_over(library, folder):
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("not a model")
    (folder / ".cache").mkdir()
    assert [info.name for info in library.models()] == ["tiny"]
    assert library.unusable() == ()


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, "\x00\xff", '{"_class_name": 1}'])
@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "vae/config.json"])
def test_a_broken_config_is_one_sentence_and_the_others_stay(library, folder, made, file, content):
    shutil.copytree(made, folder / "good")
    (folder / "tiny" / file).write_text(content)
    assert [info.name for info in library.models()] == ["good"]
    assert refused(library).code == "unsupported"
    assert load(library, "good").name == "good"


def test_an_index_that_names_a_shard_elsewhere_is_refused(library, folder):
    unet = folder / "tiny" / "unet"
    weights = next(unet.glob("*.safetensors"))
    weights.rename(folder / "elsewhere.safetensors")
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps(
            {"metadata": {}, "weight_map": {"conv_in.weight": "../../elsewhere.safetensors"}}
        )
    )
    assert "outside its folder" in refused(library).message


# --- controls -------------------------------------------------------------------------------------


def test_a_missing_control_says_what_is_there_and_where_to_put_one(library):
    with pytest.raises(
        ModelError, match="controlnet/ in your models folder, with depth in its name"
    ) as caught:
        library.load_control("tiny", "depth", CPU, torch.float32)
    assert caught.value.code == "missing_weights"
    assert "canny, line, scribble" in caught.value.message


def test_the_users_own_control_serves_its_kind_before_one_that_serves_it_too(library, folder):
    shutil.copytree(folder / "tiny" / "controlnet-line", folder / "controlnet" / "sd15" / "canny")
    shutil.copytree(folder / "tiny" / "controlnet-line", folder / "controlnet" / "sd15" / "depth")
    assert library.models()[0].controls == ("canny", "line", "scribble", "depth")
    shutil.rmtree(folder / "tiny" / "controlnet-line")
    assert library.models()[0].controls == ("canny", "depth")


def test_a_control_made_for_a_unet_of_another_shape_is_not_offered(library, folder):
    config = folder / "tiny" / "controlnet-line" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "cross_attention_dim": 768}))
    assert library.models()[0].controls == ()


# --- safetensors ----------------------------------------------------------------------------------


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(start: int, stop: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends early"),
        (b"\x00\x01", "ends early"),
        (struct.pack("<Q", 2**62), "ends early"),
        (safetensors(b"not json"), "not JSON"),
        (safetensors(b"[" * 100_000), "not JSON"),
        (safetensors([]), "not an object"),
        (safetensors({"a": 1}), "wrongly"),
        (safetensors({"a": tensor(0, 8, [1])}, bytes(8)), "wrongly"),
        (safetensors({"a": tensor(0, 4, [-1, -1])}, bytes(4)), "wrongly"),
        (safetensors({"a": tensor(0, 4, [1], "PICKLE")}, bytes(4)), "wrongly"),
        (safetensors({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, bytes(12)), "overlap"),
        (safetensors({"a": tensor(4, 8, [1])}, bytes(8)), "gaps"),
        (safetensors({"a": tensor(0, 8, [2])}, bytes(4)), "ends early"),
        (safetensors({"a": tensor(0, 4, [1])}, bytes(8)), "goes on"),
    ],
)
def test_a_broken_safetensors_file_is_refused_by_its_header(tmp_path, content, reason):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        check_safetensors(path)


def test_a_header_bomb_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**33))
        file.truncate(2**33 + 8)  # sparse: takes no room on disk
    with pytest.raises(ModelError, match="header is larger"):
        check_safetensors(path)


def test_a_config_bomb_is_refused_after_its_limit(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(ModelError, match="too large"):
        read_json(path)


def test_whole_files_pass(made):
    files = list(made.glob("*/*.safetensors"))
    assert len(files) >= 4
    for path in files:
        check_safetensors(path)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "controlnet-line"])
def test_a_download_cut_off_in_the_middle_is_one_sentence_and_the_next_load_works(
    library, folder, made, part
):
    path = next((folder / "tiny" / part).glob("*.safetensors"))
    os.truncate(path, path.stat().st_size - 1000)
    if part.startswith("controlnet"):
        with pytest.raises(ModelError, match="ends early"):
            library.load_control("tiny", "line", CPU, torch.float32)
    else:
        assert "ends early" in refused(library).message
    shutil.copy(made / part / path.name, path)
    assert load(library).name == "tiny"
    library.load_control("tiny", "line", CPU, torch.float32)
