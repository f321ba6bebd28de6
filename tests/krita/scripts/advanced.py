"""What stands under Advanced, a guide traced at every press, a painter's own word: by mouse."""

import kt
import paint
from PyQt5.QtWidgets import QApplication, QStyle, QStyleOptionSpinBox


def step_up(name):
    """A click on the upper arrow of that number."""
    box = kt.find(name)
    option = QStyleOptionSpinBox()
    option.initFrom(box)
    option.frame, option.buttonSymbols = box.hasFrame(), box.buttonSymbols()
    arrow = box.style().subControlRect(QStyle.CC_SpinBox, option, QStyle.SC_SpinBoxUp, box)
    kt.click(box, at=(arrow.center().x(), arrow.center().y()))


def pick(name, text):
    """``yield from pick(...)``: open that list and click on the line that says ``text``."""
    combo = kt.find(name)
    row = combo.findText(text)
    assert row >= 0, [combo.itemText(i) for i in range(combo.count())]
    yield kt.until(combo.isVisible, 10, f"{name} to be shown")
    kt.click(combo)
    lines = combo.view()
    yield kt.until(lines.isVisible, 10, f"the list of {name}")
    # Qt takes a click that comes sooner for the second half of a double click.
    yield QApplication.doubleClickInterval() + 100
    line = combo.model().index(row, combo.modelColumn())
    lines.scrollTo(line)
    middle = lines.visualRect(line).center()
    kt.click(lines.viewport(), at=(middle.x(), middle.y()))
    yield kt.until(lambda: not lines.isVisible(), 10, f"the list of {name} to close")
    assert combo.currentText() == text, combo.currentText()


def keeps_all_that_was_chosen_in_the_recipe():
    doc = yield from paint.picture()
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    paint.choose("context", "whole")
    usual = kt.find("sampler").currentText()
    step_up("clip_skip")
    assert kt.find("clip_skip").value() == 2
    yield from pick("detail", "Full")
    yield from pick("sampler", "DPM++ 2M Karras")
    paint.fold("guide", is_open=True)
    kt.click(kt.find("guide_add"))
    yield from pick("guide_layer_1", "(from the picture)")
    kt.type_text(kt.find("prompt"), "a red boat")
    yield from paint.add_words("glaze")
    assert kt.find("prompt").toPlainText() == "a red boat embedding:glaze"
    kt.click(kt.find("press"))
    yield paint.layers(doc, 2)
    yield from paint.painted()
    yield from paint.changed_only_inside(doc, before, paint.mask_of(*paint.AREA))

    yield kt.until(lambda: paint.recipes_of(doc), 20, "the recipe")
    kept = paint.annotation_of(doc, paint.stack(doc)[-1])
    asked, used = kept["settings"], kept["server"]
    for recipe in (asked, used):
        assert recipe["clip_skip"] == 2, recipe
        assert recipe["detail"] == "full", recipe
        assert recipe["sampler"] == "DPM++ 2M Karras", recipe
    assert len(used["passes"]) == 2, used["passes"]
    assert [(guide["kind"], guide["layer"]) for guide in asked["guides"]] == [("line", "derived")]
    assert [(one["kind"], one["derived"]) for one in used["controls"]] == [("line", True)]
    assert asked["prompt"] == used["prompt"] == "a red boat embedding:glaze"
    assert [(one["kind"], one["name"]) for one in used["addons"]] == [("embedding", "glaze")]

    kt.click(kt.find("guide_remove_1"))
    paint.fold("guide", is_open=False)
    kt.find("clip_skip").setValue(1)
    paint.choose("detail", "auto")
    paint.choose("sampler", usual)
    paint.choose("context", "auto")
    kt.type_text(kt.find("prompt"), "")
