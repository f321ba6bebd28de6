"""Live in the docker, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

from panels import LONG, click, find, heard
from velatura.krita_plugin.images import rgba_bytes
from velatura.krita_plugin.live import SELECTION_LOST
from velatura.krita_plugin.live_picture import LivePicture
from velatura.krita_plugin.qt import QtGui, QtWidgets
from velatura.krita_plugin.state import (
    FIRST_STRENGTHS,
)
from velatura.protocol import messages as m
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect


def test_live_shows_its_buttons_only_while_it_is_on(panel):
    switched = heard(panel.live.switched)
    assert not panel.live.body.isVisible()
    click(panel, "live")
    assert switched == [(True,)]
    panel.live.show_on()
    assert find(panel, "live_pause").isVisible()
    assert not find(panel, "live_keep").isEnabled()  # there is no picture yet
    panel.live.show_picture(QtGui.QImage(40, 30, QtGui.QImage.Format.Format_RGB32))
    assert find(panel, "live_picture").isVisible()
    kept = heard(panel.live.kept)
    click(panel, "live_keep_on")
    click(panel, "live_keep")
    assert kept == [(True,), (False,)]
    panel.live.show_off()
    assert switched == [(True,)]
    assert not panel.live.body.isVisible()


def test_live_starts_at_a_strength_of_its_own(panel):
    assert panel.live_options.choice.strength == 40
    changed = heard(panel.live_options.changed)
    find(panel, "live_strength").setValue(65)
    assert changed
    assert panel.live_options.choice.strength == 65
    assert panel.memory.strengths == FIRST_STRENGTHS


def test_what_live_says_and_its_picture_never_widen_the_docker(panel):
    panel.live.show_on()
    panel.live.show_words(LONG, busy=True)
    panel.live.show_picture(QtGui.QImage(2000, 20, QtGui.QImage.Format.Format_RGB32))
    find(panel, "live_options").click()
    QtWidgets.QApplication.processEvents()
    assert panel.minimumSizeHint().width() <= 260
    assert panel.minimumSizeHint().height() <= 480
    assert (panel.width(), panel.height()) == (260, 480)


def test_why_live_waits_is_read_to_its_end(panel, app):
    panel.live.show_on()
    words, below = find(panel, "live_words"), find(panel, "live_why")
    for said, width, is_below in (
        ("Follows the brush", 260, False),
        (SELECTION_LOST, 260, True),
        (SELECTION_LOST, 900, False),
    ):
        panel.resize(width, 480)
        panel.live.show_words(said, busy=False)
        app.processEvents()
        assert (words.isVisible(), below.isVisible()) == (not is_below, is_below)
        seen = below if is_below else words
        assert seen.text() == words.text() == said
        if is_below:
            assert seen.height() >= seen.heightForWidth(seen.width())
        else:
            assert seen.width() >= seen.fontMetrics().horizontalAdvance(said)


def live_result(revision, x, y, side, value):
    picture = Image(side, side, "rgba8", bytes((value, 2, 3, 255)) * (side * side))
    return m.LiveResult(job=LIVE, revision=revision, x=x, y=y, picture=picture)


LIVE = "00000000-0000-4000-8000-00000000000a"


def test_live_results_lie_on_one_another_and_are_cut_to_what_may_change(app):
    picture = LivePicture(Rect(5, 6, 4, 4))
    assert picture.is_empty
    picture.lay(live_result(1, 0, 0, 4, 10))
    picture.lay(live_result(2, 2, 2, 2, 200))
    pixels = picture.rgba()
    assert [pixels[4 * (4 * y + x)] for x, y in ((0, 0), (1, 3), (2, 2), (3, 3))] == [
        *(10, 10),
        *(200, 200),
    ]
    assert rgba_bytes(picture.shown()) == pixels
    mask = bytes(range(0, 256, 16))
    picture.masks = (mask,)
    assert picture.rgba()[3::4] == mask
    assert picture.rgba()[4::4] == pixels[4::4]  # straight alpha: the colours stay
    assert rgba_bytes(picture.shown())[3::4] == mask
    picture.masks = (mask, bytes(8) + b"\xff" * 8)
    assert picture.rgba()[3::4] == bytes(8) + mask[8:]
