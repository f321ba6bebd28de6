"""The prompt language through a whole engine: what a painter types, in the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from painting import answers, ask, make_tiny_engine, painted, results, scenery
from velatura.protocol.codec import decode, encode
from velatura.protocol.messages import LARGEST_SEED, LONGEST_PROMPT, Control, Progress
from velatura.protocol.style import LONGEST_PART, Style
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import JobError


def pixels(engine: Engine, prompt: str, **more) -> bytes:
    return painted(engine, ask(scenery(), action="generate", prompt=prompt, **more)).tobytes()


def test_a_weight_changes_the_pixels_and_the_weight_one_does_not(engine: Engine) -> None:
    plain = pixels(engine, "a red house")
    assert pixels(engine, "a (red:1.0) house") == plain
    assert pixels(engine, "a red house # at night") == plain
    assert len({plain, *(pixels(engine, f"a (red:{w}) house") for w in (0, 0.5, 1.5, 3))}) == 5


@pytest.mark.parametrize(
    "how",
    [
        {"action": "generate"},
        {"action": "fill"},
        {"guidance": 1.0},
        {"controls": (Control(kind="line"),)},
    ],
    ids=str,
)
def test_a_prompt_of_several_chunks_paints(engine: Engine, how) -> None:
    long = "a red house and a boat, oil painting of the sky, " * 12
    for texts in (
        {"prompt": long},
        {"negative": long},
        {"prompt": long, "negative": "night BREAK day"},
    ):
        layer = painted(engine, ask(scenery(), **texts, **how))
        assert layer.any()
    one, two = (painted(engine, ask(scenery(), prompt=long + end, **how)) for end in ("", "tree"))
    assert (one != two).any()


def test_break_changes_the_pixels(engine: Engine) -> None:
    assert pixels(engine, "a house BREAK blue sky") != pixels(engine, "a house blue sky")


def test_a_variant_chooses_by_its_own_seed_and_alone_chooses_the_same(engine: Engine) -> None:
    request = ask(scenery(), prompt="a {red|blue} house", seed=20, variants=4)
    made = results(engine, request)
    assert [one.recipe["prompt"] for one in made] == ["a {red|blue} house"] * 4
    chosen = []
    for one in made:
        alone = results(engine, ask(scenery(), prompt="a {red|blue} house", seed=one.seed))[0]
        assert alone.picture == one.picture
        said = [
            results(engine, ask(scenery(), prompt=p, seed=one.seed))[0].picture == one.picture
            for p in ("a red house", "a blue house")
        ]
        assert sum(said) == 1
        chosen.append(said[0])
    assert len(set(chosen)) == 2


def test_seeds_go_on_from_0_behind_the_largest_so_that_each_can_be_asked_for(
    engine: Engine,
) -> None:
    prompt = "a {red|blue|green|small} house"
    made = results(engine, ask(scenery(), prompt=prompt, seed=LARGEST_SEED, variants=3))
    assert [one.seed for one in made] == [LARGEST_SEED, 0, 1]
    for one in made:
        alone = results(engine, ask(scenery(), prompt=prompt, seed=one.seed))[0]
        assert alone.picture == one.picture
        assert (alone.recipe["seed"], one.recipe["seed"]) == (one.seed, one.seed)


LONGEST_STYLE = Style(
    name="s" * 200, **dict.fromkeys(("before", "after", "negative"), '"' * LONGEST_PART)
)


@pytest.mark.parametrize("letters", ["紅", "ж", "🎨", '"', "\\", "\n", "a", "\u200d"], ids=ascii)
def test_the_longest_prompts_end_in_a_result_whatever_their_letters(
    engine: Engine, letters: str
) -> None:
    words = letters * LONGEST_PROMPT
    request = ask(scenery(64, 64), prompt=words, negative=words, steps=1, style=LONGEST_STYLE)
    (result,) = results(engine, request)
    assert decode(b"".join(encode(result))) == result


@pytest.mark.parametrize(
    ("field", "code"), [("prompt", "missing_weights"), ("negative", "unsupported")]
)
def test_a_lora_that_cannot_be_used_is_refused_by_name_before_a_model_is_loaded(
    tiny_folder, field: str, code: str
) -> None:
    engine = make_tiny_engine(tiny_folder)
    request = ask(scenery(), **{field: "a boat <lora:ink\u202e:0.8>"})
    with pytest.raises(JobError) as caught:
        answers(engine, request)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert r"'ink\u202e'" in caught.value.message
    assert engine.loaded() == ()


def test_a_sampler_that_cannot_do_the_job_is_refused_before_a_model_is_loaded(tiny_folder) -> None:
    engine = make_tiny_engine(tiny_folder)
    with pytest.raises(JobError, match="sampler PLMS paints whole pictures"):
        answers(engine, ask(scenery(), action="refine", strength=0.5, sampler="PLMS"))
    assert engine.loaded() == ()
    assert painted(engine, ask(scenery(), action="generate", sampler="PLMS")).any()


def test_a_lora_that_a_later_variant_chooses_is_refused_at_once(tiny_folder) -> None:
    engine = make_tiny_engine(tiny_folder)
    request = ask(scenery(), prompt="a {red|<lora:ink:1>} boat", seed=20, variants=8)
    said = []
    with pytest.raises(JobError, match="'ink'"):
        engine.run(request, said.append, lambda: False)
    assert said == []


def test_a_prompt_seen_before_is_not_read_again(engine: Engine, monkeypatch) -> None:
    request = ask(scenery(), prompt="a (blue:1.234) boat", negative="night")
    before = painted(engine, request)
    monkeypatch.setattr(
        "velatura.server.worker.residency.loaded_model.embed",
        lambda *_, **__: pytest.fail("it was read again"),
    )
    assert np.array_equal(painted(engine, request), before)


def test_what_was_left_out_is_told(engine: Engine) -> None:
    request = ask(scenery(), prompt="red BREAK " * 20 + "blue boat")
    notes = {m.note for m in answers(engine, request) if isinstance(m, Progress)}
    assert "20 chunks of a prompt are read; left out: “blue boat”." in notes
