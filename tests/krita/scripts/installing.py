"""From the imported zip to a layer that is kept: the card's real widgets, by mouse."""

import time

import kt
import paint
from PyQt5.QtCore import Qt
from PyQt5.QtTest import QTest

READY_SECONDS = 400


def offered(words):
    return kt.until(
        lambda: kt.find("install").isVisible() and words in kt.find("install_sentence").text(),
        60,
        f"the card to say {words!r}",
    )


def begins_and_is_cut_off():
    """Up to the libraries; what comes then is a kill."""
    kt.docker()
    yield offered("Install downloads")
    kt.report(sentence=kt.find("install_sentence").text(), folder=kt.find("install_folder").text())
    assert not kt.find("start_server").isVisible()
    kt.click(kt.find("install"))
    yield kt.until(
        lambda: kt.find("install_words").text().startswith("Libraries"), 120, "the libraries"
    )


def goes_on_and_paints():
    kt.docker()
    yield offered("was not finished")
    start = time.monotonic()
    kt.click(kt.find("install"))
    yield paint.light("Ready", READY_SECONDS)
    kt.report(ready=time.monotonic() - start)
    yield from paints_and_keeps()
    kt.report(layer=time.monotonic() - start)


def updates():
    """A newer plugin than the server: one press, and it paints again."""
    kt.docker()
    yield offered("newer server")
    assert kt.find("install").text() == "Update"
    kt.click(kt.find("install"))
    yield kt.until(lambda: not kt.find("install_card").isVisible(), READY_SECONDS, "the update")
    yield paint.light("Ready", READY_SECONDS)
    yield from paints_and_keeps()


def removes():
    """By the light's menu; everything of the painter's stays."""
    kt.docker()
    light = kt.find("light")
    menu = light.menu()
    menu.popup(light.mapToGlobal(light.rect().bottomLeft()))
    yield kt.until(lambda: menu.isVisible(), 5, "the menu")
    (entry,) = [x for x in menu.actions() if x.text() == "Remove the server"]
    QTest.mouseClick(menu, Qt.LeftButton, Qt.NoModifier, menu.actionGeometry(entry).center())
    yield kt.until(lambda: kt.find("keep_models").isVisible(), 5, "the question what stays")
    kt.click(kt.find("install"))
    yield offered("Install downloads")


def paints_and_keeps():
    doc = yield from kt.new_document(256, 256, kt.noise(256, 256))
    before = kt.projection_bytes(doc)
    kt.select(doc, *paint.AREA)
    kt.docker().panel.entered.emit()
    yield paint.label("Fill")
    kt.type_text(kt.find("prompt"), "a house by a lake")
    kt.click(kt.find("press"))
    yield kt.until(lambda: kt.find("keep").isVisible(), 180, "a result")
    kt.click(kt.find("keep"))
    yield paint.layers(doc, 2)
    doc.refreshProjection()
    doc.waitForDone()
    assert kt.projection_bytes(doc) != before, "the layer shows nothing"
    kt.report(name=paint.stack(doc)[-1].name())
    kt.close_all()
