"""LoRAs and embeddings into the prompt, by menu and by keyboard. Run by test_in_qt.py."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
from tiny import MODEL as TINY
from velatura.krita_plugin.qt import QT_MAJOR, Qt
from velatura.protocol import messages as m

QTest = importlib.import_module(f"PyQt{QT_MAJOR}.QtTest").QTest
MODEL = replace(TINY, text_width=768)
LARGE = replace(MODEL, name="large", text_width=2048)


def addon(name: str, kind: str = "lora", width: int = 768) -> m.AddOnInfo:
    return m.AddOnInfo(kind=kind, name=name, family="any", text_width=width)


ADDONS = (
    addon("ink & wash"),
    addon("styles/chalk"),
    addon("big", width=2048),
    addon("night", "embedding"),
)


@pytest.fixture
def panel(panel, app):
    panel.show_models((MODEL, LARGE))
    panel.show_addons(ADDONS)
    panel.activateWindow()
    app.processEvents()
    return panel


def choices(menu):
    """name -> what can be triggered, those in folders too."""
    found = {}
    for action in menu.actions():
        if action.menu() is not None:
            found |= choices(action.menu())
        elif not action.isSeparator():
            found[action.text().replace("&&", "&")] = action
    return found


def focus(app, edit):
    """Returns when the keys go to ``edit``."""
    edit.activateWindow()
    edit.setFocus()
    for _ in range(1000):
        app.processEvents()
        if edit.hasFocus():
            return
        QTest.qWait(5)
    raise AssertionError(edit.objectName())


def test_the_menu_holds_what_the_chosen_model_takes(panel):
    assert set(choices(panel.prompts.add.list)) == {"ink & wash", "chalk", "night"}
    panel.model.combo.choose("large")
    assert set(choices(panel.prompts.add.list)) == {"big"}
    panel.show_addons(())
    assert not panel.prompts.add.isEnabled()
    assert "folder loras" in panel.prompts.add.toolTip()


def test_a_choice_stands_where_the_cursor_was_and_can_be_taken_back(panel):
    prompt = panel.prompts.prompt
    prompt.setPlainText("a boat, at sea")
    cursor = prompt.textCursor()
    cursor.setPosition(len("a boat"))
    prompt.setTextCursor(cursor)
    choices(panel.prompts.add.list)["ink & wash"].trigger()
    assert prompt.toPlainText() == "a boat <lora:ink & wash:1>, at sea"
    prompt.undo()
    assert prompt.toPlainText() == "a boat, at sea"


def test_an_embedding_goes_into_the_field_that_was_used_last_and_a_lora_into_the_prompt(panel, app):
    focus(app, panel.prompts.avoid)
    QTest.keyClicks(panel.prompts.avoid, "fog,")
    choices(panel.prompts.add.list)["night"].trigger()
    assert panel.prompts.avoid.toPlainText() == "fog, embedding:night"
    choices(panel.prompts.add.list)["chalk"].trigger()
    assert panel.prompts.prompt.toPlainText() == "<lora:styles/chalk:1>"


def test_names_are_completed_and_enter_belongs_to_the_list_while_it_is_open(panel, app):
    prompt, pressed = panel.prompts.prompt, []
    panel.pressed.connect(lambda: pressed.append(1))
    focus(app, prompt)
    QTest.keyClicks(prompt, "a boat <lora:CHA")
    popup = prompt.completer.popup()
    assert popup.isVisible()
    QTest.keyClick(popup, Qt.Key.Key_Return)
    app.processEvents()
    assert prompt.toPlainText() == "a boat <lora:styles/chalk:1>"
    assert not pressed
    QTest.keyClick(prompt, Qt.Key.Key_Return)
    assert pressed == [1]


def test_a_mark_never_runs_into_the_words_around_it(panel, app):
    avoid = panel.prompts.avoid
    for before, behind, made in (
        ("", "", "embedding:night"),
        ("fog", "", "fog embedding:night"),
        ("🎨 fog,", " sea", "🎨 fog, embedding:night, sea"),
        ("(", ":1.2)", "(embedding:night:1.2)"),
        ("(fog ", ")", "(fog embedding:night)"),
        ("fog, ", "\nsea", "fog, embedding:night\nsea"),
    ):
        focus(app, avoid)
        avoid.setPlainText("-")
        avoid.selectAll()
        avoid.insertPlainText(before + behind)
        cursor = avoid.textCursor()
        cursor.setPosition(len(before.encode("utf-16-le")) // 2)
        avoid.setTextCursor(cursor)
        choices(panel.prompts.add.list)["night"].trigger()
        assert avoid.toPlainText() == made


def test_a_completed_name_is_the_mark_that_the_menu_inserts(panel, app):
    odd = addon("old/style (v1)", "embedding")
    panel.show_addons((*ADDONS, odd, addon("ink #2 [XL]: {a}")))
    prompt = panel.prompts.prompt
    focus(app, prompt)
    for begun, wanted in (
        ("🎨 🎨 embedding:STY", "🎨 🎨 embedding:old/style \\(v1\\)"),
        ("<lora:ink #", r"<lora:ink #2 [XL]\: \{a\}:1>"),
    ):
        prompt.setPlainText("")
        prompt.insertPlainText(begun)
        (chosen,) = (
            o.name
            for o in (odd, addon("ink #2 [XL]: {a}"))
            if o.kind in ("embedding" if "emb" in begun else "lora",)
        )
        prompt.completer.activated[str].emit(chosen)
        assert prompt.toPlainText() == wanted


def test_no_list_opens_over_ordinary_words_or_for_what_there_is_not(panel, app):
    prompt = panel.prompts.prompt
    focus(app, prompt)
    for text in ("chalk", " <lora:zzz", "> a <b", " embedding:zzz"):
        QTest.keyClicks(prompt, text)
        assert not prompt.completer.popup().isVisible(), text


def test_clip_skip_is_sent_and_shown(panel):
    assert panel.settings.clip_skip == 1
    panel.model.clip_skip.setValue(2)
    assert panel.settings.clip_skip == 2
    panel.show_recipe("refine", replace(panel.settings, clip_skip=3))
    assert panel.model.clip_skip.value() == 3
