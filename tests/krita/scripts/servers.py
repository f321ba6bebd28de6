"""The light's menu and the settings, by mouse and keyboard on the real widgets."""

import os

import kt
import paint
from krita import Krita
from PyQt5.QtCore import Qt, QTimer
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication


def from_menu(words):
    """Tap the entry of the light's menu that begins so."""
    light_button = kt.find("light")
    menu = light_button.menu()
    menu.popup(light_button.mapToGlobal(light_button.rect().bottomLeft()))
    yield kt.until(lambda: menu.isVisible(), 5, "the menu")
    entries = [x for x in menu.actions() if x.text().startswith(words)]
    assert len(entries) == 1, [x.text() for x in menu.actions()]
    QTest.mouseClick(menu, Qt.LeftButton, Qt.NoModifier, menu.actionGeometry(entries[0]).center())
    yield kt.until(lambda: not menu.isVisible(), 5, "the menu to close")


def entries():
    """What the light's menu would say."""
    menu = kt.find("light").menu()
    menu.aboutToShow.emit()
    return [x.text() for x in menu.actions() if x.text()]


def settings():
    """``dialog = yield from settings()``: by the gear."""
    kt.click(kt.find("settings"))
    found = [w for w in QApplication.topLevelWidgets() if w.objectName() == "settings_dialog"]
    yield kt.until(lambda: found[0].isVisible(), 5, "the settings")
    return found[0]


def write(dialog, name, text):
    field = kt.find(name, inside=dialog)
    kt.type_text(field, text)
    kt.press(field, Qt.Key_Return)


def named(name, address, token):
    """Write a server into the settings."""
    dialog = yield from settings()
    kt.click(kt.find("server_add", inside=dialog))
    for field, text in (("name", name), ("address", address), ("token", token)):
        write(dialog, f"server_{field}", text)
    assert not kt.find("server_wrong", inside=dialog).isVisible()
    dialog.close()


def is_painting():
    return kt.find("cancel").isVisible()


def switches_while_one_paints():
    doc = yield from paint.picture()
    yield from named("studio", os.environ["KT_ADDRESS"], os.environ["KT_TOKEN"])
    kt.select(doc, *paint.AREA)
    yield paint.label("Fill")
    kt.find("steps").setValue(150)
    paint.press("a red boat")
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "the first step")

    yield from from_menu("studio")
    yield paint.light("studio: Ready")
    # What the other server paints is not shown as this one's.
    assert not is_painting()
    assert "This computer (still to come: 1)" in entries(), entries()
    kt.find("steps").setValue(4)
    paint.press("a blue house")
    yield paint.waits(1)
    paint.keeps_what_comes()
    yield kt.until(lambda: len(paint.stack(doc)) == 2, 10, "the layer of the other server")
    assert paint.stack(doc)[-1].name() == "a blue house (Fill)", paint.stack(doc)[-1].name()

    # One more there, and back at once: both come from where they were asked.
    kt.find("steps").setValue(150)
    paint.press("a green hill")
    yield kt.until(is_painting, 10, "painting")
    yield from from_menu("This computer")
    yield paint.light("Ready")
    assert "studio (still to come: 1)" in entries(), entries()
    yield paint.layers(doc, 3)
    assert paint.stack(doc)[-1].name() == "a red boat (Fill)", paint.stack(doc)[-1].name()
    yield kt.until(lambda: not is_painting(), 60, "rest")
    assert kt.find("strip").count() == 0

    yield from from_menu("studio")
    yield paint.light("studio: Ready")
    yield paint.layers(doc, 4)
    assert paint.stack(doc)[-1].name() == "a green hill (Fill)", paint.stack(doc)[-1].name()
    yield kt.until(lambda: not is_painting(), 60, "rest")
    assert not any("still to come" in entry for entry in entries()), entries()


def is_with_the_chosen_server_after_a_restart():
    kt.docker()
    yield paint.light("studio: Ready")
    assert entries()[:2] == ["This computer", "studio"], entries()


def says_what_keeps_a_server_away():
    yield from paint.ready()
    address, token = os.environ["KT_ADDRESS"], os.environ["KT_TOKEN"]
    yield from named("studio", address, "x" * 43)
    yield from from_menu("studio")
    why = kt.find("why")
    yield kt.until(lambda: "refused the token" in why.text(), 20, "the token to be refused")
    assert why.isVisible()
    assert kt.find("reason").text() == "studio"
    assert not kt.find("start_server").isVisible()
    dialog = yield from settings()
    write(dialog, "server_token", token)
    yield paint.light("studio: Ready")
    assert not why.isVisible()
    for wrong, words in (("no such place", "The address must be"), ("127.0.0.1:1", "Nothing")):
        write(dialog, "server_address", wrong)
        yield kt.until(lambda w=words: why.text().startswith(w), 20, words)
    said = kt.find("server_wrong", inside=dialog)
    write(dialog, "server_address", "no such place")
    yield kt.until(lambda: said.isVisible(), 5, "the sentence in the settings")
    # Taken off the list, this computer's own paints again.
    kt.click(kt.find("server_remove", inside=dialog))
    yield paint.light("Ready")
    dialog.close()
    assert not QApplication.activeModalWidget()


def starts_the_server_and_tells_when_it_can_paint():
    kt.docker()
    yield paint.light("No server", 20)
    told = []
    kt.docker().servers.told.connect(told.append)
    yield from from_menu("Start server")
    yield paint.light("Ready")
    assert told == ["The model is loaded: Velatura can paint."], told
    assert not kt.find("start_server").isVisible()
    assert not any(entry == "Start server" for entry in entries())


def sets_what_it_begins_with():
    yield from paint.ready()
    dialog = yield from settings()
    kt.find("default_variants", inside=dialog).setValue(4)
    write(dialog, "default_refine", "61")
    write(dialog, "default_soft_edge", "9")
    write(dialog, "history_mb", "12")
    assert kt.find("variants").value() == 4
    assert kt.find("soft_edge").value() == 9
    kt.find("soft_edge").setValue(1)
    kt.find("variants").setValue(2)
    kt.click(kt.find("reset_defaults", inside=dialog))
    assert kt.find("variants").value() == 4
    assert kt.find("soft_edge").value() == 9
    dialog.close()
    kt.find("variants").setValue(2)


def quits():
    """As a painter does, so that Krita writes its own settings; after the result is out."""
    yield 0
    QTimer.singleShot(1500, Krita.instance().action("file_quit").trigger)


def begins_with_what_was_set():
    kt.docker()
    yield paint.light("Ready")
    assert kt.find("soft_edge").value() == 9
    assert kt.find("variants").value() == 2, "the painter's last choice is remembered"
    doc = yield from paint.picture()
    yield paint.label("Refine")
    assert kt.find("strength_number").value() == 61
    dialog = yield from settings()
    assert kt.find("history_mb", inside=dialog).value() == 12
    assert kt.find("default_variants", inside=dialog).value() == 4
    dialog.close()
    assert not kt.find("notice_frame").isVisible(), kt.find("notice").text()
    assert Krita.instance().activeDocument() == doc


def says_that_its_settings_were_damaged():
    kt.docker()
    yield paint.light("Ready")
    assert kt.find("notice").text().startswith("settings.json is damaged: it is kept as settings.")
    assert kt.find("variants").value() == 0
    yield from sets_what_it_begins_with()
