"""A LoRA from the menu beside the prompt, on the docker's real widgets."""

import kt
import paint


def wears_a_lora_from_the_menu():
    doc = yield from paint.picture()
    yield paint.label("Refine")
    kt.find("seed").setText("7")
    kt.find("seed_lock").setChecked(True)
    kt.type_text(kt.find("prompt"), "a red boat")
    plain = yield from paint.painted_and_taken_back(doc, 2)
    yield from paint.add_words("ink")
    assert kt.find("prompt").toPlainText() == "a red boat <lora:ink:1>"
    inked = yield from paint.painted_and_taken_back(doc, 2)
    assert inked != plain, "the LoRA has no influence"
    kt.type_text(kt.find("prompt"), "a red boat")
    assert (yield from paint.painted_and_taken_back(doc, 2)) == plain, "something of it stayed"

    kt.type_text(kt.find("prompt"), "a red boat <lora:ick:1>")
    kt.click(kt.find("press"))
    yield kt.until(lambda: kt.find("notice_frame").isVisible(), 20, "the sentence")
    said = kt.find("notice").text()
    assert "there is no LoRA 'ick'; for tiny there are: ink" in said, said
    kt.click(kt.find("dismiss"))
    kt.type_text(kt.find("prompt"), "")
    kt.find("seed_lock").setChecked(False)
