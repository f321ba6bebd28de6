"""What live painted can be told from what a press painted, and reopened."""

from __future__ import annotations

import json

from velatura.krita_plugin import recipe
from velatura.krita_plugin.live_area import LiveChoice
from velatura.krita_plugin.live_recipe import is_live, live_recipe
from velatura.krita_plugin.recipe import Recipe
from velatura.krita_plugin.state import LAYER, Guide, Settings
from velatura.protocol import messages as m
from velatura.protocol.region import Rect, Size

ASKED = m.LiveOpen(
    job="00000000-0000-4000-8000-00000000000a",
    model="starter",
    area=Size(8, 4),
    prompt="a red boat",
    strength=0.45,
    steps=6,
    seed=9,
)
GUIDE = Guide("line", "a layer")


def made(selection: bytes | None = None) -> Recipe:
    settings = Settings(prompt="typed since", strength=100, variants=3, guides=(GUIDE,))
    choice = LiveChoice(paint_from=LAYER)
    return live_recipe(ASKED, settings, choice, Size(90, 80), Rect(1, 2, 8, 4), "sketch", selection)


def test_it_holds_what_painted_the_picture_not_what_was_typed_since():
    found = made()
    assert (found.action, found.settings.prompt, found.settings.strength) == (
        "refine",
        "a red boat",
        45,
    )
    assert (found.seed, found.settings.seed, found.settings.variants) == (9, 9, 1)
    assert (found.settings.model, found.settings.paint_from, found.source) == (
        "starter",
        LAYER,
        "sketch",
    )
    assert found.settings.guides == (GUIDE,)
    assert found.server["steps"] == 6


def test_a_selection_makes_it_a_refined_selection():
    found = made(bytes(32))
    assert found.action == "refine_selection"
    assert found.selection is not None
    assert found.selection.rect == Rect(1, 2, 8, 4)


def test_it_survives_the_file_and_is_known_again():
    kept = recipe.from_json(json.loads(json.dumps(recipe.to_json(made(bytes(32))))))
    assert kept == made(bytes(32))
    assert is_live(kept)
    assert not is_live(None)
