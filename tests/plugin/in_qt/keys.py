"""What Krita's shortcuts do in the docker, without Krita. Run by test_in_qt.py."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from panels import SELECTED, SIZE, heard, thumbnails
from velatura.krita_plugin.actions import KEY_ACTIONS
from velatura.krita_plugin.canvas import Canvas


def run(panel, name):
    return KEY_ACTIONS[name].run(panel)


def test_the_keys_do_what_the_docker_does_and_say_so(panel):
    presses, cancels = heard(panel.pressed), heard(panel.cancelled)
    panel.show_canvas(SELECTED, [])
    assert run(panel, "velatura_generate") == "Fill"
    assert run(panel, "velatura_cancel") == "Nothing is being painted."
    panel.show_painting(True)
    assert run(panel, "velatura_cancel") == "Cancelled"
    assert (len(presses), len(cancels)) == (1, 1)
    panel.notice.say("No layer is active.")
    assert run(panel, "velatura_generate") == "No layer is active."


def test_the_keys_for_strength_go_in_steps_and_change_the_action(panel):
    panel.show_canvas(SELECTED, [])
    assert run(panel, "velatura_strength_down") == "Refine selection, strength 95 %"
    assert run(panel, "velatura_strength_up") == "Fill, strength 100 %"
    panel.show_canvas(Canvas(SIZE, blank=True), [])
    assert "has no strength" in run(panel, "velatura_strength_up")


def test_the_keys_keep_and_discard_the_chosen_picture(panel):
    kept, discarded = heard(panel.strip.kept), heard(panel.strip.discarded)
    assert run(panel, "velatura_keep") == "No picture waits."
    panel.strip.show_pictures(thumbnails(1, 2))
    assert run(panel, "velatura_next") == "2 of 2: a boat"
    assert run(panel, "velatura_next") == "1 of 2: a boat"
    assert run(panel, "velatura_previous") == "2 of 2: a boat"
    assert run(panel, "velatura_compare") == "Before"
    assert run(panel, "velatura_compare") == "After"
    run(panel, "velatura_keep")
    run(panel, "velatura_keep_mask")
    run(panel, "velatura_discard")
    chosen = [("job", 2)]
    assert (kept, discarded) == ([(chosen, False), (chosen, True)], [(chosen,)])


def test_every_key_is_known_to_kritas_shortcut_settings(panel):
    import velatura.krita_plugin as package

    file = Path(package.__path__[0]) / "velatura.action"
    names = {action.get("name") for action in ElementTree.parse(file).iter("Action")}
    assert names == {"velatura_show", *KEY_ACTIONS}
    titles = {a.get("name"): a.findtext("text") for a in ElementTree.parse(file).iter("Action")}
    assert all(titles[name] == action.text for name, action in KEY_ACTIONS.items())
    wishes = heard(panel.recipe.removed)
    run(panel, "velatura_remove_recipes")
    assert len(wishes) == 1


def test_keys_switch_live_and_say_so(panel):
    assert run(panel, "velatura_live_keep") == "There is no live picture yet."
    assert run(panel, "velatura_live") == "Live is on"
    assert run(panel, "velatura_live") == "Live is off"
    assert run(panel, "velatura_live_pause") == "Live is off"
