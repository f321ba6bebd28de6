"""Every word can be in another language, and however long it gets. Run by test_in_qt.py."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
from panels import SELECTED, thumbnails
from tiny import MODEL
from velatura.krita_plugin import capture, state
from velatura.krita_plugin.actions import KEY_ACTIONS
from velatura.krita_plugin.live import LivePolicy
from velatura.krita_plugin.live_pace import LivePace
from velatura.krita_plugin.qt import QtCore, QtWidgets
from velatura.krita_plugin.servers import Server
from velatura.krita_plugin.state import LinkState
from velatura.krita_plugin.ui.panel import Panel
from velatura.krita_plugin.ui.settings import SettingsDialog
from velatura.krita_plugin.ui.words import said, tr
from velatura.protocol import messages as m
from velatura.protocol.codec import decode, encode
from velatura.protocol.region import Rect
from velatura.protocol.sentences import Sentence, words_of

MARK = "\u00bb"


class Marking(QtCore.QTranslator):
    """A language that looks like English and is longer."""

    def __init__(self, times=1):
        super().__init__()
        self._times = times

    def isEmpty(self):
        return False

    def translate(self, context, text, *rest):
        return f"{MARK}{' '.join([text] * self._times)}" if context == "velatura" else None


class German(QtCore.QTranslator):
    """Knows templates, in which names stand elsewhere."""

    KNOWN: ClassVar = {
        '"{model}" cannot {action}: choose another model.': "{action} kann „{model}“ nicht.",
        "Refine": "Verfeinern",
        "{field}: {why}": "{why} ({field})",
        "there is no {kind} {name}": "{kind} {name} fehlt",
        "Live waits: the part, {width} x {height} pixels, is too large. Select a smaller one.": (
            "{width} mal {height} Pixel sind zu groß."
        ),
    }

    def isEmpty(self):
        return False

    def translate(self, context, text, *rest):
        return self.KNOWN.get(text)


@pytest.fixture
def german(app):
    spoken = German()
    assert app.installTranslator(spoken)
    yield
    app.removeTranslator(spoken)


def test_a_refusal_that_names_something_is_translated_around_the_name(german):
    poor = replace(MODEL, name="ink {model}", actions=("generate",))
    with pytest.raises(capture.CaptureError) as caught:
        capture.plan(SELECTED, "refine", state.Settings(), poor, most_pixels=10**9)
    assert str(caught.value) == '"ink {model}" cannot Refine: choose another model.'
    assert said(caught.value) == "Verfeinern kann „ink {model}“ nicht."


def test_what_the_server_refuses_is_translated_around_the_name(german):
    why = Sentence("there is no {kind} {name}", kind=Sentence("LoRA"), name="'ink'")
    sentence = Sentence("{field}: {why}", field="prompt", why=why)
    error = m.Error(code="missing_weights", message=sentence, words=words_of(sentence))
    heard = decode(b"".join(encode(error)))
    assert heard.message == "prompt: there is no LoRA 'ink'"
    assert tr(heard.sentence) == "LoRA 'ink' fehlt (prompt)"


def test_why_live_waits_is_translated_around_the_numbers(german):
    policy = LivePolicy(most_pixels=100)
    policy.place(Rect(0, 0, 40, 30), "layer")
    assert LivePace().words(policy.sentence, False, 0.0) == "40 mal 30 Pixel sind zu groß."


@pytest.fixture
def speak(app):
    """``speak(times)``: everything made from now on is in that language."""
    spoken = []

    def install(times=1):
        spoken.append(Marking(times))
        assert app.installTranslator(spoken[-1])

    yield install
    for each in spoken:
        app.removeTranslator(each)


def seen_in(widget):
    """Everything of it that a painter may read, as (where, text)."""
    found = []
    for each in (widget, *widget.findChildren(QtWidgets.QWidget)):
        name = each.objectName() or type(each).__name__
        if name.startswith("qt_"):
            continue
        found.append((name, each.toolTip()))
        for text in ("text", "title", "placeholderText", "windowTitle", "specialValueText"):
            if callable(getattr(each, text, None)) and not isinstance(each, QtWidgets.QSpinBox):
                found.append((name, getattr(each, text)()))
        if isinstance(each, QtWidgets.QComboBox):
            found += [(name, each.itemText(i)) for i in range(each.count())]
        if isinstance(each, QtWidgets.QMenu):
            each.aboutToShow.emit()
            found += [(name, action.text()) for action in each.actions()]
    return [(name, text) for name, text in found if any(x.isalpha() for x in text)]


def full_panel():
    panel = Panel()
    panel.resize(260, 480)
    panel.show()
    panel.show_canvas(SELECTED, [])
    panel.show_link(LinkState(state.NO_SERVER, "No server is running."))
    panel.show_painting(True)
    panel.strip.show_pictures(thumbnails(0, 1, about=MARK))
    panel.guide.add_row()
    panel.recipe.setVisible(True)
    return panel


def test_every_word_of_the_docker_and_of_the_settings_is_translatable(speak):
    speak()
    panel, dialog = full_panel(), SettingsDialog()
    read = seen_in(panel) + seen_in(dialog)
    assert len(read) > 100
    assert [each for each in read if MARK not in each[1]] == []


def test_longer_words_neither_widen_the_docker_nor_the_settings(speak, app):
    speak(times=2)
    panel, dialog = full_panel(), SettingsDialog()
    panel.show_models((MODEL,))
    for fold in ("guide", "advanced", "past"):
        panel.findChild(QtWidgets.QWidget, fold).setChecked(True)
    dialog.show()
    dialog.resize(260, 480)
    dialog.servers.show_servers((Server("a1b2c3d4", "studio"),))
    for _ in range(3):
        app.processEvents()
    assert (panel.width(), panel.height()) == (260, 480)
    assert (dialog.width(), dialog.height()) == (260, 480)


def test_the_keys_and_what_the_docker_says_meanwhile_are_translatable(speak):
    speak()
    assert all(tr(action.text).startswith(MARK) for action in KEY_ACTIONS.values())
    queued = m.Progress(job="0f0f0f0f-0000-4000-8000-00000000000a", stage="queued", place=2)
    assert state.stage_words(queued, 1, tr) == MARK + "Waiting, place 2 in the queue"
    painting = m.Progress(job=queued.job, stage="painting", step=3, steps=9, variant=1, done=0.5)
    assert state.stage_words(painting, 2, tr).startswith(MARK * 2 + "Painting")
    # Only a picture that is being painted is one of two.
    for stage in ("queued", "loading", "preparing"):
        assert "of" not in state.stage_words(m.Progress(job=queued.job, stage=stage), 2, tr).split()
    ready = state.worker_state(m.Status(worker="ready", device="CPU"), tr)
    assert ready.reason == MARK + "Ready on CPU."
