"""A canvas beyond the protocol's largest side: one sentence, and nothing breaks."""

import kt
import paint

SENTENCE = "The canvas, 64 x 40000 pixels, is too large"


def says_that_a_canvas_is_too_large():
    yield from kt.new_document(64, 40000)
    yield from paint.light_is_green()
    remark = kt.find("remark")
    yield kt.until(lambda: remark.text().startswith(SENTENCE), 10, "the sentence")
    assert remark.isVisible()
    kt.find("press").click()
    assert paint.notice().startswith(SENTENCE), paint.notice()
    kt.find("live").click()
    yield 1500
    assert SENTENCE in kt.find("live_words").text() + kt.find("live_why").text()
    kt.find("live").click()
    # What is as large as the protocol takes is painted.
    yield from kt.new_document(64, 32768)
    yield kt.until(lambda: not remark.isVisible(), 10, "the sentence to go")
    assert not paint.notice()
    yield paint.label("Generate")


def keeps_a_picture_whose_canvas_becomes_too_large():
    doc = yield from paint.picture()
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    yield paint.started()
    doc.resizeImage(0, 0, paint.SIDE, 40000)
    yield kt.until(lambda: kt.find("remark").text().startswith("The canvas, 192 x"), 20, "a remark")
    yield kt.until(lambda: not kt.find("cancel").isVisible(), 60, "the painting to end")
    doc.resizeImage(0, 0, paint.SIDE, paint.SIDE)
    yield kt.until(lambda: not kt.find("remark").isVisible(), 20, "the remark to go")
    yield paint.waits(1)
    paint.tap(kt.find("strip"), 0)
    kt.click(kt.find("keep"))
    yield paint.there_are(doc, 2)
    kt.find("dismiss").click()
    kt.find("steps").setValue(4)
