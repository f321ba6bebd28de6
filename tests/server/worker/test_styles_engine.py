"""A style's words reach the model, and the recipe holds all of it."""

from __future__ import annotations

from dataclasses import asdict, replace

from live_painting import Easel, opened
from painting import ask, painted, rectangle, results, scenery
from velatura.protocol.region import Rect
from velatura.protocol.style import Style

HARD = rectangle(96, 80, Rect(30, 20, 40, 36))
OIL = Style(name="Oil", before="oil painting of ", after=", thick", negative="night", steps=33)


def test_a_style_paints_as_its_words_written_out_and_is_in_the_recipe(engine):
    plain = ask(scenery(), HARD, prompt="a boat", guidance=5.0)
    written = replace(plain, prompt="oil painting of a boat, thick", negative="night")
    (styled,) = results(engine, replace(plain, style=OIL))
    (meant,) = results(engine, written)
    assert styled.picture == meant.picture
    assert styled.picture != results(engine, plain)[0].picture
    assert styled.recipe["style"] == asdict(OIL)
    assert styled.recipe["prompt"] == "oil painting of a boat, thick"
    assert styled.recipe["steps"] == plain.steps
    assert "style" not in meant.recipe


def test_the_style_in_the_recipe_paints_the_same_when_the_preset_has_changed(engine):
    request = ask(scenery(), HARD, prompt="a boat", style=OIL)
    (first,) = results(engine, request)
    kept = Style(**first.recipe["style"])
    assert (painted(engine, replace(request, style=kept)) == painted(engine, request)).all()


def test_live_painting_takes_the_style_too(engine):
    def shown(**more):
        settings = {"prompt": "a boat", "guidance": 3.0, **more}
        easel = Easel(opened(**settings), scenery(), engine)
        easel.key()
        easel.paint()
        return easel.shown

    meant = {"prompt": "oil painting of a boat, thick", "negative": "night"}
    styled = shown(style=OIL)
    assert (styled == shown(**meant)).all()
    assert (styled != shown()).any()
