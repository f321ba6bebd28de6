"""A picture saved with what made it, and read back into the docker: on its real widgets."""

import os
from pathlib import Path

import kt
from paint import HEIGHT, SIDE, WIDTH, X, Y, fold, label, layers, painted, picture, press, stack
from velatura.protocol.png_text import read_text


def painted_pixels(doc, count):
    yield layers(doc, count)
    yield from painted()
    return bytes(stack(doc)[-1].pixelData(0, 0, SIDE, SIDE))


def saves_a_picture_and_paints_it_again_from_the_file():
    doc = yield from picture()
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.type_text(kt.find("avoid"), "fog")
    press("a red boat")
    pixels = yield from painted_pixels(doc, 2)
    seed = kt.find("seed").text()

    fold("past", is_open=True)
    past = kt.find("past_list")
    yield kt.until(lambda: past.count() == 1, 10, "the history")
    past.setCurrentRow(0)
    kt.click(kt.find("past_save"))
    path = Path(os.environ["KT_FOLDER"], "boat.png")
    dialog = kt.find("save_picture")
    dialog.fileSelected.emit(str(path))
    dialog.reject()
    yield kt.until(path.is_file, 10, "the file")
    said = read_text(path.read_bytes())
    assert said.parameters.startswith("a red boat\nNegative prompt: fog\nSteps: 4, "), said
    assert said.recipe["seed"] == int(seed)
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 10, "where it is")
    assert kt.find("notice").text() == "boat.png is written, with what made it."
    kt.click(kt.find("dismiss"))
    fold("past", is_open=False)

    yield from kt.undo(doc)
    yield layers(doc, 1)
    kt.type_text(kt.find("prompt"), "something else")
    kt.type_text(kt.find("avoid"), "")
    kt.find("steps").setValue(2)
    menu = kt.find("prompt_past").menu()
    (choice,) = [a for a in menu.actions() if a.objectName() == "prompt_picture"]
    choice.trigger()
    dialog = kt.find("picture_file")
    dialog.fileSelected.emit(str(path))
    dialog.reject()
    yield kt.until(lambda: kt.find("prompt").toPlainText() == "a red boat", 10, "its words")
    assert kt.find("avoid").toPlainText() == "fog"
    assert kt.find("steps").value() == 4
    assert (kt.find("seed").text(), kt.find("seed_lock").isChecked()) == (seed, True)
    assert not kt.find("notice_frame").isVisible(), kt.find("notice").text()
    kt.click(kt.find("press"))
    assert (yield from painted_pixels(doc, 2)) == pixels
    kt.find("seed_lock").setChecked(False)
    kt.type_text(kt.find("avoid"), "")
    kt.type_text(kt.find("prompt"), "")
