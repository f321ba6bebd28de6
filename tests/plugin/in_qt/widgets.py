"""The docker's widgets, by mouse and keyboard, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tiny import MODEL
from velatura.krita_plugin import state
from velatura.krita_plugin.actions import KEY_ACTIONS
from velatura.krita_plugin.canvas import NO_SIDES, Canvas, Limits, Sides
from velatura.krita_plugin.desk import Desk
from velatura.krita_plugin.entries import Entry
from velatura.krita_plugin.images import png_bytes, rgba_bytes
from velatura.krita_plugin.live import SELECTION_LOST
from velatura.krita_plugin.live_picture import LivePicture
from velatura.krita_plugin.qt import QT_MAJOR, Qt, QtCore, QtGui, QtWidgets
from velatura.krita_plugin.state import (
    FIRST_STRENGTHS,
    LAYER,
    VISIBLE,
    Guide,
    LinkState,
    Memory,
    Settings,
)
from velatura.krita_plugin.ui.panel import Panel
from velatura.krita_plugin.ui.parts import TOUCH
from velatura.krita_plugin.ui.strip import Thumbnail
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size
from velatura.protocol.style import Style

QTest = importlib.import_module(f"PyQt{QT_MAJOR}.QtTest").QTest
KEY, LEFT = Qt.Key, Qt.MouseButton.LeftButton
SIZE = Size(100, 100)
SELECTED = Canvas(SIZE, Rect(1, 1, 9, 9))
FROM_PICTURE = "From a picture (PNG)..."
LONG = "a name that is far too long for any docker " * 4


def find(panel, name):
    (found,) = panel.findChildren(QtWidgets.QWidget, name)
    return found


def click(panel, name):
    QTest.mouseClick(find(panel, name), LEFT)


def heard(signal):
    calls = []
    signal.connect(lambda *values: calls.append(values))
    return calls


def choose(panel, action):
    panel.press.choices[action].trigger()


@pytest.mark.parametrize(
    ("canvas", "label"),
    [
        (Canvas(SIZE, blank=True), "Generate"),
        (Canvas(SIZE), "Refine"),
        (SELECTED, "Fill"),
        (Canvas(SIZE, empty=Rect(0, 0, 9, 100)), "Expand"),
    ],
)
def test_the_button_says_what_will_happen(panel, canvas, label):
    panel.show_canvas(canvas, [])
    assert find(panel, "press").text() == label


def test_below_full_strength_fill_becomes_refine_selection_and_back(panel):
    panel.show_canvas(SELECTED, [])
    find(panel, "strength").setValue(60)
    assert find(panel, "press").text() == "Refine selection"
    find(panel, "strength").setValue(100)
    assert find(panel, "press").text() == "Fill"
    assert panel.memory.strengths["refine_selection"] == 60


def test_each_action_remembers_its_strength(panel):
    panel.show_canvas(Canvas(SIZE), [])
    find(panel, "strength").setValue(30)
    choose(panel, "generate")
    assert not find(panel, "strength").isEnabled()
    panel.show_canvas(SELECTED, [])
    choose(panel, "refine_selection")
    assert find(panel, "strength").value() == 45
    panel.show_canvas(Canvas(SIZE), [])
    assert find(panel, "strength").value() == 30
    assert panel.memory.strengths["refine"] == 30


def test_the_menu_overrides_until_the_canvas_asks_another_question(panel):
    panel.show_canvas(Canvas(SIZE), [])
    choose(panel, "generate")
    panel.show_canvas(Canvas(SIZE), [])
    assert panel.action == "generate"
    panel.show_canvas(SELECTED, [])
    assert panel.action == "fill"


def test_the_sides_to_enlarge_are_asked_for_where_expand_is_chosen(panel, app):
    panel.show_canvas(Canvas(SIZE), [])
    assert not find(panel, "enlarge_left").isVisible()
    choose(panel, "expand")
    app.processEvents()
    click(panel, "enlarge_left")
    click(panel, "enlarge_bottom")
    find(panel, "enlarge_by").setValue(48)
    assert panel.expand.chosen == Sides(left=48, bottom=48)
    panel.show_canvas(Canvas(SIZE), [])
    assert panel.expand.chosen == Sides(left=48, bottom=48)
    panel.show_canvas(Canvas(Size(148, 148)), [])
    assert panel.expand.chosen == NO_SIDES


def test_the_menu_offers_only_what_this_canvas_can_have(panel):
    panel.show_canvas(Canvas(SIZE), [])
    enabled = {name for name, choice in panel.press.choices.items() if choice.isEnabled()}
    assert enabled == {"", "generate", "refine", "expand"}


def test_enter_paints_alt_enter_breaks_the_line_and_escape_leaves(panel):
    presses, prompt = heard(panel.pressed), find(panel, "prompt")
    prompt.setFocus()
    QTest.keyClicks(prompt, "a")
    QTest.keyClick(prompt, KEY.Key_Return, Qt.KeyboardModifier.AltModifier)
    QTest.keyClicks(prompt, "b")
    assert presses == []
    QTest.keyClick(prompt, KEY.Key_Return)
    QTest.keyClick(prompt, KEY.Key_Enter)
    assert len(presses) == 2
    assert panel.settings.prompt == "a\nb"
    cancelled = heard(panel.cancelled)
    QTest.keyClick(prompt, KEY.Key_Escape)
    assert not prompt.hasFocus()
    assert cancelled == []


def test_the_buttons_say_what_the_painter_wants(panel, app):
    presses, cancels = heard(panel.pressed), heard(panel.cancelled)
    click(panel, "press")
    panel.show_painting(True)
    app.processEvents()
    click(panel, "cancel")
    assert (len(presses), len(cancels)) == (1, 1)
    starts = heard(panel.connection.start_server)
    panel.show_link(LinkState(state.NO_SERVER, "No server yet."))
    app.processEvents()
    click(panel, "start_server")
    assert len(starts) == 1


def test_the_light_says_why_and_offers_to_start_only_when_that_helps(panel):
    for kind in (state.READY, state.LOADING, state.RESTARTING, state.CONNECTING):
        panel.show_link(LinkState(kind, "Because."))
        assert not find(panel, "start_server").isVisible()
        assert find(panel, "reason").text() == "Because."
        assert not find(panel, "why").isVisible()
    for kind in (state.REFUSED, state.UNREACHABLE, state.FAILED):
        panel.show_link(LinkState(kind, "Because."))
        assert not find(panel, "start_server").isVisible()
        assert find(panel, "why").text() == "Because."
        assert find(panel, "why").isVisible()
    panel.show_link(LinkState(state.NO_SERVER, "None."))
    assert find(panel, "start_server").isVisible()


def test_a_model_brings_its_own_steps_guidance_sampler_and_guides(panel):
    panel.show_models((MODEL,))
    settings = panel.settings
    assert (settings.model, settings.steps, settings.guidance) == ("tiny", 7, 3.5)
    assert settings.sampler == "LCM"
    assert find(panel, "guide").isEnabled()
    panel.show_models((replace(MODEL, name="bare", controls=()),))
    assert not find(panel, "guide").isEnabled()


def test_the_same_catalogue_again_leaves_what_the_painter_set(panel):
    panel.show_models((MODEL, replace(MODEL, name="other", steps=30)))
    find(panel, "model").setCurrentIndex(1)
    find(panel, "steps").setValue(11)
    panel.show_models((MODEL, replace(MODEL, name="other", steps=30)))
    assert (panel.settings.model, panel.settings.steps) == ("other", 11)


def test_the_remembered_model_is_chosen_when_the_server_has_it(app):
    panel = Panel(Memory(FIRST_STRENGTHS, model="other", variants=3))
    panel.show_models((MODEL, replace(MODEL, name="other")))
    assert panel.settings.model == "other"
    assert panel.settings.variants == 3


OIL = Style(name="Oil", before="oil of ", model="other", sampler="Euler a", steps=33, guidance=6)


def test_a_style_brings_its_model_and_numbers_and_none_gives_them_back(panel):
    models = (MODEL, replace(MODEL, name="other", samplers=("LCM", "Euler a"), steps=30))
    panel.show_models(models)
    panel.show_styles((OIL, Style(name="Plain")))
    assert panel.settings.style is None
    assert find(panel, "style").currentText() == "None"
    find(panel, "style").setCurrentIndex(1)
    settings = panel.settings
    assert (settings.style, settings.model, settings.sampler) == (OIL, "other", "Euler a")
    assert (settings.steps, settings.guidance) == (33, 6.0)
    assert "oil of ..." in find(panel, "style").toolTip()
    assert panel.memory.style == "Oil"
    find(panel, "steps").setValue(9)
    panel.show_styles((OIL, Style(name="Plain")))
    assert panel.settings.steps == 9, "the same catalogue again changes nothing"
    find(panel, "style").setCurrentIndex(0)
    settings = panel.settings
    assert (settings.style, settings.model, settings.steps) == (None, "other", 30)
    assert settings.sampler == "LCM"


def test_the_remembered_style_is_chosen_when_the_server_has_it(app):
    panel = Panel(Memory(FIRST_STRENGTHS, style="Oil"))
    panel.show_models((MODEL,))
    panel.show_styles((Style(name="Plain"),))
    assert panel.settings.style is None
    panel.show_styles((OIL,))
    assert panel.settings.style == OIL
    assert panel.settings.model == "tiny", "its model is not on this server"


def test_a_recipes_style_is_the_one_of_then(panel):
    panel.show_models((MODEL,))
    panel.show_styles((OIL,))
    then = replace(OIL, before="older oil of ")
    panel.show_recipe("fill", Settings(style=then, model="tiny", steps=5))
    assert panel.settings.style == then
    assert panel.settings.steps == 5
    assert find(panel, "style").currentText() == "Oil (as it was)"
    panel.show_recipe("fill", Settings(style=OIL, model="tiny"))
    assert find(panel, "style").currentText() == "Oil"
    panel.show_recipe("fill", Settings(model="tiny"))
    assert panel.settings.style is None


def test_each_guide_is_what_its_fields_say(panel, app):
    panel.show_models((MODEL,))
    layers = [("{1}", "lines"), ("{2}", "paint")]
    panel.show_canvas(Canvas(SIZE), layers)
    assert panel.settings.guides == ()
    click(panel, "guide")
    for _ in range(2):
        find(panel, "guide_add").click()
    find(panel, "guide_layer_1").setCurrentIndex(1)
    find(panel, "guide_influence_1").setValue(80)
    find(panel, "guide_from_1").setValue(20)
    find(panel, "guide_kind_2").choose("depth")
    assert panel.settings.guides == (Guide("line", "{2}", 80, 20, 100), Guide("depth", "{1}"))
    assert find(panel, "guide").text() == "Guides (2)"
    find(panel, "guide_on_1").click()
    assert panel.settings.active_guides == (Guide("depth", "{1}"),)
    find(panel, "guide_remove_1").click()
    app.processEvents()
    assert panel.settings.guides == (Guide("depth", "{1}"),)


def test_a_kind_that_the_model_lacks_is_there_and_says_why_not(panel):
    panel.show_models((MODEL, replace(MODEL, name="other", controls=("pose",))))
    click(panel, "guide")
    row = panel.guide.add_row()
    items = {row.kind.itemData(i): row.kind.model().item(i) for i in range(row.kind.count())}
    assert set(items) == set(m.CONTROL_KINDS)
    assert {kind for kind, item in items.items() if item.isEnabled()} == {"line", "depth"}
    assert items["pose"].toolTip() == '"tiny" has no ControlNet for this.'
    assert "lineart" in items["line"].toolTip()
    assert row.kind.currentData() == "line", "the first that can be chosen"
    # Another model: the painter's choice stays, and its tooltip says what is wrong with it.
    find(panel, "model").choose("other")
    assert row.kind.currentData() == "line"
    items = {row.kind.itemData(i): row.kind.model().item(i) for i in range(row.kind.count())}
    assert {kind for kind, item in items.items() if item.isEnabled()} == {"pose"}
    assert items["line"].toolTip() == '"other" has no ControlNet for this.'


@pytest.mark.parametrize(("layers", "taken"), [(1, state.DERIVED), (2, "{2}")])
def test_a_new_guide_leaves_the_picture_something_to_be_painted_over(panel, layers, taken):
    panel.show_models((MODEL,))
    panel.show_canvas(Canvas(SIZE), [("{2}", "sketch"), ("{1}", "Background")][-layers:])
    assert panel.guide.add_row().guide.layer == taken


def test_a_guide_can_be_traced_from_the_picture_at_each_press(panel):
    panel.show_models((MODEL,))
    panel.show_canvas(Canvas(SIZE), [("{1}", "lines")])
    row = panel.guide.add_row(Guide("line", state.DERIVED))
    assert row.layer.currentText() == "(from the picture)"
    assert panel.settings.guides == (Guide("line", state.DERIVED),)
    assert state.DERIVED not in panel.settings.left_out


def test_a_guide_never_moves_to_another_layer_by_itself(panel):
    panel.show_models((MODEL,))
    panel.show_canvas(Canvas(SIZE), [("{1}", "lines"), ("{2}", "paint")])
    panel.guide.add_row(Guide("depth", "{2}"))
    panel.show_canvas(Canvas(SIZE), [("{3}", "other")])
    assert find(panel, "guide_layer_1").currentText() == "(not in this picture)"
    assert panel.settings.guides == (Guide("depth", "{2}"),)
    panel.show_canvas(Canvas(SIZE), [("{3}", "new"), ("{2}", "paint")])
    assert find(panel, "guide_layer_1").currentText() == "paint"


def test_guides_are_replaced_as_a_recipe_says(panel, app):
    panel.show_models((MODEL,))
    panel.show_canvas(Canvas(SIZE), [("{1}", "lines"), ("{2}", "paint")])
    wanted = (Guide("depth", "{2}", 150, 40, 50, on=False), Guide("line", "{9}"))
    panel.guide.add_row()
    panel.guide.show_guides(wanted)
    app.processEvents()
    assert panel.settings.guides == wanted
    assert find(panel, "guide_add").isVisible()


def test_trace_asks_for_the_map_of_its_own_row(panel):
    panel.show_models((MODEL,))
    panel.show_canvas(Canvas(SIZE), [("{1}", "lines"), ("{2}", "map")])
    click(panel, "guide")
    first, second = panel.guide.add_row(), panel.guide.add_row()
    rows = heard(panel.guide.traced)
    find(panel, "guide_trace_2").click()
    assert rows == [(second,)]
    second.follow("{2}")
    assert (first.guide.layer, second.guide.layer) == ("{1}", "{2}")


def test_layers_are_left_out_and_come_back_with_their_picture(panel):
    layers = [("{1}", "A & B"), ("{2}", "paint")]
    panel.show_canvas(Canvas(SIZE), layers)
    button = find(panel, "leave_out")
    assert button.text() == "nothing"
    changes = heard(panel.source.changed)
    panel.source.menu.actions()[1].trigger()
    assert panel.settings.leave_out == ("{2}",)
    assert (button.text(), len(changes)) == ("paint", 1)
    panel.show_canvas(Canvas(SIZE), [("{9}", "another picture")])
    assert panel.settings.leave_out == ()
    panel.show_canvas(Canvas(SIZE), layers)
    assert panel.settings.leave_out == ("{2}",)
    panel.source.leave(("{1}", "{2}"))
    assert button.text() == "2 layers"
    panel.source.menu.actions()[1].trigger()
    assert panel.settings.leave_out == ("{1}",)


@dataclass(frozen=True)
class Layer:
    """As much of a layer as a docker looks at."""

    id: str = "{1}"
    name: str = "sketch"
    is_picture: bool = True
    bounds: tuple = (0, 0, 9, 9)


def test_a_layer_with_transparency_is_the_source_unless_something_is_selected(panel):
    combo = find(panel, "paint_from")
    sketch = Canvas(SIZE, layer=Layer(), see_through=True)
    panel.show_canvas(sketch, [])
    assert panel.settings.paint_from == LAYER
    assert combo.currentText() == "Current layer (auto)"
    for canvas in (
        replace(sketch, selection=Rect(1, 1, 9, 9)),
        replace(sketch, see_through=False),
        replace(sketch, layer=Layer(is_picture=False)),
        replace(sketch, layer=None, see_through=False),
        replace(sketch, blank=True),
    ):
        panel.show_canvas(canvas, [])
        assert panel.settings.paint_from == VISIBLE
        assert combo.currentText() == "Everything visible (auto)"
    panel.source.combo.choose(LAYER)
    assert panel.settings.paint_from == LAYER
    assert panel.memory.paint_from == LAYER


def test_a_gpu_paints_three_variants_but_refining_paints_one(panel):
    panel.show_canvas(SELECTED, [])
    assert panel.settings.variants == 1
    panel.show_link(LinkState(state.READY, "Ready.", "CPU with 2 threads"))
    assert panel.settings.variants == 1
    panel.show_link(LinkState(state.READY, "Ready.", "NVIDIA H200 (CUDA)"))
    assert panel.settings.variants == 3
    assert find(panel, "variants").text() == "Auto, 3"
    panel.show_canvas(Canvas(SIZE), [])
    assert panel.settings.variants == 1
    find(panel, "variants").setValue(2)
    panel.show_canvas(SELECTED, [])
    assert (panel.settings.variants, panel.memory.variants) == (2, 2)


def test_what_krita_keeps_from_us_is_said_before_the_press(panel):
    remark = find(panel, "remark")
    sketch = replace(SELECTED, layer=Layer())
    panel.show_canvas(sketch, [])
    assert not remark.isVisible()
    for limits, words in (
        (Limits(mask="Selection 1"), 'The mask "Selection 1" of "sketch" is the selection.'),
        (Limits(unclear="sketch"), '"sketch" has several selection masks'),
        (Limits(isolated=True), "A layer is isolated: only what it shows is sent."),
        (
            Limits(isolated=True, mask="soft"),
            "A layer is isolated: only what it shows is sent. "
            'The mask "soft" of "sketch" is the selection.',
        ),
    ):
        panel.show_canvas(replace(sketch, limits=limits), [])
        assert remark.isVisible()
        assert remark.text().startswith(words)


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


def test_an_error_is_a_line_with_retry_and_no_dialogue(panel, app):
    again = []
    panel.notice.say("The device is out of memory.", lambda: again.append(1))
    assert find(panel, "notice").text() == "The device is out of memory."
    app.processEvents()
    click(panel, "retry")
    assert again == [1]
    assert not find(panel, "notice_frame").isVisible()
    panel.notice.say("Just so.")
    assert not find(panel, "retry").isVisible()
    assert app.activeModalWidget() is None


def thumbnails(*variants, about="a boat"):
    image = QtGui.QImage(40, 20, QtGui.QImage.Format.Format_RGBA8888)
    image.fill(Qt.GlobalColor.red)
    return [Thumbnail(("job", n), png_bytes(image), about) for n in variants]


def test_the_strip_hands_out_the_chosen_picture_or_all_that_are_ticked(panel, app):
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    app.processEvents()
    kept, discarded, seen = (
        heard(signal) for signal in (panel.strip.kept, panel.strip.discarded, panel.strip.chosen)
    )
    strip = find(panel, "strip")
    strip.setCurrentRow(1)
    assert seen == [(("job", 1),)]
    click(panel, "keep")
    click(panel, "discard")
    assert kept == [([("job", 1)], False)]
    assert discarded == [([("job", 1)],)]
    for row in (0, 2):
        strip.item(row).setCheckState(Qt.CheckState.Checked)
    assert find(panel, "keep").text() == "Keep 2 in a group"
    click(panel, "keep_mask")
    assert kept[1:] == [([("job", 0), ("job", 2)], True)]
    panel.strip.show_pictures([])
    assert not find(panel, "keep").isVisible()


def test_the_strip_goes_on_looking_at_what_the_painter_chose(panel):
    panel.strip.show_pictures(thumbnails(0, 1))
    panel.strip.list.setCurrentRow(1)
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    assert panel.strip.current == ("job", 1)
    panel.strip.show_pictures(thumbnails(0, 2))
    assert panel.strip.current == ("job", 2), "what took its place"
    panel.strip.show_pictures(thumbnails(0, 2), ("job", 0))
    assert panel.strip.current == ("job", 0)


def test_a_tap_on_the_corner_ticks_and_beside_it_shows(panel, app):
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    strip = find(panel, "strip")
    place = strip.visualItemRect(strip.item(1))

    def tap(x, y):
        at = place.topLeft() + QtCore.QPoint(x, y)
        QTest.mouseClick(strip.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
        return [strip.item(row).checkState() == Qt.CheckState.Checked for row in range(3)]

    assert tap(place.width() - 8, place.height() - 8) == [False, False, False]
    assert panel.strip.current == ("job", 1)
    assert tap(TOUCH - 2, TOUCH - 2) == [False, True, False]
    assert tap(4, 4) == [False, False, False]


def test_three_pictures_of_the_strip_are_seen_in_the_narrowest_docker(panel, app):
    panel.resize(260, 480)
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    app.processEvents()
    strip = find(panel, "strip")
    seen = strip.viewport().rect()
    assert all(seen.contains(strip.visualItemRect(strip.item(row))) for row in range(3))


def test_a_tap_on_compare_stays_until_the_next_and_another_picture_ends_it(panel):
    panel.strip.show_pictures(thumbnails(0, 1))
    before = heard(panel.strip.compared)
    click(panel, "compare")
    assert before[-1] == (True,)
    assert find(panel, "compare").isChecked()
    assert find(panel, "compare").text() == "Before"
    click(panel, "compare")
    assert before[-1] == (False,)
    assert find(panel, "compare").text() == "Compare"
    click(panel, "compare")
    panel.strip.list.setCurrentRow(1)
    assert not find(panel, "compare").isChecked()


def test_the_history_is_searched_by_prompt_and_by_favourites(panel, app):
    entries = [
        Entry(("job", n), f"{prompt} (Fill)", prompt, 1000.0 + n, 10, favourite=n == 1)
        for n, prompt in enumerate(("a red boat", "a house", "Red roofs at night"))
    ]
    panel.past.show_entries(entries, lambda key: thumbnails(0)[0].png)
    find(panel, "past").setChecked(True)
    found, words = find(panel, "past_list"), find(panel, "past_search")
    assert found.count() == 3
    QTest.keyClicks(words, "red")
    assert [found.item(i).toolTip().split(" (")[0] for i in range(found.count())] == [
        "a red boat",
        "Red roofs at night",
    ]
    words.clear()
    click(panel, "past_favourites")
    assert found.count() == 1
    opened, starred, removed = (
        heard(signal) for signal in (panel.past.opened, panel.past.starred, panel.past.removed)
    )
    app.processEvents()
    where = found.visualItemRect(found.item(0)).center()
    QTest.mouseClick(found.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, where)
    click(panel, "past_star")
    click(panel, "past_remove")
    assert opened == [(("job", 1),)]
    assert starred == [(("job", 1), False)]
    assert removed == [(("job", 1),)]


def test_long_names_and_a_full_docker_never_widen_it(panel, app):
    panel.show_models(
        (replace(MODEL, name=LONG[:200], samplers=(LONG[:200],), sampler=LONG[:200]),)
    )
    panel.show_link(LinkState(state.NO_SERVER, LONG))
    panel.show_canvas(SELECTED, [("{1}", LONG)])
    panel.notice.say(LONG, lambda: None)
    panel.strip.show_pictures(thumbnails(0, 1, about=LONG))
    panel.strip.show_remark(LONG)
    panel.past.show_entries([Entry(("job", 0), LONG, LONG, 0.0, 1)], lambda key: b"")
    panel.show_painting(True)
    panel.guide.add_row()
    panel.source.leave(("{1}",))
    panel.progress.show_stage(LONG, 0.5, LONG)
    panel.show_preview(QtGui.QImage(999, 500, QtGui.QImage.Format.Format_RGBA8888))
    for name in ("guide", "advanced", "past"):
        find(panel, name).setChecked(True)
    choose(panel, "expand")
    find(panel, "prompt").setPlainText(LONG)
    app.processEvents()
    app.processEvents()
    assert panel.minimumSizeHint().width() <= 260
    assert panel.minimumSizeHint().height() <= 480
    assert (panel.width(), panel.height()) == (260, 480)
    options = find(panel, "options")
    assert options.widget().width() <= options.viewport().width()


def test_a_quiet_docker_fits_into_480_pixels(panel):
    assert panel.minimumSizeHint().height() <= 480


def test_the_wheel_over_a_field_that_is_not_in_use_changes_nothing(panel, app):
    slider = find(panel, "strength")
    slider.clearFocus()
    before = slider.value()
    at = slider.rect().center()
    event = QtGui.QWheelEvent(
        QtCore.QPointF(at),
        QtCore.QPointF(slider.mapToGlobal(at)),
        QtCore.QPoint(0, 0),
        QtCore.QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    app.sendEvent(slider, event)
    assert slider.value() == before


def test_every_word_on_the_docker_has_a_tooltip_or_is_a_sentence(panel):
    silent = [
        widget.objectName()
        for widget in panel.findChildren(QtWidgets.QWidget)
        if isinstance(widget, (QtWidgets.QAbstractSpinBox, QtWidgets.QComboBox, QtWidgets.QSlider))
        and not widget.toolTip()
    ]
    assert silent == []


def test_the_soft_edge_is_automatic_until_the_painter_sets_it(panel):
    panel.show_canvas(Canvas(SIZE, Rect(0, 0, 500, 400)), [])
    edge = find(panel, "soft_edge")
    assert edge.text() == "Auto, 8 px"
    assert panel.settings.soft_edge is None
    edge.setValue(0)
    assert (edge.text(), panel.settings.soft_edge) == ("0 px", 0)
    panel.show_canvas(Canvas(SIZE), [])
    assert not edge.isEnabled()


def test_keep_outline_is_on_and_is_the_painters_for_the_current_layer_only(panel):
    outline = find(panel, "keep_outline")
    panel.show_canvas(Canvas(SIZE), [])
    assert not outline.isEnabled()
    panel.source.combo.choose(LAYER)
    assert outline.isEnabled()
    assert panel.settings.keep_outline
    outline.setChecked(False)
    assert not panel.settings.keep_outline
    panel.show_canvas(SELECTED, [])
    assert panel.action == "fill"
    assert not outline.isEnabled()


def test_the_docker_says_before_the_press_how_much_the_result_is_enlarged(panel):
    panel.show_models((MODEL,))
    enlarged = find(panel, "enlarged")
    panel.show_canvas(Canvas(Size(64, 64)), [])
    assert not enlarged.isVisibleTo(panel)
    panel.show_canvas(Canvas(Size(256, 256), Rect(100, 100, 20, 20)), [])
    assert not enlarged.isVisibleTo(panel)
    context = find(panel, "context")
    context.setCurrentIndex(context.findData("whole"))
    assert enlarged.isVisibleTo(panel)
    assert "enlarged 4.0 times" in enlarged.text()
    assert panel.settings.context == "whole"


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


def run(panel, name):
    return KEY_ACTIONS[name].run(panel)


def test_the_keys_do_what_the_docker_does_and_say_so(panel):
    presses, cancels = heard(panel.pressed), heard(panel.cancelled)
    panel.show_canvas(SELECTED, [])
    assert run(panel, "velatura_generate") == "Fill"
    assert run(panel, "velatura_cancel") == "Nothing is being painted."
    panel.show_painting(True)
    assert run(panel, "velatura_cancel") == "Cancelled"
    assert (len(presses), len(cancels)) == (1, 1)
    panel.notice.say("No layer is active.")
    assert run(panel, "velatura_generate") == "No layer is active."


def test_the_keys_for_strength_go_in_steps_and_change_the_action(panel):
    panel.show_canvas(SELECTED, [])
    assert run(panel, "velatura_strength_down") == "Refine selection, strength 95 %"
    assert run(panel, "velatura_strength_up") == "Fill, strength 100 %"
    panel.show_canvas(Canvas(SIZE, blank=True), [])
    assert "has no strength" in run(panel, "velatura_strength_up")


def test_the_keys_keep_and_discard_the_chosen_picture(panel):
    kept, discarded = heard(panel.strip.kept), heard(panel.strip.discarded)
    assert run(panel, "velatura_keep") == "No picture waits."
    panel.strip.show_pictures(thumbnails(1, 2))
    assert run(panel, "velatura_next") == "2 of 2: a boat"
    assert run(panel, "velatura_next") == "1 of 2: a boat"
    assert run(panel, "velatura_previous") == "2 of 2: a boat"
    assert run(panel, "velatura_compare") == "Before"
    assert run(panel, "velatura_compare") == "After"
    run(panel, "velatura_keep")
    run(panel, "velatura_keep_mask")
    run(panel, "velatura_discard")
    chosen = [("job", 2)]
    assert (kept, discarded) == ([(chosen, False), (chosen, True)], [(chosen,)])


def test_every_key_is_known_to_kritas_shortcut_settings(panel):
    import velatura.krita_plugin as package

    file = Path(package.__path__[0]) / "velatura.action"
    names = {action.get("name") for action in ElementTree.parse(file).iter("Action")}
    assert names == {"velatura_show", *KEY_ACTIONS}
    titles = {a.get("name"): a.findtext("text") for a in ElementTree.parse(file).iter("Action")}
    assert all(titles[name] == action.text for name, action in KEY_ACTIONS.items())
    wishes = heard(panel.recipe.removed)
    run(panel, "velatura_remove_recipes")
    assert len(wishes) == 1


# --- live ------------------------------------------------------------------------------------------


def test_live_shows_its_buttons_only_while_it_is_on(panel):
    switched = heard(panel.live.switched)
    assert not panel.live.body.isVisible()
    click(panel, "live")
    assert switched == [(True,)]
    panel.live.show_on()
    assert find(panel, "live_pause").isVisible()
    assert not find(panel, "live_keep").isEnabled()  # there is no picture yet
    panel.live.show_picture(QtGui.QImage(40, 30, QtGui.QImage.Format.Format_RGB32))
    assert find(panel, "live_picture").isVisible()
    kept = heard(panel.live.kept)
    click(panel, "live_keep_on")
    click(panel, "live_keep")
    assert kept == [(True,), (False,)]
    panel.live.show_off()
    assert switched == [(True,)]
    assert not panel.live.body.isVisible()


def test_live_starts_at_a_strength_of_its_own(panel):
    assert panel.live_options.choice.strength == 40
    changed = heard(panel.live_options.changed)
    find(panel, "live_strength").setValue(65)
    assert changed
    assert panel.live_options.choice.strength == 65
    assert panel.memory.strengths == FIRST_STRENGTHS


def test_what_live_says_and_its_picture_never_widen_the_docker(panel):
    panel.live.show_on()
    panel.live.show_words(LONG, busy=True)
    panel.live.show_picture(QtGui.QImage(2000, 20, QtGui.QImage.Format.Format_RGB32))
    find(panel, "live_options").click()
    QtWidgets.QApplication.processEvents()
    assert panel.minimumSizeHint().width() <= 260
    assert panel.minimumSizeHint().height() <= 480
    assert (panel.width(), panel.height()) == (260, 480)


def test_why_live_waits_is_read_to_its_end(panel, app):
    panel.live.show_on()
    words, below = find(panel, "live_words"), find(panel, "live_why")
    for said, width, is_below in (
        ("Follows the brush", 260, False),
        (SELECTION_LOST, 260, True),
        (SELECTION_LOST, 900, False),
    ):
        panel.resize(width, 480)
        panel.live.show_words(said, busy=False)
        app.processEvents()
        assert (words.isVisible(), below.isVisible()) == (not is_below, is_below)
        seen = below if is_below else words
        assert seen.text() == words.text() == said
        if is_below:
            assert seen.height() >= seen.heightForWidth(seen.width())
        else:
            assert seen.width() >= seen.fontMetrics().horizontalAdvance(said)


def test_keys_switch_live_and_say_so(panel):
    assert run(panel, "velatura_live_keep") == "There is no live picture yet."
    assert run(panel, "velatura_live") == "Live is on"
    assert run(panel, "velatura_live") == "Live is off"
    assert run(panel, "velatura_live_pause") == "Live is off"


def live_result(revision, x, y, side, value):
    picture = Image(side, side, "rgba8", bytes((value, 2, 3, 255)) * (side * side))
    return m.LiveResult(job=LIVE, revision=revision, x=x, y=y, picture=picture)


LIVE = "00000000-0000-4000-8000-00000000000a"


def test_live_results_lie_on_one_another_and_are_cut_to_what_may_change(app):
    picture = LivePicture(Rect(5, 6, 4, 4))
    assert picture.is_empty
    picture.lay(live_result(1, 0, 0, 4, 10))
    picture.lay(live_result(2, 2, 2, 2, 200))
    pixels = picture.rgba()
    assert [pixels[4 * (4 * y + x)] for x, y in ((0, 0), (1, 3), (2, 2), (3, 3))] == [
        *(10, 10),
        *(200, 200),
    ]
    assert rgba_bytes(picture.shown()) == pixels
    mask = bytes(range(0, 256, 16))
    picture.masks = (mask,)
    assert picture.rgba()[3::4] == mask
    assert picture.rgba()[4::4] == pixels[4::4]  # straight alpha: the colours stay
    assert rgba_bytes(picture.shown())[3::4] == mask
    picture.masks = (mask, bytes(8) + b"\xff" * 8)
    assert picture.rgba()[3::4] == bytes(8) + mask[8:]
