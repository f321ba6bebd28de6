"""The strip of finished pictures and the history, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

from panels import LEFT, QTest, click, find, heard, thumbnails
from velatura.krita_plugin.entries import Entry
from velatura.krita_plugin.qt import Qt, QtCore
from velatura.krita_plugin.ui.parts import TOUCH


def test_the_strip_hands_out_the_chosen_picture_or_all_that_are_ticked(panel, app):
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    app.processEvents()
    kept, discarded, seen = (
        heard(signal) for signal in (panel.strip.kept, panel.strip.discarded, panel.strip.chosen)
    )
    strip = find(panel, "strip")
    strip.setCurrentRow(1)
    assert seen == [(("job", 1),)]
    click(panel, "keep")
    click(panel, "discard")
    assert kept == [([("job", 1)], False)]
    assert discarded == [([("job", 1)],)]
    for row in (0, 2):
        strip.item(row).setCheckState(Qt.CheckState.Checked)
    assert find(panel, "keep").text() == "Keep 2 in a group"
    click(panel, "keep_mask")
    assert kept[1:] == [([("job", 0), ("job", 2)], True)]
    panel.strip.show_pictures([])
    assert not find(panel, "keep").isVisible()


def test_the_strip_goes_on_looking_at_what_the_painter_chose(panel):
    panel.strip.show_pictures(thumbnails(0, 1))
    panel.strip.list.setCurrentRow(1)
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    assert panel.strip.current == ("job", 1)
    panel.strip.show_pictures(thumbnails(0, 2))
    assert panel.strip.current == ("job", 2), "what took its place"
    panel.strip.show_pictures(thumbnails(0, 2), ("job", 0))
    assert panel.strip.current == ("job", 0)


def test_a_tap_on_the_corner_ticks_and_beside_it_shows(panel, app):
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    strip = find(panel, "strip")
    place = strip.visualItemRect(strip.item(1))

    def tap(x, y):
        at = place.topLeft() + QtCore.QPoint(x, y)
        QTest.mouseClick(strip.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, at)
        return [strip.item(row).checkState() == Qt.CheckState.Checked for row in range(3)]

    assert tap(place.width() - 8, place.height() - 8) == [False, False, False]
    assert panel.strip.current == ("job", 1)
    assert tap(TOUCH - 2, TOUCH - 2) == [False, True, False]
    assert tap(4, 4) == [False, False, False]


def test_three_pictures_of_the_strip_are_seen_in_the_narrowest_docker(panel, app):
    panel.resize(260, 480)
    panel.strip.show_pictures(thumbnails(0, 1, 2))
    app.processEvents()
    strip = find(panel, "strip")
    seen = strip.viewport().rect()
    assert all(seen.contains(strip.visualItemRect(strip.item(row))) for row in range(3))


def test_a_tap_on_compare_stays_until_the_next_and_another_picture_ends_it(panel):
    panel.strip.show_pictures(thumbnails(0, 1))
    before = heard(panel.strip.compared)
    click(panel, "compare")
    assert before[-1] == (True,)
    assert find(panel, "compare").isChecked()
    assert find(panel, "compare").text() == "Before"
    click(panel, "compare")
    assert before[-1] == (False,)
    assert find(panel, "compare").text() == "Compare"
    click(panel, "compare")
    panel.strip.list.setCurrentRow(1)
    assert not find(panel, "compare").isChecked()


def test_the_history_is_searched_by_prompt_and_by_favourites(panel, app):
    entries = [
        Entry(("job", n), f"{prompt} (Fill)", prompt, 1000.0 + n, 10, favourite=n == 1)
        for n, prompt in enumerate(("a red boat", "a house", "Red roofs at night"))
    ]
    panel.past.show_entries(entries, lambda key: thumbnails(0)[0].png)
    find(panel, "past").setChecked(True)
    found, words = find(panel, "past_list"), find(panel, "past_search")
    assert found.count() == 3
    QTest.keyClicks(words, "red")
    assert [found.item(i).toolTip().split(" (")[0] for i in range(found.count())] == [
        "a red boat",
        "Red roofs at night",
    ]
    words.clear()
    click(panel, "past_favourites")
    assert found.count() == 1
    opened, starred, removed = (
        heard(signal) for signal in (panel.past.opened, panel.past.starred, panel.past.removed)
    )
    app.processEvents()
    where = found.visualItemRect(found.item(0)).center()
    QTest.mouseClick(found.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, where)
    click(panel, "past_star")
    click(panel, "past_remove")
    assert opened == [(("job", 1),)]
    assert starred == [(("job", 1), False)]
    assert removed == [(("job", 1),)]
