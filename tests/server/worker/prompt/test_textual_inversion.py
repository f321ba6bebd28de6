"""Textual inversions and clip skip: what the encoders hear, and that nothing of them stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import make_sd15, make_sdxl
from lora_files import make_word
from painting import answers, ask, painted, results, scenery
from safetensors.torch import load_file, save_file
from velatura.models.families.base import Loaded
from velatura.models.library import Library
from velatura.protocol.messages import Progress
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import JobError
from velatura.server.worker.prompt.encode import embed
from velatura.server.worker.prompt.language import parse
from velatura.server.worker.prompt.textual_inversion import Inversions, load_inversion
from velatura.server.worker.residency.addons import skipped

SIDE = 64
WIDTHS = {"sd15": (768,), "sdxl": (32, 32)}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Two models and a folder of embeddings beside them, as A1111 and ComfyUI have it."""
    models = tmp_path_factory.mktemp("words") / "models"
    make_sd15(models / "sd15", num_hidden_layers=3)
    make_sdxl(models / "sdxl")
    make_word(models / "embeddings" / "Old-Ink.safetensors", (768,))
    make_word(models / "embeddings" / "styles" / "chalk.safetensors", (768,), 1, "<chalk>")
    make_word(models / "embeddings" / "dusk.safetensors", (32, 32))
    (models / "embeddings" / "pickled.pt").write_bytes(b"\x80")
    return models


@pytest.fixture(scope="module")
def library(models: Path) -> Library:
    return Library([models], starter=models / "none")


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, torch.device("cpu"), torch.float32, "this test's CPU")


def load(library: Library, name: str) -> Loaded:
    return library.load(name, "cpu", torch.float32, lambda *_: None)


def word(library: Library, loaded: Loaded, name: str) -> Inversions:
    addons = library.snapshot().addons
    (addon,) = [one for one in addons if one.name == name]
    return Inversions(
        addons, addon.text_width, {addon: load_inversion(addon, loaded.denoiser.text.widths)}
    )


def wanted(prompt: str, **more: Any) -> Any:
    return ask(
        scenery(SIDE, SIDE),
        **{"model": "sd15", "action": "generate", "steps": 2, "prompt": prompt, **more},
    )


def test_an_inversion_says_what_the_stock_pipeline_hears(library: Library, models: Path) -> None:
    from diffusers import StableDiffusionPipeline

    loaded = load(library, "sd15")
    ours = embed(parse("a red old-ink house"), loaded, words=word(library, loaded, "Old-Ink"))
    stock = StableDiffusionPipeline.from_pretrained(models / "sd15", local_files_only=True)
    stock.load_textual_inversion(models / "embeddings" / "Old-Ink.safetensors", token="oldink")
    theirs, _ = stock.encode_prompt("a red oldink house", "cpu", 1, False)
    assert torch.allclose(ours.embeddings, theirs, atol=1e-6)
    assert not torch.allclose(ours.embeddings, embed(parse("a red house"), loaded).embeddings)


def test_both_encoders_hear_their_part_of_it(library: Library, models: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    loaded = load(library, "sdxl")
    ours = embed(parse("a red dusk house"), loaded, words=word(library, loaded, "dusk"))
    stock = StableDiffusionXLPipeline.from_pretrained(models / "sdxl", local_files_only=True)
    rows = load_file(models / "embeddings" / "dusk.safetensors")
    for name, encoder, tokenizer in (
        ("clip_l", stock.text_encoder, stock.tokenizer),
        ("clip_g", stock.text_encoder_2, stock.tokenizer_2),
    ):
        stock.load_textual_inversion(
            rows[name], token="dusk9", text_encoder=encoder, tokenizer=tokenizer
        )
    theirs, _, pooled, _ = stock.encode_prompt(
        "a red dusk9 house", do_classifier_free_guidance=False
    )
    assert torch.allclose(ours.embeddings, theirs, atol=1e-6)
    assert torch.allclose(ours.pooled, pooled, atol=1e-6)


def test_only_a_prompt_that_names_it_has_it_and_nothing_stays(engine: Engine) -> None:
    plain = painted(engine, wanted("a red house"))
    named = painted(engine, wanted("a red old-ink house"))
    assert (plain != named).any()
    assert (painted(engine, wanted("a red (embedding:OLD-INK) house")) != plain).any()
    assert (painted(engine, wanted("a red house", negative="chalk")) != plain).any()
    assert (painted(engine, wanted("a red house")) == plain).all()
    (result,) = results(engine, wanted("chalk, old-ink"))
    assert {one["name"] for one in result.recipe["addons"]} == {"styles/chalk", "Old-Ink"}


def test_weights_and_chunks_treat_it_as_its_tokens(library: Library) -> None:
    loaded = load(library, "sd15")
    words = word(library, loaded, "Old-Ink")
    room = loaded.tokenizer.model_max_length - 2
    long = embed(parse("red " * (room - 1) + "old-ink"), loaded, words=words).embeddings
    chunks = long.split(room + 2, dim=1)
    assert len(chunks) == 2
    # It is not cut in two: all of its three tokens stand in the second chunk.
    assert torch.equal(chunks[1], embed(parse("old-ink"), loaded, words=words).embeddings)
    heavy = embed(parse("(old-ink:1.5)"), loaded, words=words).embeddings
    assert not torch.equal(heavy, chunks[1])


@pytest.mark.parametrize(
    ("prompt", "code", "said"),
    [
        ("embedding:dusk", "unsupported", "embedding 'dusk' is made for"),
        ("embedding:nothing", "missing_weights", "there is no embedding 'nothing'; for sd15"),
        ("embedding:pickled", "unsupported", "is a pickle"),
    ],
)
def test_one_named_as_such_that_cannot_be_read_is_refused(
    engine: Engine, prompt: str, code: str, said: str
) -> None:
    with pytest.raises(JobError) as caught:
        answers(engine, wanted("a boat", negative=prompt))
    assert (caught.value.code, caught.value.field) == (code, "negative")
    assert said in caught.value.message


def test_one_of_another_family_is_read_as_words_and_told(engine: Engine) -> None:
    notes = {m.note for m in answers(engine, wanted("a boat at dusk")) if isinstance(m, Progress)}
    assert any("'dusk' is an embedding for" in note for note in notes), notes


def test_rows_of_another_width_are_one_sentence(models: Path, tmp_path: Path) -> None:
    made = Path(shutil.copytree(models, tmp_path / "models"))
    # Together as wide as the model's, each of them not.
    rows = {"clip_l": torch.ones(1, 24), "clip_g": torch.ones(1, 40)}
    save_file(rows, made / "embeddings" / "odd.safetensors")
    library = Library([made], starter=made / "none")
    engine = Engine(library, torch.device("cpu"), torch.float32, "this test's CPU")
    with pytest.raises(JobError) as caught:
        answers(engine, wanted("odd", model="sdxl"))
    assert caught.value.message.startswith("prompt: embedding 'odd': its rows hold 24 values")


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_clip_skip_counts_as_a1111_does(library: Library, name: str) -> None:
    """By hand: the layers one after the other, then the last norm where the family has it."""
    loaded = load(library, name)
    outputs: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: outputs.append(out))
        for layer in loaded.text_encoder.encoder.layers
    ]
    made = {
        count: embed(parse("a red house"), loaded, skip=skipped(count, loaded)).embeddings
        for count in (1, 2)
    }
    for hook in hooks:
        hook.remove()
    layers = outputs[: len(loaded.text_encoder.encoder.layers)]
    norm = loaded.text_encoder.final_layer_norm
    with torch.no_grad():
        if name == "sd15":
            assert torch.equal(made[1], norm(layers[-1]))
            assert torch.equal(made[2], norm(layers[-2]))
        else:
            assert torch.equal(made[1], made[2])
            assert torch.equal(made[2][..., :32], layers[-2])


def test_clip_skip_changes_the_picture_and_beyond_the_encoder_is_one_sentence(
    engine: Engine,
) -> None:
    first = painted(engine, wanted("a red house"))
    (result,) = results(engine, wanted("a red house", clip_skip=2))
    assert result.recipe["clip_skip"] == 2
    assert (painted(engine, wanted("a red house", clip_skip=2)) != first).any()
    with pytest.raises(JobError) as caught:
        answers(engine, wanted("a red house", clip_skip=4))
    assert (caught.value.code, caught.value.field) == ("invalid_field", "clip_skip")
    assert "at most 3 for sd15" in caught.value.message


def test_another_prompt_loads_and_reads_no_model_again(engine: Engine, monkeypatch) -> None:
    painted(engine, wanted("a red house"))
    monkeypatch.setattr(Library, "load", lambda *_: pytest.fail("the model was loaded again"))
    for prompt in ("a blue boat", "an (old:1.2) tree", "chalk", "a {red|blue} sky BREAK night"):
        stages = [m.stage for m in answers(engine, wanted(prompt)) if isinstance(m, Progress)]
        assert "loading" not in stages
