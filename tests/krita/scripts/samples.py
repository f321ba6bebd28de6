"""Open what painters have saved with earlier versions, on the docker's real widgets."""

from pathlib import Path

import kt
import paint
from krita import Krita

FIRST = Path(__file__).parents[2] / "data" / "samples-1"


def opened(name):
    """``doc = yield from opened(...)``: with the generated layer current, and what it offers."""
    yield from paint.picture()
    app = Krita.instance()
    app.setBatchmode(True)
    doc = app.openDocument(str(FIRST / name))
    app.activeWindow().addView(doc)
    yield kt.until(lambda: app.activeDocument() == doc, 10, "the file")
    doc.waitForDone()
    (key, *_) = paint.recipes_of(doc)
    layer = next(n for n in everything(doc.rootNode()) if n.uniqueId().toString() in key)
    yield from paint.choose_layer(doc, layer)
    kt.docker().panel.entered.emit()
    yield kt.until(lambda: kt.find("reopen").isVisible(), 10, "the button")
    kt.click(kt.find("reopen"))
    return doc


def everything(node):
    for child in node.childNodes():
        yield child
        yield from everything(child)


def says(prompt, steps=4, seed="7", sampler="DPM++ 2M Karras"):
    yield kt.until(lambda: kt.find("prompt").toPlainText() == prompt, 10, f"the prompt {prompt!r}")
    assert kt.find("steps").value() == steps
    assert (kt.find("seed").text(), kt.find("seed_lock").isChecked()) == (seed, True)
    assert kt.find("sampler").currentText() == sampler, kt.find("sampler").currentText()


def ended(doc, remembered=1):
    """The history of the file is there; then all is as it was."""
    paint.fold("past", is_open=True)
    past = kt.find("past_list")
    yield kt.until(lambda: past.count() == remembered, 10, f"{remembered} in the history")
    paint.fold("past", is_open=False)
    kt.find("seed_lock").setChecked(False)
    kt.find("style").setCurrentIndex(0)
    kt.find("soft_edge").setValue(-1)
    paint.choose("detail", "auto")
    for row in list(kt.docker().panel.guide.rows):
        kt.click(row.remove)
    for name in ("prompt", "avoid"):
        kt.type_text(kt.find(name), "")
    if kt.find("notice_frame").isVisible():
        kt.click(kt.find("dismiss"))


def a_fill_with_a_guide_under_a_mask():
    doc = yield from opened("fill.kra")
    yield from says("a red boat")
    assert kt.find("soft_edge").value() == 3
    assert kt.find("guide_kind_1").currentData() == "line"
    values = [kt.find(f"guide_{name}_1").value() for name in ("influence", "from", "until")]
    assert values == [60, 10, 80]
    assert doc.selection() is not None, "the selection is back"
    assert [doc.selection().x(), doc.selection().width()] == [12, 40]
    yield from ended(doc)


def an_expansion():
    doc = yield from opened("expand.kra")
    yield from says("the sky")
    yield from ended(doc)


def a_fill_in_two_passes():
    doc = yield from opened("two-passes.kra")
    yield from says("a house", seed="9")
    assert kt.find("detail").currentData() == "full"
    yield from ended(doc)
