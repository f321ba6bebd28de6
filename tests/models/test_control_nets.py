"""ControlNets on disk: which kind, which family, and their weights from every layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import make_net, make_sdxl
from diffusers import ControlNetModel, UNet2DConditionModel
from ldm import control_name, save_sparse
from safetensors.torch import save_file
from velatura.models.control_nets import UNION_MODES, Net, find_net, kind_in, load_net, serve
from velatura.models.errors import ModelError
from velatura.models.families.single import CONFIGS
from velatura.models.library import Library
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.models.weights import read_json
from velatura.protocol.messages import CONTROL_KINDS

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("control_v11p_sd15_canny", "canny"),
        ("control_v11p_sd15_lineart", "line"),
        ("control_v11p_sd15s2_lineart_anime_fp16", "line"),
        ("control_v11p_sd15_scribble", "scribble"),
        ("control_v11p_sd15_softedge", "soft_edge"),
        ("control_sd15_hed", "soft_edge"),
        ("control_v11f1p_sd15_depth_fp16", "depth"),
        ("diffusers_xl_depth_full", "depth"),
        ("control_v11p_sd15_normalbae", "normal"),
        ("control_v11p_sd15_openpose", "pose"),
        ("thibaud_xl_openpose", "pose"),
        ("control_v11p_sd15_seg", "segmentation"),
        ("control_v11p_sd15_mlsd", "straight"),
        ("control_v11f1e_sd15_tile", "tile"),
        ("control_v11p_sd15_inpaint", "inpaint"),
        ("my finished net", None),
        ("diffusion_pytorch_model", None),
        *((kind, kind) for kind in CONTROL_KINDS),
    ],
)
def test_the_names_that_nets_are_published_under_tell_their_kind(
    name: str, kind: str | None
) -> None:
    assert kind_in(name) == kind


def full_size(family: str, *, ldm: bool) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the family's full-size ControlNet."""
    config = UNet2DConditionModel.load_config(CONFIGS / family / "unet")
    with torch.device("meta"):
        net = ControlNetModel.from_unet(
            UNet2DConditionModel.from_config(config), load_weights_from_unet=False
        )
    names = net.state_dict()
    return {
        control_name(name, config) if ldm else name: tuple(tensor.shape)
        for name, tensor in names.items()
    }


@pytest.mark.parametrize("ldm", [True, False], ids=["original", "diffusers"])
@pytest.mark.parametrize(
    ("family", "width"), [("sd15", 768), ("sd2", 1024), ("sdxl", 2048)], ids=str
)
def test_a_full_size_file_is_known_by_the_shapes_in_its_header(
    family: str, width: int, ldm: bool, tmp_path: Path
) -> None:
    shapes = full_size(family, ldm=ldm)
    if ldm and family == "sd2":
        shapes = {name.removeprefix("control_model."): shape for name, shape in shapes.items()}
    path = save_sparse(tmp_path / "control_depth.safetensors", shapes)
    net = find_net(path, "control_depth")
    assert net == Net(path, ("depth",), (320, width))
    assert net.fits((320, 640, 1280, 1280, width))
    assert not net.fits((320, 640, 1280, 1280, 64))


def test_the_metadata_tell_the_kind_where_the_name_does_not(tmp_path: Path) -> None:
    shapes = full_size("sd15", ldm=True)
    path = save_sparse(tmp_path / "mine.safetensors", shapes)
    with pytest.raises(ModelError, match="put the kind into its name"):
        find_net(path, "mine")
    path = save_sparse(path, shapes, {"modelspec.title": "Soft Edge for all"})
    net = find_net(path, "mine")
    assert net is not None
    assert net.kinds == ("soft_edge",)


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        ("lora_controlnet", "Control-LoRA"),
        ("lllite_unet_input_blocks_4_1.down.0.weight", "LLLite"),
        ("adapter.body.0.in_conv.weight", "T2I-Adapter"),
    ],
)
def test_what_is_like_a_net_but_none_is_named(tensor: str, what: str, tmp_path: Path) -> None:
    path = save_sparse(tmp_path / "canny.safetensors", {tensor: (3,)})
    with pytest.raises(ModelError, match=what):
        find_net(path, "canny")


def test_a_file_that_is_no_net_says_what_it_looks_like(tmp_path: Path) -> None:
    path = save_sparse(tmp_path / "canny.safetensors", {"first_stage_model.a": (3,)})
    with pytest.raises(ModelError, match="no ControlNet but looks like a VAE"):
        find_net(path, "canny")


def a_net(kinds: tuple[str, ...], union: int = 0, name: str = "net") -> Net:
    return Net(Path(name), kinds, (4, 8), union)


def test_a_net_of_the_kind_itself_serves_before_others_and_a_union_serves_the_rest() -> None:
    line, union = a_net(("line", "canny", "scribble")), a_net(tuple(UNION_MODES), 8, "union")
    canny = a_net(("canny",), name="canny")
    served = serve([union, line, canny], (4, 6, 8))
    assert (served["canny"], served["line"], served["scribble"]) == (canny, line, line)
    assert set(served) == set(CONTROL_KINDS)
    assert served["pose"] == union


# --- weights ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    models = tmp_path_factory.mktemp("nets") / "models"
    make_tiny(models / "tiny")
    make_sdxl(models / "tiny xl")
    return models


def in_original_layout(net: Any) -> dict[str, torch.Tensor]:
    config = net.config
    # The original has no list of the blocks that go up.
    named = {**config, "up_block_types": [k.replace("Down", "Up") for k in config.down_block_types]}
    named["up_block_types"].reverse()
    return {
        control_name(name, named): tensor.contiguous() for name, tensor in net.state_dict().items()
    }


@pytest.mark.parametrize("layout", ["original", "diffusers", "union"])
def test_a_single_file_gives_the_same_net_as_its_folder(
    models: Path, layout: str, tmp_path: Path
) -> None:
    union = {"num_control_type": 8} if layout == "union" else {}
    unet = models / ("tiny xl" if union else "tiny") / "unet"
    net = make_net(unet, **union)
    tensors = in_original_layout(net) if layout == "original" else dict(net.state_dict())
    path = tmp_path / "control_canny.safetensors"
    save_file(tensors, path)
    found = find_net(path, "control_canny")
    assert found is not None
    assert found.union == (8 if union else 0)
    loaded = load_net(found, read_json(unet / "config.json"), CPU, torch.float32)
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not any(p.requires_grad for p in loaded.parameters())


def test_weights_of_another_size_are_one_sentence(models: Path, tmp_path: Path) -> None:
    tensors = dict(make_net(models / "tiny" / "unet").state_dict())
    tensors.pop("controlnet_mid_block.weight")
    path = tmp_path / "canny.safetensors"
    save_file(tensors, path)
    found = find_net(path, "canny")
    assert found is not None
    with pytest.raises(ModelError, match="does not load as a ControlNet") as caught:
        load_net(found, read_json(models / "tiny" / "unet" / "config.json"), CPU, torch.float32)
    assert caught.value.code == "unsupported"


def test_files_in_the_folder_for_nets_are_offered_by_kind_and_the_others_explained(
    models: Path,
) -> None:
    library = Library([models], starter=models / "no-starter")
    assert library.models()[0].controls == ("canny", "line", "scribble")
    folder = models / "controlnet"
    folder.mkdir()
    net = make_net(models / "tiny" / "unet")
    save_file(in_original_layout(net), folder / "control_v11p_depth.safetensors")
    save_file(in_original_layout(net), folder / "mine.safetensors")
    (folder / "pose.pth").write_bytes(b"")
    make_net(models / "tiny xl" / "unet", folder / "union", num_control_type=6)
    controls = {info.name: info.controls for info in library.models()}
    assert controls["tiny"] == ("canny", "line", "scribble", "depth")
    assert controls["tiny xl"] == tuple(
        kind for kind in CONTROL_KINDS if kind not in ("tile", "inpaint")
    )
    assert (
        library.snapshot().entry("tiny").control("depth").path.name
        == "control_v11p_depth.safetensors"
    )
    assert library.snapshot().entry("tiny xl").control("pose").union == 6
    assert isinstance(library.load_control("tiny", "depth", CPU, torch.float32), ControlNetModel)
    reasons = {one.name: one.reason for one in library.unusable()}
    assert "put the kind into its name" in reasons["mine"]
    assert "velatura convert" in reasons["pose.pth"]
    with pytest.raises(ModelError, match="it has: canny, line") as caught:
        library.snapshot().entry("tiny").control("tile")
    assert caught.value.code == "missing_weights"
