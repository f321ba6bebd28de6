"""LoRA and textual inversion files: told by their header, and their arithmetic by hand."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import put_unet
from ldm import save_sparse
from lora_files import make_lora, parts_of
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from velatura.models import lora_weights, loras
from velatura.models.addon import AddOn
from velatura.models.library import Library
from velatura.models.lora_changes import Change, make_turn
from velatura.models.lora_weights import load_lora, lora_applied, merge
from velatura.models.starter.recipe.tiny import make_tiny

KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
SELF = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
ORIGINAL = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
PEFT = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2"


def test_the_names_of_layers_are_read() -> None:
    for module in (loras, lora_weights):
        failed, tried = doctest.testmod(module)
        assert tried
        assert not failed


def look(tmp_path: Path, shapes, metadata=None, kind: str = "loras") -> AddOn:
    save_sparse(tmp_path / "models" / kind / "one.safetensors", shapes, metadata)
    (addon,) = Library([tmp_path / "models"], starter=tmp_path / "none").snapshot().addons
    return addon


@pytest.mark.parametrize(
    ("shapes", "metadata", "width"),
    [
        ({f"{KOHYA}.lora_down.weight": (8, 768), f"{KOHYA}.alpha": ()}, None, 768),
        ({f"{KOHYA}.lora_down.weight": (8, 1024)}, None, 1024),
        ({f"{ORIGINAL}.lora_down.weight": (8, 2048)}, None, 2048),
        ({f"{PEFT}.to_k.lora_A.weight": (8, 2048)}, None, 2048),
        ({f"{PEFT}.processor.to_v_lora.down.weight": (8, 768)}, None, 768),
        ({f"{KOHYA}.hada_w1_b": (4, 768), f"{KOHYA}.hada_w1_a": (320, 4)}, None, 768),
        ({f"{KOHYA}.lokr_w1": (8, 16), f"{KOHYA}.lokr_w2": (80, 48)}, None, 768),
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)}, None, 2048),
        (
            {"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 768)},
            None,
            768,
        ),
        (
            {"lora_unet_conv_in.lora_down.weight": (4, 4, 3, 3)},
            {"ss_base_model_version": "sdxl_base_v1-0"},
            2048,
        ),
        ({f"{SELF}.oft_blocks": (8, 40, 40)}, {"ss_v2": "True"}, 1024),
        ({f"{SELF.replace('_0_attn1', '_1_attn1')}.lora_down.weight": (1, 320)}, None, 2048),
        (
            {
                f"lora_unet_input_blocks_7_1_transformer_blocks_{n}_attn1_to_q.alpha": ()
                for n in (0, 9)
            },
            None,
            2048,
        ),
        ({"lora_unet_label_emb_0_0.lora_down.weight": (4, 2816)}, None, 2048),
        ({f"{KOHYA}.b1.weight": (4, 2048), f"{KOHYA}.b2.weight": (320, 4)}, None, 2048),
        ({f"{KOHYA}.b1.weight": (320, 4), f"{KOHYA}.b2.weight": (4, 768)}, None, 768),
        ({f"{KOHYA.replace('lora_unet', 'lycoris')}.diff": (320, 1024)}, None, 1024),
        ({f"{KOHYA}.lora_down.weight": (8, 768), f"{KOHYA}.dora_scale": (320, 1)}, None, 768),
    ],
)
def test_the_family_is_told_by_the_header_alone(tmp_path, shapes, metadata, width) -> None:
    addon = look(tmp_path, shapes, metadata)
    assert (addon.kind, addon.name, addon.text_width, addon.reason) == ("lora", "one", width, "")


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072)}, "for FLUX"),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 9)}, "for FLUX"),
        (
            {
                "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072),
                "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 768),
            },
            "for FLUX",
        ),
        ({"lycoris_transformer_blocks_0_attn_to_q.lokr_w1": (4, 4)}, "for a transformer model"),
        ({"diffusion_model.layers.0.attention.qkv.lora_A.weight": (4, 9)}, "a transformer model"),
        ({"lora_unet_conv_in.lora_down.weight": (4, 4, 3, 3)}, "it does not show which models"),
        ({f"{KOHYA}.oft_blocks": (8, 40, 40)}, "it is an OFT and does not show which models"),
        ({f"{KOHYA}.weight": (320, 1), f"{KOHYA}.on_input": ()}, "it is an IA3 and does not show"),
        (
            {f"{SELF}.dora_scale": (1, 320), f"{SELF}.lora_down.weight": (4, 320)},
            "it is a DoRA and",
        ),
        ({"first_stage_model.decoder.conv_in.weight": (4, 4)}, "holds no LoRA"),
    ],
)
def test_what_cannot_be_used_says_what_it_looks_like(tmp_path, shapes, said: str) -> None:
    assert said in look(tmp_path, shapes).reason


def test_embeddings_tell_their_width_too(tmp_path: Path) -> None:
    two = {"clip_l": (4, 768), "clip_g": (4, 1280)}
    assert look(tmp_path, two, kind="embeddings").text_width == 2048
    assert look(tmp_path, {"emb_params": (4, 768)}, kind="embeddings").text_width == 768
    assert (
        "no textual inversion" in look(tmp_path, {"a": (1, 2), "b": (3,)}, kind="embeddings").reason
    )


def test_lycoris_forms_are_what_their_papers_say() -> None:
    torch.manual_seed(0)
    linear, values = nn.Linear(6, 4, bias=False), torch.randn(2, 6)
    w1a, w2a, w1b, w2b = (
        torch.randn(4, 2),
        torch.randn(4, 2),
        torch.randn(2, 6),
        torch.randn(2, 6),
    )
    loha = Change({"hada_w1_a": w1a, "hada_w1_b": w1b, "hada_w2_a": w2a, "hada_w2_b": w2b}, 0.5)
    by_hand = 0.5 * (w1a @ w1b) * (w2a @ w2b)
    assert torch.allclose(loha.added(linear, values), values @ by_hand.T, atol=1e-5)
    one, two = torch.randn(2, 3), torch.randn(2, 2)
    lokr = Change({"lokr_w1": one, "lokr_w2": two}, 2.0)
    assert torch.allclose(
        lokr.added(linear, values), values @ (2 * torch.kron(one, two)).T, atol=1e-5
    )

    layer, picture = nn.Conv2d(3, 4, 3, padding=1, stride=2, bias=False), torch.randn(1, 3, 8, 8)
    down, mid, up = torch.randn(2, 3, 1, 1), torch.randn(2, 2, 3, 3), torch.randn(4, 2, 1, 1)
    tucker = Change({"down": down, "mid": mid, "up": up}, 1.0)
    whole = torch.einsum("or,rskl,si->oikl", up[..., 0, 0], mid, down[..., 0, 0])
    by_hand = functional.conv2d(picture, whole, stride=2, padding=1)
    assert torch.allclose(tucker.added(layer, picture), by_hand, atol=1e-4)
    assert torch.allclose(tucker.weight(layer), whole, atol=1e-5)


def test_every_other_form_is_what_its_paper_says() -> None:
    torch.manual_seed(0)
    layer, values = nn.Linear(6, 4), torch.randn(2, 6)
    weight = layer.weight.detach()

    def check(change: Change, by_hand: torch.Tensor, bias: float | torch.Tensor = 0.0) -> None:
        assert change.fits(layer)
        assert torch.allclose(change.added(layer, values), values @ by_hand.T + bias, atol=1e-5)
        assert torch.allclose(change.weight(layer), by_hand, atol=1e-5)

    diff, vector = torch.randn(4, 6), torch.randn(4)
    check(Change({"diff": diff, "diff_b": vector}, 1.0), diff, vector)
    check(Change({"diff_b": vector}, 1.0), torch.zeros(4, 6), vector)
    check(Change({"ia3": vector[:, None]}, 1.0), weight * vector[:, None])
    inputs = torch.randn(6)
    check(Change({"ia3": inputs[None], "on_input": torch.ones(())}, 1.0), weight * inputs)
    a1, a2, b1, b2 = torch.randn(2, 6), torch.randn(6, 2), torch.randn(2, 6), torch.randn(4, 2)
    made = 0.5 * (b2 @ b1 + weight @ a2 @ a1)
    check(Change({"a1": a1, "a2": a2, "b1": b1, "b2": b2}, 0.5), made)
    check(Change({"a1": a2, "a2": a1, "b1": b2, "b2": b1}, 0.5), made)
    down, up = torch.randn(2, 6), torch.randn(4, 2)
    both = {"down": down, "up": up}
    check(
        Change({**both, "diff": diff, "up_bias": vector}, 0.5), 0.5 * up @ down + diff, 0.5 * vector
    )

    whole = weight + 0.5 * up @ down
    for magnitude, norm in (
        (torch.rand(4, 1), whole.norm(dim=1, keepdim=True)),
        (torch.rand(1, 6), whole.norm(dim=0, keepdim=True)),
    ):
        by_hand = whole * magnitude / norm - weight
        check(Change({**both, "magnitude": magnitude}, 0.5), by_hand)


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_oft_turns_the_outputs_block_by_block_and_keeps_their_norms(limit: float) -> None:
    torch.manual_seed(1)
    layer, blocks = nn.Linear(6, 4, bias=False), torch.randn(2, 2, 2)
    turn = make_turn(blocks, limit)
    for one, block in zip(turn, blocks, strict=True):
        skew = block - block.T
        if limit:
            skew = skew * limit / (blocks - blocks.transpose(1, 2)).norm()
        cayley = (torch.eye(2) + skew) @ torch.linalg.inv(torch.eye(2) - skew)
        assert torch.allclose(one + torch.eye(2), cayley, atol=1e-5)
    made = layer.weight + Change({"turn": turn}, 1.0).weight(layer)
    assert torch.allclose(made[:2].norm(), layer.weight[:2].norm(), atol=1e-5)
    rotation = torch.block_diag(*(one + torch.eye(2) for one in turn))
    assert torch.allclose(made, rotation.T @ layer.weight, atol=1e-5)
    scaled = Change({"turn": turn, "rescale": torch.full((4, 1), 2.0)}, 1.0).weight(layer)
    assert torch.allclose(layer.weight + scaled, 2 * made, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.GroupNorm(2, 4), nn.LayerNorm(4)], ids=["group", "layer"])
def test_a_norms_weight_and_bias_change(layer: nn.Module) -> None:
    torch.manual_seed(2)
    values = torch.randn(3, 4, 4)
    weight, bias = torch.randn(4), torch.randn(4)
    change = Change({"w_norm": weight, "b_norm": bias}, 1.0)
    assert change.fits(layer)
    with torch.no_grad():
        beside = layer(values) + change.added(layer, values)
        layer.weight += weight
        layer.bias += bias
        assert torch.allclose(layer(values), beside, atol=1e-5)


def test_a_dora_by_peft_acts_as_in_peft() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(6, 4), nn.Conv2d(4, 5, 3, padding=1))
    layers = [(plain[0], torch.randn(2, 6)), (plain[1], torch.randn(2, 4, 5, 5))]
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["0", "1"], use_dora=True)
    with torch.no_grad():
        before = [layer(values) for layer, values in layers]
        theirs = inject_adapter_in_model(config, plain).eval()
        state = theirs.state_dict()
        for number, (layer, values) in enumerate(layers):
            theirs[number].lora_B.default.weight.normal_()
            magnitude = theirs[number].lora_magnitude_vector.default.weight
            magnitude *= 1.5
            change = Change(
                {
                    "down": state[f"{number}.lora_A.default.weight"],
                    "up": state[f"{number}.lora_B.default.weight"],
                    "magnitude": magnitude.flatten(),
                },
                1.5,
            )
            ours = before[number] + change.added(layer, values)
            assert torch.allclose(ours, theirs[number](values), atol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("loras") / "tiny")
    make_lora(folder / "lora-ink.safetensors", parts_of(folder), convolutions=True)
    return folder


def test_merged_into_the_weights_it_acts_as_beside_them(folder: Path) -> None:
    library = Library([], starter=folder)
    loaded = library.load("tiny", "cpu", torch.float32, lambda *_: None)
    lora = load_lora(library.snapshot().addons[0], loaded)
    inputs = (torch.randn(1, 4, 8, 8), 500, torch.randn(1, 5, 32))
    with torch.no_grad():
        plain = loaded.unet(*inputs).sample
        with lora_applied(loaded, [(lora, 0.7, 0.7)]):
            beside = loaded.unet(*inputs).sample
        assert torch.equal(loaded.unet(*inputs).sample, plain)
        merge(loaded.unet, [(lora, 0.7, 0.7)])
        merged = loaded.unet(*inputs).sample
    assert torch.allclose(merged, beside, atol=1e-4)
    assert not torch.allclose(merged, plain, atol=1e-2)


def test_a_rank_stabilised_lora_is_scaled_by_the_root_of_its_rank(folder: Path) -> None:
    # Kalajdzievski 2023: alpha / sqrt(rank), in place of alpha / rank.
    parts, loras = parts_of(folder), {}
    library = Library([], starter=folder)
    loaded = library.load("tiny", "cpu", torch.float32, lambda *_: None)
    for name, alpha, stabilised in (("rooted", 3.0, True), ("plain", 6.0, False)):
        path = folder / f"lora-{name}.safetensors"
        make_lora(path, parts, "peft", rank=4, alpha=alpha, rank_stabilised=stabilised)
        (addon,) = [one for one in library.snapshot().addons if one.path == path]
        loras[name] = load_lora(addon, loaded)
        path.unlink()
    inputs = (torch.randn(1, 4, 8, 8), 500, torch.randn(1, 5, 32))
    made = {}
    with torch.no_grad():
        plain = loaded.unet(*inputs).sample
        for name, lora in loras.items():
            with lora_applied(loaded, [(lora, 1.0, 1.0)]):
                made[name] = loaded.unet(*inputs).sample
    assert torch.allclose(made["rooted"], made["plain"], atol=1e-5)
    assert not torch.allclose(made["plain"], plain, atol=1e-2)


def test_a_unet_that_is_told_the_guidance_scale_takes_loras(folder: Path, tmp_path: Path) -> None:
    lcm = tmp_path / "lcm"
    shutil.copytree(folder, lcm)
    put_unet(lcm, time_cond_proj_dim=8)
    library = Library([], starter=lcm)
    loaded = library.load("lcm", "cpu", torch.float32, lambda *_: None)
    inputs = (torch.randn(1, 4, 8, 8), 500, torch.randn(1, 5, 32), None, torch.randn(1, 8))
    lora = load_lora(library.snapshot().addons[0], loaded)
    with torch.no_grad():
        plain = loaded.unet(*inputs).sample
        with lora_applied(loaded, [(lora, 1.0, 1.0)]):
            assert not torch.allclose(loaded.unet(*inputs).sample, plain, atol=1e-2)


def test_a_matrix_is_taken_where_the_model_has_a_convolution_of_one_pixel(folder: Path) -> None:
    library = Library([], starter=folder)
    loaded = library.load("tiny", "cpu", torch.float32, lambda *_: None)
    name = "down_blocks.2.attentions.0.proj_in"
    layer = loaded.unet.get_submodule(name)
    down, up = torch.randn(2, layer.weight.shape[1]), torch.randn(layer.weight.shape[0], 2)
    key = f"lora_unet_{name.replace('.', '_')}"
    path = folder / "lora-flat.safetensors"
    save_file({f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}, path)
    (addon,) = [one for one in library.snapshot().addons if one.path == path]
    # Such a file shows no width: the job would refuse it, the loader need not.
    lora = load_lora(addon, loaded)
    path.unlink()
    assert list(lora.changes["unet"]) == [name]
