"""Prompts, what belongs to the picture, seeds and recipes. Run by test_in_qt.py."""

from __future__ import annotations

from dataclasses import replace

from panels import FROM_PICTURE, KEY, LONG, SELECTED, SIZE, QTest, click, find, heard
from tiny import MODEL
from velatura.krita_plugin.canvas import Canvas
from velatura.krita_plugin.desk import Desk
from velatura.krita_plugin.qt import Qt, QtCore
from velatura.krita_plugin.state import (
    Guide,
    Settings,
)
from velatura.krita_plugin.ui.panel import Panel


def test_leaving_the_prompt_is_heard(panel):
    left = heard(panel.left)
    for name in ("prompt", "avoid"):
        QTest.keyClick(find(panel, name), KEY.Key_Escape)
    assert len(left) == 2


def test_earlier_prompts_come_back_from_the_menu_and_by_keys(panel):
    prompt, past = find(panel, "prompt"), find(panel, "prompt_past")
    assert [action.text() for action in past.menu().actions() if action.text()] == [FROM_PICTURE]
    left = heard(panel.left)
    for words in ("a boat", "a tree & its shadow", "a boat", LONG):
        prompt.setPlainText(words)
        panel.sent(panel.settings, 7)
    assert len(left) == 4
    assert panel.memory.prompts == (LONG.strip(), "a boat", "a tree & its shadow")
    prompt.setPlainText("what I write now")
    up, down, control = KEY.Key_Up, KEY.Key_Down, Qt.KeyboardModifier.ControlModifier
    for key, words in (
        (up, LONG.strip()),
        (up, "a boat"),
        (up, "a tree & its shadow"),
        (up, "a tree & its shadow"),
        (down, "a boat"),
        (down, LONG.strip()),
        (down, "what I write now"),
        (down, "what I write now"),
    ):
        QTest.keyClick(prompt, key, control)
        assert prompt.toPlainText() == words
    choice = panel.prompts.past_menu.actions()[2]
    assert choice.toolTip() == "a tree & its shadow"
    choice.trigger()
    assert prompt.toPlainText() == "a tree & its shadow"
    prompt.undo()
    assert prompt.toPlainText() == "what I write now"
    again = Panel(panel.memory)
    assert len(find(again, "prompt_past").menu().actions()) == 5


def test_what_is_pasted_keeps_its_words_apart(panel):
    prompt, data = find(panel, "prompt"), QtCore.QMimeData()
    data.setText("red\u00a0boat\tat\u3000sea\u2028👩\u200d🎨\x1b")
    prompt.insertFromMimeData(data)
    assert panel.settings.prompt == "red boat at sea\n👩\u200d🎨"


def test_the_desk_is_what_lies_there_and_another_one_replaces_it(panel):
    layers = [("{1}", "lines"), ("{2}", "paint")]
    guide = Guide("depth", "{2}", 150, 40, 50, on=False)
    # A desk may come before the model that says which guides there are, and before the layers.
    desk = Desk("a boat", "fog", (guide,), ("{1}",))
    panel.show_desk(desk)
    assert panel.desk == desk
    panel.show_models((MODEL,))
    panel.show_canvas(Canvas(SIZE), layers)
    assert panel.desk == desk
    panel.show_models((replace(MODEL, name="bare", controls=()),))
    assert panel.desk == desk
    assert find(panel, "guide").isEnabled(), "or it could not be switched off"
    changes = heard(panel.desk_changed)
    find(panel, "prompt").setPlainText("a tree")
    find(panel, "avoid").setPlainText("")
    (row,) = panel.guide.rows
    row.influence.setValue(80)
    row.on.setChecked(True)
    panel.source.menu.actions()[1].trigger()
    assert len(changes) == 5
    expected = Desk("a tree", "", (replace(guide, influence=80, on=True),), ("{1}", "{2}"))
    assert panel.desk == expected
    panel.show_desk(Desk())
    assert panel.desk == Desk()


def test_a_seed_is_used_again_only_when_locked(panel):
    panel.chance.show_seed(4294967295)
    assert panel.settings.seed is None
    click(panel, "seed_lock")
    assert panel.settings.seed == 4294967295


def test_typing_a_seed_locks_it(panel):
    seed = find(panel, "seed")
    seed.setFocus()
    QTest.keyClicks(seed, "x12-")
    assert panel.settings.seed == 12
    assert find(panel, "seed_lock").isChecked()


def test_a_reopened_recipe_fills_every_field(panel):
    panel.show_models((MODEL, replace(MODEL, name="other", samplers=("Euler a",))))
    panel.show_canvas(SELECTED, [("{1}", "paint"), ("{2}", "made")])
    settings = Settings(
        prompt="a boat",
        negative="fog",
        strength=35,
        paint_from="layer",
        guides=(Guide("depth", "{1}", 70, 5, 60),),
        leave_out=("{1}", "{2}"),
        context="wide",
        soft_edge=9,
        keep_outline=False,
        variants=1,
        seed=4294967295,
        model="other",
        steps=33,
        guidance=2.5,
        sampler="Euler a",
    )
    panel.show_recipe("refine_selection", settings)
    assert panel.settings == settings
    assert panel.action == "refine_selection"
    assert find(panel, "press").text() == "Refine selection"


def test_reopen_is_offered_only_where_there_is_a_recipe(panel):
    button = find(panel, "reopen")
    assert not button.isVisible()
    panel.recipe.setVisible(True)
    wishes = heard(panel.recipe.reopened)
    click(panel, "reopen")
    assert len(wishes) == 1
