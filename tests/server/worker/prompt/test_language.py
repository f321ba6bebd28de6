from __future__ import annotations

import doctest
import gc
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from velatura.server.worker.prompt import language
from velatura.server.worker.prompt.language import Break, Part, parse

MARKS = r"()[]{}|\#:<>. ,"
PIECES = ["BREAK", "<lora:ink:", "0.5>", ":1.2)", "(a:-3)", "{a|b}", "red house", "\n", "é", "\x00"]
any_text = st.lists(st.sampled_from([*MARKS, *PIECES]) | st.text(max_size=3), max_size=40).map(
    "".join
)


def test_the_published_rules_hold() -> None:
    failed, tried = doctest.testmod(language)
    assert tried > 10
    assert failed == 0


@settings(deadline=None)
@given(any_text, st.integers(0, 2**32 - 1))
@example("(" * 10_000, 0)
@example("(" * 10_000 + "x:0)" + "[" * 10_000, 0)
@example("{" * 10_000 + "a" + "|b}" * 10_000, 0)
@example("(x:" + "9" * 10_000 + ")", 0)
def test_no_text_is_an_error_and_every_weight_is_a_number_of_use(text: str, seed: int) -> None:
    made = parse(text, seed)
    assert made == parse(text, seed)
    for one, next_one in zip(made.parts, made.parts[1:], strict=False):
        if isinstance(one, Part) and isinstance(next_one, Part):
            assert one.weight != next_one.weight
    for part in made.parts:
        if isinstance(part, Part):
            assert part.text
            assert -100 <= part.weight <= 100
    for lora in made.loras:
        assert lora.name
        assert -100 <= lora.weight <= 100


@settings(deadline=None)
@given(st.text(max_size=200).filter(lambda text: not set(text) & set(r"()[]{}|\#<")))
def test_plain_text_comes_through_untouched(text: str) -> None:
    if "BREAK" not in text:
        assert parse(text).parts == ((Part(text),) if text else ())


@settings(deadline=None)
@given(st.text(alphabet=r"()[]{}|\#<ab :", max_size=60))
def test_escaped_text_says_itself(text: str) -> None:
    escaped = "".join(f"\\{c}" if c in r"()[]{}|\#<" else c for c in text)
    assert parse(escaped).parts == ((Part(text),) if text else ())


@pytest.mark.parametrize(
    "piece",
    ["(", ")", "[", "()", "((a:1.1)", "[(", "(a:1", ":  ", ":1", "a:  1.", " ", "\\", "<lora:",
     "<lora:a:1>", "{", "|}", "{a|", "{a|b}", "#", "# \n", " BREAK", "word "],
)  # fmt: skip
def test_eight_times_the_text_takes_eight_times_as_long_give_or_take(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        parse(text, 1)
        return time.process_time() - began

    gc.collect()
    gc.disable()
    try:
        short, long = min(seconds(5_000), seconds(5_000)), seconds(40_000)
    finally:
        gc.enable()
    # Eight times is linear and 64 times is quadratic; too short to measure is fast enough.
    assert long < 32 * max(short, 0.001)


def test_a_million_characters_and_brackets_nested_without_end_are_read() -> None:
    nested = parse("(" * 10_000 + "red" + ")" * 10_000)
    assert nested.parts == (Part("red", 100.0),)
    assert parse("[" * 10_000 + "red" + "]" * 10_000).parts == (Part("red", 0.0),)
    assert parse("red " * 250_000).parts == (Part("red " * 250_000),)


def test_the_same_choice_in_a_longer_text_is_chosen_alike() -> None:
    for seed in range(20):
        short = parse("{red|blue} boat", seed).text
        long = parse("an old (oil) painting of a {red|blue} boat # at {sea|home}", seed).text
        assert short.split()[0] in long


def test_every_choice_is_taken_by_some_seed_and_choices_differ_from_each_other() -> None:
    said = {parse("{red|blue|green} {house|boat}", seed).text for seed in range(60)}
    assert len(said) == 6


def test_a_choice_may_hold_any_of_the_language() -> None:
    said = {parse("{(red:1.3)|<lora:ink:1> [blue]|a BREAK b|}", seed) for seed in range(40)}
    assert len(said) == 4
    assert any(Break() in one.parts for one in said)
    assert any(one.loras for one in said)
    assert any(one.parts == (Part("red", 1.3),) for one in said)
    assert {parse("(red:{1.2|1.4})", s).parts[0].weight for s in range(20)} == {1.2, 1.4}


def test_brackets_that_cross_weigh_what_lies_in_both() -> None:
    assert parse("(a [b) c]").parts == (Part("a ", 1.1), Part("b", 1.0), Part(" c", 0.909091))


def test_break_is_a_word_of_its_own() -> None:
    assert parse("BREAKFAST and break").parts == (Part("BREAKFAST and break"),)
    assert parse("a\nBREAK, b").parts == (Part("a"), Break(), Part(", b"))
    assert parse("BREAK BREAK\n").parts == (Break(), Break())
