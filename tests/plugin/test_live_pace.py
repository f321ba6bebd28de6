"""Live says why it waits, how fast it is, or that it follows."""

from __future__ import annotations

from velatura.krita_plugin.live_pace import LivePace


def test_it_counts_the_pictures_of_the_last_seconds():
    pace = LivePace()
    assert pace.words("", False, 0) == "Follows the brush"
    assert pace.words("", True, 0) == "Painting"
    for number in range(9):
        pace.picture(number / 4)
    assert pace.words("", True, 2.1) == "4.0 pictures a second"
    assert pace.words("", False, 60) == "Follows the brush"


def test_why_it_waits_comes_first_and_loading_second():
    pace = LivePace()
    pace.picture(0)
    pace.picture(1)
    pace.stage("loading")
    assert pace.words("", True, 1) == "Loading the model"
    assert pace.words("Live is paused.", True, 1) == "Live is paused."
    pace.stage("painting")
    assert pace.words("", True, 1) == "1.0 pictures a second"
    pace.begin()
    assert pace.words("", True, 1) == "Painting"
