"""A LoRA from the menu beside the prompt, on the docker's real widgets."""

import kt
from paint import SIDE, label, layers, painted, picture, stack


def painted_and_taken_back(doc, count):
    """``pixels = yield from painted_and_taken_back(doc, count)``: of the new layer."""
    kt.click(kt.find("press"))
    yield layers(doc, count)
    yield from painted()
    pixels = bytes(stack(doc)[-1].pixelData(0, 0, SIDE, SIDE))
    yield from kt.undo(doc)
    yield layers(doc, count - 1)
    return pixels


def wears_a_lora_from_the_menu():
    doc = yield from picture()
    yield label("Refine")
    button = kt.find("prompt_add")
    yield kt.until(lambda: button.isEnabled(), 20, "what the model takes")
    kt.find("seed").setText("7")
    kt.find("seed_lock").setChecked(True)
    kt.type_text(kt.find("prompt"), "a red boat")
    plain = yield from painted_and_taken_back(doc, 2)
    ink = [a for a in button.menu().actions() if a.text() == "ink"]
    assert len(ink) == 1, [a.text() for a in button.menu().actions()]
    ink[0].trigger()
    assert kt.find("prompt").toPlainText() == "a red boat <lora:ink:1>"
    inked = yield from painted_and_taken_back(doc, 2)
    assert inked != plain, "the LoRA has no influence"
    kt.type_text(kt.find("prompt"), "a red boat")
    assert (yield from painted_and_taken_back(doc, 2)) == plain, "something of it stayed"

    kt.type_text(kt.find("prompt"), "a red boat <lora:ick:1>")
    kt.click(kt.find("press"))
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 20, "the sentence")
    said = kt.find("notice").text()
    assert "there is no LoRA 'ick'; for tiny there are: ink" in said, said
    kt.click(kt.find("dismiss"))
    kt.type_text(kt.find("prompt"), "")
    kt.find("seed_lock").setChecked(False)
