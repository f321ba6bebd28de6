"""A day with the docker: by keys, on a small screen, and when something goes wrong."""

import contextlib
from dataclasses import replace

import kt
from keeping import over_canvas
from krita import Krita
from paint import (
    HEIGHT,
    WIDTH,
    Asked,
    X,
    Y,
    empty_strip,
    fold,
    label,
    paint_from,
    painted,
    picture,
    press,
    stack,
    strength,
    waits,
)
from PyQt5.QtCore import QModelIndex, Qt
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication, QLineEdit
from velatura.krita_plugin.link import Link
from velatura.protocol.discovery import data_folder


def docker():
    """As it is, shown or not."""
    return next(d for d in Krita.instance().dockers() if d.objectName() == "velatura")


def key(name):
    """What Krita triggers when the painter presses the key of that action."""
    action = Krita.instance().action(name)
    assert action is not None, name
    action.trigger()


class Said:
    """What is said over the canvas while this is open, besides being said."""

    def __enter__(self):
        self.sentences, say = [], docker()._say
        docker()._say = lambda sentence: (self.sentences.append(sentence), say(sentence))
        return self

    def __exit__(self, *exception):
        del docker()._say

    def by(self, name):
        """Trigger the action; the one sentence that it says."""
        before = len(self.sentences)
        key(name)
        assert len(self.sentences) == before + 1, (name, self.sentences[before:])
        return self.sentences[-1]


@contextlib.contextmanager
def canvas_only():
    key("view_show_canvas_only")
    try:
        yield
    finally:
        key("view_show_canvas_only")


def canvas_has_focus():
    widget = QApplication.focusWidget()
    return widget is not None and "Canvas" in widget.metaObject().className()


def does_everything_by_keys_in_canvas_only_mode():
    doc = yield from picture()
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.find("variants").setValue(2)
    kt.find("steps").setValue(150)
    panel = docker().panel
    strip = panel.strip
    with canvas_only(), Said() as said:
        yield kt.until(lambda: not docker().isVisible(), 5, "the docker to be hidden")
        assert said.by("velatura_generate") == "Fill"
        yield kt.until(lambda: "step" in panel.progress.stage.text(), 60, "the first step")
        assert said.by("velatura_cancel") == "Cancelled"
        yield kt.until(lambda: not panel.is_painting, 30, "the painting to end")
        assert said.by("velatura_cancel") == "Nothing is being painted."
        assert said.by("velatura_strength_down") == "Refine selection, strength 95 %"
        assert said.by("velatura_strength_up") == "Fill, strength 100 %"

        panel.model.steps.setValue(4)
        assert said.by("velatura_generate") == "Fill"
        yield kt.until(lambda: strip.list.count() == 2, 60, "two pictures")
        first = strip.current
        yield kt.until(over_canvas, 5, "the picture over the canvas")
        assert said.by("velatura_next").startswith("2 of 2: ")
        assert strip.current != first
        assert said.by("velatura_previous").startswith("1 of 2: ")
        assert strip.current == first
        assert said.by("velatura_compare") == "Before"
        assert not over_canvas()
        assert said.by("velatura_compare") == "After"
        assert over_canvas()
        assert said.by("velatura_keep") == "Kept as a layer"
        yield kt.until(lambda: len(stack(doc)) == 2, 10, "the layer")
        # After Keep none is looked at, until the painter goes to one.
        assert not over_canvas()
        assert said.by("velatura_discard").endswith("go to the next one.")
        assert said.by("velatura_next").startswith("1 of 1: ")
        yield kt.until(over_canvas, 5, "the other picture over the canvas")
        assert said.by("velatura_discard") == "Discarded"
        assert said.by("velatura_discard") == "No picture waits."
        assert strip.list.count() == 0

        # The prompt needs the docker, for as long as it is written in.
        assert not docker().isVisible()
        kt.main_window().activateWindow()
        key("velatura_prompt")
        prompt = panel.prompts.prompt
        yield kt.until(lambda: docker().isVisible() and prompt.hasFocus(), 5, "the prompt")
        QTest.keyClicks(prompt, "a blue house")
        panel.chance.variants.setValue(1)
        QTest.keyClick(prompt, Qt.Key_Return)
        yield kt.until(lambda: not docker().isVisible(), 5, "the docker to leave")
        yield kt.until(canvas_has_focus, 5, "the canvas to have the keys")
        yield kt.until(lambda: strip.list.count() == 1, 60, "the picture")
        assert said.by("velatura_keep_mask") == "Kept as a layer with a mask"
        yield kt.until(lambda: len(stack(doc)) == 3, 10, "the layer")
        assert stack(doc)[-1].name() == "a blue house (Fill)"

        # What is in the way is said where it is seen.
        node = doc.createNode("empty", "paintlayer")
        doc.rootNode().addChildNode(node, None)
        doc.setActiveNode(node)
        yield kt.until(lambda: doc.activeNode() == node, 5, "the empty layer")
        paint_from_unseen("layer")
        assert said.by("velatura_generate").startswith('"empty" is empty')
        assert not QApplication.activeModalWidget()
    yield kt.until(lambda: docker().isVisible(), 5, "the docker again")
    kt.click(kt.find("dismiss"))
    paint_from("visible")


def paint_from_unseen(what):
    docker().panel.source.combo.choose(what)


def hides_the_preview_by_escape_and_never_cancels():
    doc = yield from picture()
    yield label("Refine")
    kt.find("steps").setValue(150)
    strength(100)
    press()
    yield kt.until(over_canvas, 60, "the picture so far")
    # At once: the painting may end, and its picture comes over the canvas then.
    QTest.keyClick(kt.find("seed"), Qt.Key_Escape)
    assert not over_canvas()
    assert is_painting(), "Esc cancelled"
    prompt = kt.find("prompt")
    kt.main_window().activateWindow()
    prompt.setFocus()
    yield kt.until(prompt.hasFocus, 5, "the prompt to have the keys")
    QTest.keyClick(prompt, Qt.Key_Escape)
    yield kt.until(canvas_has_focus, 5, "the canvas to have the keys")
    key("velatura_hide_preview")
    # What was cancelled would never come.
    yield waits(1)
    yield from painted()
    assert len(stack(doc)) == 1
    strength(55)
    empty_strip()


def says_an_error_in_the_docker_and_tries_again():
    """The server refuses: its own sentence, with Retry, and no dialogue."""
    doc = yield from picture()
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    link, ask = docker().link, docker().link.generate
    link.generate = lambda request: ask(replace(request, model="no such model"))
    try:
        press()
        yield kt.until(lambda: kt.find("notice_frame").isVisible(), 20, "the sentence")
    finally:
        del link.generate
    said = kt.find("notice").text()
    assert said.startswith("model must be one of: "), said
    assert not QApplication.activeModalWidget()
    assert len(stack(doc)) == 1
    kt.click(kt.find("retry"))
    yield waits(1)
    yield from painted()
    empty_strip()


def says_the_place_in_the_queue():
    """Somebody else's picture is painted first."""
    doc = yield from picture()
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.find("steps").setValue(150)
    with Asked() as asked:
        first = asked.press()
    heard = []
    other = Link(data_folder())
    other.news.connect(lambda: heard.extend(other.take_news()))
    other.start()
    other.generate(replace(first, variants=2))
    yield kt.until(lambda: any(each.stage == "painting" for each in heard), 60, "the other's")
    kt.click(kt.find("press"))
    place = "Waiting, place 1 in the queue"
    yield kt.until(lambda: kt.find("stage").text() == place, 30, place)
    other.cancel(first.job)
    yield kt.until(lambda: "step" in kt.find("stage").text(), 60, "our turn")
    other.stop()
    kt.click(kt.find("cancel"))
    yield from painted()


def keeps_within_260_by_480_with_keep_in_sight():
    """Afloat, as small as a painter may make it, with names as long as they come."""
    doc = yield from picture()
    doc.setName("a picture with a name that is far too long for any docker " * 3)
    doc.topLevelNodes()[0].setName("a layer with a name that is far too long for any docker " * 3)
    kt.select(doc, X, Y, WIDTH, HEIGHT)
    yield label("Fill")
    kt.find("variants").setValue(3)
    for name in ("advanced", "guide"):
        fold(name, is_open=True)
    docker().setFloating(True)
    try:
        docker().resize(260, 480)
        press("a red boat with a prompt that is far too long for any docker " * 3)
        yield kt.until(is_painting, 10, "painting")
        yield waits(3)
        yield from painted()
        # What the painter opened may have been scrolled to.
        yield kt.until(lambda: all_seen(kt.find("keep")), 5, "Keep, all of it")
        for name in ("strip", "keep_mask", "compare", "discard", "press", "prompt"):
            assert all_seen(kt.find(name)), name
        assert (docker().width(), docker().height()) == (260, 480)
        options = kt.find("options")
        assert options.widget().width() <= options.viewport().width()
        kt.click(kt.find("keep"))
        yield kt.until(lambda: len(stack(doc)) == 2, 10, "the layer")
    finally:
        docker().setFloating(False)
        for name in ("advanced", "guide"):
            fold(name, is_open=name == "advanced")
    empty_strip()


def is_painting():
    return kt.find("cancel").isVisible()


def all_seen(widget):
    return widget.visibleRegion().boundingRect().size() == widget.size()


def opens_kritas_shortcuts_at_our_actions():
    yield from picture()
    kt.click(kt.find("settings"))
    settings = next(
        w for w in QApplication.topLevelWidgets() if w.objectName() == "settings_dialog"
    )
    yield kt.until(settings.isVisible, 5, "the settings")
    kt.click(kt.find("open_shortcuts", inside=settings))
    yield kt.until(lambda: QApplication.activeModalWidget() is not None, 20, "Krita's settings")
    dialog = QApplication.activeModalWidget()

    def search():
        lines = [field for field in dialog.findChildren(QLineEdit) if field.isVisible()]
        return [x.text() for x in lines if "SearchLine" in x.metaObject().className()]

    try:
        yield kt.until(lambda: search() == ["Velatura"], 10, "our name in the search")
        tree = kt.find("list", inside=dialog)

        def shown(parent=None):
            model, parent = tree.model(), parent or QModelIndex()
            for row in range(model.rowCount(parent)):
                if not tree.isRowHidden(row, parent):
                    index = model.index(row, 0, parent)
                    yield index.data()
                    yield from shown(index)

        yield kt.until(lambda: "General" not in shown(), 10, "the others to be filtered out")
        names = list(shown())
        for action in ("Prompt", "Generate", "Cancel", "Next Variant", "Discard", "Live"):
            assert f"Velatura: {action}" in names, names
    finally:
        dialog.reject()
        settings.close()
    yield kt.until(lambda: QApplication.activeModalWidget() is None, 10, "the dialog to close")
