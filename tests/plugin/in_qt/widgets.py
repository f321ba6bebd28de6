"""The docker's widgets, by mouse and keyboard, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from panels import KEY, LONG, SELECTED, SIZE, QTest, choose, click, find, heard, thumbnails
from tiny import MODEL
from velatura.krita_plugin import state
from velatura.krita_plugin.canvas import NO_SIDES, Canvas, Limits, Sides
from velatura.krita_plugin.entries import Entry
from velatura.krita_plugin.qt import Qt, QtCore, QtGui, QtWidgets
from velatura.krita_plugin.state import (
    FIRST_STRENGTHS,
    LAYER,
    VISIBLE,
    LinkState,
    Memory,
    Settings,
)
from velatura.krita_plugin.ui.panel import Panel
from velatura.protocol.region import Rect, Size
from velatura.protocol.style import Style


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


def test_words_that_do_not_fit_their_button_end_with_an_ellipsis(panel):
    name = "Background of the harbour at night"
    panel.source.offer_layers([("{1}", name)])
    panel.source.leave(("{1}",))
    button = find(panel, "leave_out")
    button.resize(90, 28)
    drawn = button.grab().toImage()
    beginnings = (name[:n].rstrip() + "\u2026" for n in range(4, 20))
    assert any(drawn_with(button, words) == drawn for words in beginnings)


def drawn_with(button, words):
    button.setText(words)
    return button.grab().toImage()


@dataclass(frozen=True)
class Layer:
    """As much of a layer as a docker looks at."""

    id: str = "{1}"
    name: str = "sketch"
    is_picture: bool = True
    bounds: tuple = (0, 0, 9, 9)


def test_a_cut_out_alone_is_the_source_unless_something_is_selected_and_the_button_says_so(panel):
    combo, button = find(panel, "paint_from"), find(panel, "press")
    sketch = Canvas(SIZE, layer=Layer(name="Lines & more"), is_cut_out=True)
    panel.show_canvas(sketch, [])
    assert panel.settings.paint_from == LAYER
    assert combo.currentText() == "Current layer (auto)"
    assert button.text() == "Refine layer 'Lines && more'"
    assert button.toolTip().startswith("Refine layer 'Lines & more': ")
    for canvas, action in (
        (replace(sketch, selection=Rect(1, 1, 9, 9)), "Fill"),
        (replace(sketch, is_cut_out=False), "Refine"),
        (replace(sketch, layer=None, is_cut_out=False), "Refine"),
        (replace(sketch, blank=True), "Generate"),
    ):
        panel.show_canvas(canvas, [])
        assert panel.settings.paint_from == VISIBLE
        assert combo.currentText() == "Everything visible (auto)"
        assert button.text() == action
    panel.source.combo.choose(LAYER)
    assert panel.settings.paint_from == LAYER
    assert panel.memory.paint_from == LAYER
    assert button.text() == "Generate", "it paints from nothing"
    panel.show_canvas(replace(sketch, is_cut_out=False, selection=Rect(1, 1, 9, 9)), [])
    assert button.text() == "Fill layer 'Lines & more'".replace("&", "&&")
    panel.strength.slider.setValue(50)
    assert button.text() == "Refine selection of 'Lines && more'"
    panel.source.combo.choose(VISIBLE)
    assert button.text() == "Refine selection"


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
