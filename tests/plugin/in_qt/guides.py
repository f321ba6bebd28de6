"""Guides and the layers left out, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from panels import SIZE, click, find, heard
from tiny import MODEL
from velatura.krita_plugin import state
from velatura.krita_plugin.canvas import Canvas
from velatura.krita_plugin.state import (
    Guide,
)
from velatura.protocol import messages as m


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
