from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline
from velatura.models.families.base import Loaded
from velatura.models.library import Library
from velatura.server.worker.prompt.encode import Text, embed
from velatura.server.worker.prompt.language import parse


@pytest.fixture(scope="module")
def loaded(tiny_folder) -> Loaded:
    library = Library([], starter=tiny_folder)
    return library.load("tiny", torch.device("cpu"), torch.float32, lambda *_: None)


def say(text: str, loaded: Loaded, skip: int = 0) -> Text:
    return embed(parse(text), loaded, skip=skip)


def said(text: str, loaded: Loaded) -> torch.Tensor:
    return say(text, loaded).embeddings


def length(loaded: Loaded) -> int:
    return loaded.tokenizer.model_max_length


def test_a_prompt_becomes_one_embedding_per_token(loaded: Loaded) -> None:
    made = say("a red house", loaded)
    assert made.embeddings.shape == (1, length(loaded), 32)
    assert made.note == ""
    assert not torch.equal(made.embeddings, said("a blue house", loaded))


@pytest.mark.parametrize(
    "text", ["", "a red house", "A  Red\nhouse, oil-painting; at 3:15!", "🎨 é", "red, " * 10]
)
def test_a_plain_prompt_has_the_bits_of_the_stock_pipeline(
    loaded: Loaded, tiny_folder, text: str
) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        tiny_folder, safety_checker=None, local_files_only=True
    )
    stock, empty = pipeline.encode_prompt(text, "cpu", 1, True)
    assert torch.equal(said(text, loaded), stock)
    assert torch.equal(said("", loaded), empty)


def test_the_weight_one_changes_nothing(loaded: Loaded) -> None:
    plain = said("a red house", loaded)
    assert torch.equal(said("a (red:1) house", loaded), plain)
    assert torch.equal(said("a ([red]) house", loaded), plain)


def test_a_weight_scales_its_own_words_and_no_others(loaded: Loaded) -> None:
    plain = said("a red house", loaded)[0]
    for weight in (0.0, 0.5, 1.5, 3.0):
        made = said(f"a (red:{weight}) house", loaded)[0]
        # Token 0 is the start: "red" is token 2. This encoder's embeddings have no mean.
        torch.testing.assert_close(made[2], weight * plain[2])
        others = [i for i in range(len(plain)) if i != 2]
        assert torch.equal(made[others], plain[others])


@pytest.fixture
def with_mean(loaded: Loaded):
    """An encoder whose last layer leaves a mean, as trained ones have."""
    with torch.no_grad():
        loaded.text_encoder.final_layer_norm.bias += 0.2
    yield loaded
    with torch.no_grad():
        loaded.text_encoder.final_layer_norm.bias -= 0.2


def test_weights_keep_the_mean_of_their_chunk(with_mean: Loaded) -> None:
    plain, heavy = (said(text, with_mean)[0] for text in ("a red house", "a (red:3) house"))
    torch.testing.assert_close(heavy.mean(), plain.mean())
    # What is heavy gains against the rest, and all shrink alike to keep the mean.
    shrunk = heavy[1, 0] / plain[1, 0]
    assert 0 < shrunk < 1
    torch.testing.assert_close(heavy[3], shrunk * plain[3])
    torch.testing.assert_close(heavy[2], 3 * shrunk * plain[2])


def test_weights_that_turn_the_mean_round_do_not_turn_the_embedding_round(
    with_mean: Loaded,
) -> None:
    text = "red " * (length(with_mean) - 2)
    plain, turned = said(text, with_mean)[0], said(f"({text}:-1)", with_mean)[0]
    torch.testing.assert_close(turned[1], -plain[1])
    assert torch.equal(turned[0], plain[0])


def test_a_long_prompt_is_read_chunk_by_chunk(loaded: Loaded) -> None:
    room = length(loaded) - 2
    made = say("red " * room + "blue boat", loaded)
    assert made.note == ""
    chunks = made.embeddings.split(length(loaded), dim=1)
    assert len(chunks) == 2
    assert torch.equal(chunks[0], said("red " * room, loaded))
    assert torch.equal(chunks[1], said("blue boat", loaded))


def test_break_starts_a_new_chunk(loaded: Loaded) -> None:
    made = said("a red house BREAK (boat:1.4)", loaded)
    chunks = made.split(length(loaded), dim=1)
    assert torch.equal(chunks[0], said("a red house", loaded))
    assert torch.equal(chunks[1], said("(boat:1.4)", loaded))


def test_the_shorter_of_two_is_filled_up_with_empty_chunks(loaded: Loaded) -> None:
    match = loaded.denoiser.text.match
    long, short, empty = (say(t, loaded) for t in ("a BREAK boat BREAK sky", "night", ""))
    for one, other in (match(long, short, empty, False), match(short, long, empty, False)[::-1]):
        assert torch.equal(one.embeddings, long.embeddings)
        parts = [short.embeddings, empty.embeddings, empty.embeddings]
        assert torch.equal(other.embeddings, torch.cat(parts, dim=1))


def test_the_longest_prompt_has_an_end_and_what_is_beyond_is_named(loaded: Loaded) -> None:
    made = say("red BREAK " * 20 + "blue boat", loaded)
    assert made.embeddings.shape == (1, 20 * length(loaded), 32)
    assert made.note == "20 chunks of a prompt are read; left out: “blue boat”."


def test_skipped_layers_are_left_out_and_the_rest_normalised(loaded: Loaded) -> None:
    seen = []
    hook = loaded.text_encoder.encoder.layers[-1].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    made = say("a red house", loaded, skip=1).embeddings
    hook.remove()
    with torch.no_grad():
        assert torch.equal(made, loaded.text_encoder.final_layer_norm(seen[0]))
    assert not torch.equal(made, said("a red house", loaded))


def test_words_outside_a_small_vocabulary_are_named_and_no_error(loaded: Loaded) -> None:
    note = say("a (red:1.2) [zeppelin], and a ZEPPELIN of Übergröße # at noon", loaded).note
    assert note == "tiny does not know: zeppelin, übergröße."


@pytest.mark.parametrize(
    "text",
    ["", "((((" * 500, "\x00\x01", "🎨" * 400, "a" * 20_000, "BREAK " * 3_000, "(a:-100) (b:100)"],
)
def test_no_text_is_an_error(loaded: Loaded, text: str) -> None:
    made = say(text, loaded)
    assert torch.isfinite(made.embeddings).all()
    assert len(made.note) < 1000
