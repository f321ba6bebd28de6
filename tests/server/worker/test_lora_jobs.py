"""LoRAs that a prompt names, through a whole engine: the stock pipeline's pixels, and no residue."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_sdxl
from live_painting import Easel, opened
from lora_files import make_lora, make_word, parts_of
from painting import answers, ask, in_memory, make_tiny_engine, painted, results, scenery
from velatura.models.library import Library
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol.messages import Progress
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import JobError

SIDE = 64
# (file, form, what else): what lies beside each of the two models.
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "ink": ("kohya", {}),
    "chalk": ("peft", {"seed": 1, "alpha": 3.0}),
    "wash": ("original", {"seed": 2, "alpha": None, "only": "unet", "convolutions": True}),
    "voice": ("diffusers", {"seed": 3, "alpha": None, "only": "text"}),
}


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def folder(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "tiny"
    (make_tiny if request.param == "sd15" else make_sdxl)(folder)
    parts = parts_of(folder)
    for name, (form, more) in FILES.items():
        make_lora(folder / f"lora-{name}.safetensors", parts, form, **more)
    # Stock diffusers reads original names for one family only: it gets the same under its own.
    make_lora(folder / "twins" / "lora-wash.safetensors", parts, "peft", **FILES["wash"][1])
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return make_tiny_engine(folder)


def wanted(prompt: str, **more: Any) -> Any:
    return ask(
        scenery(SIDE, SIDE), **{"action": "generate", "guidance": 4.0, "prompt": prompt, **more}
    )


def stock(folder: Path, loras: dict[str, tuple[float, float]]) -> np.ndarray:
    """What diffusers paints with the LoRAs name -> (weight, weight in the text encoders)."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from velatura.models.samplers import make_scheduler

    is_xl = (folder / "text_encoder_2").is_dir()
    kind = StableDiffusionXLPipeline if is_xl else StableDiffusionPipeline
    pipeline = kind.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler("Euler", dict(pipeline.scheduler.config))
    for name in loras:
        twin = folder / "twins" / f"lora-{name}.safetensors"
        path = twin if twin.is_file() else folder / twin.name
        pipeline.load_lora_weights(path, adapter_name=name)
    if loras:
        weights = [
            {"unet": unet, "text_encoder": text, "text_encoder_2": text}
            for unet, text in loras.values()
        ]
        pipeline.set_adapters(list(loras), weights)
    return pipeline(
        "a red house",
        negative_prompt="night",
        width=SIDE,
        height=SIDE,
        num_inference_steps=4,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]


@pytest.mark.parametrize(
    ("marks", "loras"),
    [
        ("<lora:ink:0.8>", {"ink": (0.8, 0.8)}),
        ("<lora:chalk:1>", {"chalk": (1.0, 1.0)}),
        ("<lora:wash:-0.5>", {"wash": (-0.5, -0.5)}),
        ("<lora:voice:1.5>", {"voice": (1.5, 1.5)}),
        ("<lora:INK:0.3:0.6> <lora:chalk:0.5>", {"ink": (0.6, 0.3), "chalk": (0.5, 0.5)}),
    ],
)
def test_a_prompt_with_loras_gives_the_pixels_of_the_stock_pipeline(
    engine: Engine, folder: Path, marks: str, loras: dict[str, tuple[float, float]]
) -> None:
    request = wanted(f"a red house {marks}", negative="night", sampler="Euler")
    plain = wanted("a red house", negative="night", sampler="Euler")
    ours, theirs = painted(engine, request)[..., :3] / 255, stock(folder, loras)
    # Rounding to bytes, and the layout in memory (channels last) with the last bits of a sum.
    assert np.abs(ours - theirs).max() < 0.5 / 255 + 2e-4
    assert np.abs(painted(engine, plain)[..., :3] / 255 - ours).max() > 0.02


def test_the_same_request_gives_the_same_pixels_after_other_loras_and_none_stays(
    engine: Engine, folder: Path
) -> None:
    fresh = make_tiny_engine(folder)
    plain, inked = wanted("a red house"), wanted("a red house <lora:ink:0.8>")
    before = painted(fresh, plain)
    with_ink = painted(fresh, inked)
    for other in ("<lora:chalk:2>", "<lora:wash:1> <lora:ink:-1>", "<lora:voice:1>"):
        painted(fresh, wanted(f"a red house {other}"))
    assert (painted(fresh, inked) == with_ink).all()
    assert (painted(fresh, plain) == before).all()
    assert (before != with_ink).any()
    loaded = in_memory(fresh)
    for part in (loaded.unet, loaded.text_encoder, loaded.text_encoder_2):
        for module in () if part is None else part.modules():
            # transformers has hooks of its own.
            assert all("lora" not in hook.__module__ for hook in module._forward_hooks.values())


def test_new_weights_load_nothing_and_the_words_alone_choose(engine: Engine) -> None:
    painted(engine, wanted("a red house <lora:ink:0.8>"))
    messages = answers(engine, wanted("a blue boat <lora:ink:0.2>"))
    assert not [m for m in messages if isinstance(m, Progress) and m.stage == "loading"]


def test_a_lora_in_a_cancelled_or_failed_job_leaves_nothing(engine: Engine) -> None:
    before = painted(engine, wanted("a red house"))

    def stop(_: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        engine.run(wanted("a <lora:ink:2>", previews=True), stop, lambda: False)
    assert (painted(engine, wanted("a red house")) == before).all()


def test_each_variant_wears_what_its_own_seed_chose(engine: Engine) -> None:
    prompt = "a {<lora:ink:1>|<lora:chalk:1>|red} house"
    made = results(engine, wanted(prompt, seed=20, variants=4))
    assert len({str(one.recipe["addons"]) for one in made}) > 1
    for one in made:
        alone = results(engine, wanted(prompt, seed=one.seed))[0]
        assert alone.picture == one.picture
        assert alone.recipe["addons"] == one.recipe["addons"]


def test_the_recipe_names_what_was_worn(engine: Engine) -> None:
    (result,) = results(engine, wanted("a boat <lora:ink:0.5:0.75>"))
    (lora,) = result.recipe["addons"]
    assert (lora["name"], lora["weight"], lora["text_weight"]) == ("ink", 0.75, 0.5)
    assert len(lora["digest"]) == 16


def test_a_live_canvas_wears_it_too(engine: Engine) -> None:
    shown = []
    for prompt in ("a red house", "a red house <lora:ink:1>", "a red house <lora:wash:1>"):
        easel = Easel(opened(SIDE, SIDE, prompt=prompt), scenery(SIDE, SIDE), engine)
        easel.key()
        assert easel.paint() is not None
        shown.append(easel.shown.tobytes())
    assert len(set(shown)) == 3


def refused(engine: Engine, **more: Any) -> JobError:
    with pytest.raises(JobError) as caught:
        answers(engine, ask(scenery(SIDE, SIDE), **more))
    return caught.value


@pytest.fixture
def another(folder: Path, tmp_path: Path) -> Path:
    """The model, and beside it LoRAs that it cannot take."""
    made = Path(shutil.copytree(folder, tmp_path / "tiny"))
    from diffusers import UNet2DConditionModel

    config = {**UNet2DConditionModel.load_config(folder / "unet"), "cross_attention_dim": 768}
    config |= {"addition_embed_type": None}
    other = {"unet": UNet2DConditionModel.from_config(config)}
    make_lora(made / "lora-other.safetensors", other)
    (made / "lora-broken.safetensors").write_bytes(b"\x10" + bytes(40))
    whole = (made / "lora-ink.safetensors").read_bytes()
    (made / "lora-cut.safetensors").write_bytes(whole[:-100])
    make_word(made / "lora-word.safetensors", (32,))
    return made


@pytest.mark.parametrize(
    ("mark", "code", "said"),
    [
        ("<lora:Inc:1>", "missing_weights", "there is no LoRA 'Inc'; for tiny there are: ink"),
        (
            "<lora:other:1>",
            "unsupported",
            "LoRA 'other' is made for Stable Diffusion 1.5, and tiny",
        ),
        (
            "<lora:broken:1>",
            "unsupported",
            "LoRA 'broken': tiny/lora-broken.safetensors is broken (its header",
        ),
        ("<lora:word:1>", "unsupported", "LoRA 'word': it holds no LoRA"),
        ("<lora:../ink:1>", "missing_weights", "there is no LoRA '../ink'"),
    ],
)
def test_what_cannot_be_worn_is_refused_by_name_before_anything_is_loaded(
    another: Path, mark: str, code: str, said: str
) -> None:
    engine = make_tiny_engine(another)
    error = refused(engine, prompt=f"a boat {mark}")
    assert (error.code, error.field) == (code, "prompt")
    assert error.message.startswith(f"prompt: {said}")
    assert engine.loaded() == ()


def test_a_file_that_ends_early_is_refused_by_name_and_the_next_job_works(another: Path) -> None:
    engine = make_tiny_engine(another)
    error = refused(engine, prompt="a boat <lora:cut:1>")
    assert (error.code, error.field) == ("unsupported", "prompt")
    assert "LoRA 'cut'" in error.message
    assert painted(engine, wanted("a boat <lora:ink:1>")).any()


def test_a_changed_file_is_read_again(another: Path) -> None:
    engine = make_tiny_engine(another)
    before = painted(engine, wanted("a boat <lora:ink:1>"))
    make_lora(another / "lora-ink.safetensors", parts_of(another), rank=3, seed=9)
    assert (painted(engine, wanted("a boat <lora:ink:1>")) != before).any()


def test_it_leaves_memory_with_its_model(folder: Path) -> None:
    engine = make_tiny_engine(folder)
    painted(engine, wanted("a red house"))
    before = engine._shelf.held
    painted(engine, wanted("a red house <lora:ink:1> <lora:chalk:1>"))
    loras = [key for key in engine._shelf if key[0] == "lora"]
    assert len(loras) == 2
    assert engine._shelf.held > before
    engine._shelf.drop(next(key for key in engine._shelf if key[0] == "model"))
    assert engine._shelf.held == 0


def test_the_catalogue_names_what_each_model_takes(another: Path) -> None:
    catalogue = make_tiny_engine(another).catalogue()
    (model,) = catalogue.models
    fitting = [one.name for one in catalogue.addons if one.text_width == model.text_width]
    assert fitting == ["chalk", "ink", "voice", "wash"]
    (other,) = [one for one in catalogue.addons if one.text_width != model.text_width]
    assert (other.kind, other.name, other.family) == ("lora", "other", "sd15")


def test_the_starters_own_style_turns_its_pictures_blue() -> None:
    engine = Engine(Library([]), torch.device("cpu"), torch.float32, "this test's CPU")
    blue = []
    for mark in ("", " <lora:style-cyanotype:1>"):
        request = ask(
            scenery(128, 128),
            action="generate",
            model="starter",
            prompt=f"flat illustration of a house with a red roof on a meadow{mark}",
            steps=8,
            sampler="DPM++ 2M Karras",
            guidance=3.0,
        )
        picture = painted(engine, request).astype(float)
        blue.append((picture[..., 2] - picture[..., 0]).mean())
    assert blue[1] > blue[0] + 8, blue


def test_layers_without_a_place_are_left_out_and_told(another: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = another / "lora-ink.safetensors"
    more = {f"lora_unet_nowhere.lora_{way}.weight": torch.ones(2, 2) for way in ("down", "up")}
    save_file({**load_file(path), **more}, path)
    notes = {
        m.note
        for m in answers(make_tiny_engine(another), wanted("a boat <lora:ink:1>"))
        if isinstance(m, Progress)
    }
    assert any("1 of the" in note and "'ink'" in note for note in notes), notes


def notes_of(engine: Engine, prompt: str) -> str:
    messages = answers(engine, wanted(prompt))
    return " ".join({m.note for m in messages if isinstance(m, Progress)})


def test_what_a_file_holds_beside_its_loras_takes_part_or_is_told(another: Path) -> None:
    """Norms and a bundled embedding act; a form that is not known here is said to be left out."""
    from safetensors.torch import load_file, save_file

    plain = load_file(another / "lora-ink.safetensors")
    unet = parts_of(another)["unet"]
    norms = {
        f"lora_unet_{name.replace('.', '_')}.{role}": torch.randn(len(module.weight))
        for name, module in unet.named_modules()
        if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm))
        for role in ("w_norm", "b_norm")
    }
    encoders = [part for name, part in parts_of(another).items() if name != "unet"]
    keys = ("clip_l", "clip_g") if len(encoders) == 2 else ("emb_params",)
    rows = {
        f"bundle_emb.mychar.{key}": torch.randn(2, part.config.hidden_size)
        for key, part in zip(keys, encoders, strict=True)
    }
    end = ".lora_down.weight"
    layer = next(n for n, m in unet.named_modules() if n.endswith("attn2.to_q"))
    first = f"lora_unet_{layer.replace('.', '_')}"
    assert f"{first}{end}" in plain
    mixed = {key: value for key, value in plain.items() if not key.startswith(f"{first}.")}
    boft = {f"{first}.oft_blocks": torch.randn(1, 2, 4, 4)}
    unknown = {f"{first}.new_form.weight": torch.ones(2, 2)}
    half = len(unet.get_submodule(layer).weight) // 2
    oft = {f"{first}.oft_blocks": torch.randn(2, half, half)}
    for name, tensors in {
        "norms": {**plain, **norms},
        "bundle": {**plain, **rows},
        "without": mixed,
        "boft": {**mixed, **boft},
        "unknown": {**mixed, **unknown},
        "oft": {**mixed, **oft},
    }.items():
        save_file(tensors, another / f"lora-{name}.safetensors")
    engine = make_tiny_engine(another)
    shown = {}
    for name in ("ink", "norms", "bundle", "without", "boft", "unknown", "oft"):
        words = f"mychar, a boat <lora:{name}:1>"
        shown[name] = painted(engine, wanted(words)).tobytes()
        told = notes_of(engine, words)
        assert ("were left out" in told) == (name in ("boft", "unknown")), (name, told)
    assert shown["without"] == shown["boft"] == shown["unknown"]
    assert len({shown[name] for name in ("ink", "norms", "bundle", "without", "oft")}) == 5
    (result,) = results(engine, wanted("mychar, a boat <lora:bundle:1>"))
    assert [one["name"] for one in result.recipe["addons"]] == ["bundle", "mychar"]
    assert "embedding" in refused(engine, prompt="embedding:mychar <lora:ink:1>").message
