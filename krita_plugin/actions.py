"""What a painter can put on a key (velatura.action): each does one thing and says so on the canvas.

Nothing here needs the docker to be visible, so that all of it works in canvas-only mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .state import ACTIONS
from .ui.panel import Panel
from .ui.words import tr

_STRENGTH_STEP = 5


@dataclass(frozen=True)
class KeyAction:
    """``run`` acts on the docker's panel and returns what to say over the canvas ("": nothing)."""

    text: str
    run: Callable[[Panel], str]
    menu: str = ""


def _prompt(panel: Panel) -> str:
    panel.prompts.prompt.setFocus()
    panel.prompts.prompt.selectAll()
    return ""


def _generate(panel: Panel) -> str:
    panel.pressed.emit()
    return panel.notice.text or tr(ACTIONS[panel.action].label)


def _cancel(panel: Panel) -> str:
    if not panel.is_painting:
        return tr("Nothing is being painted.")
    panel.cancelled.emit()
    return tr("Cancelled")


def _hide_preview(panel: Panel) -> str:
    panel.escaped.emit()
    if panel.is_painting:
        return tr("The picture so far is hidden")
    return tr("The picture is off the canvas until you tap it") if panel.strip.pictures else ""


def _strength(step: int) -> Callable[[Panel], str]:
    def run(panel: Panel) -> str:
        action = ACTIONS[panel.action]
        if not action.takes_strength:
            return tr("{action} starts from nothing: it has no strength.", action=tr(action.label))
        panel.strength.slider.setValue(panel.strength.percent + step)
        label = tr(ACTIONS[panel.action].label)
        return tr("{action}, strength {percent} %", action=label, percent=panel.strength.percent)

    return run


def _live(panel: Panel) -> str:
    panel.live.switch.click()
    if not panel.live.switch.isChecked():
        return tr("Live is off")
    return panel.live.words.text() or tr("Live is on")


def _live_pause(panel: Panel) -> str:
    if not panel.live.switch.isChecked():
        return tr("Live is off")
    panel.live.pause.click()
    return panel.live.words.text()


def _live_keep(panel: Panel) -> str:
    if not panel.live.keep_on.isEnabled() or not panel.live.switch.isChecked():
        return tr("There is no live picture yet.")
    panel.live.keep_on.click()
    return panel.notice.text or tr("Kept as a hidden layer")


def _keep(panel: Panel) -> str:
    return tr("Kept as a layer") if panel.strip.keep_chosen() else _nothing(panel)


def _keep_mask(panel: Panel) -> str:
    kept = panel.strip.keep_chosen(with_mask=True)
    return tr("Kept as a layer with a mask") if kept else _nothing(panel)


def _discard(panel: Panel) -> str:
    return tr("Discarded") if panel.strip.discard_chosen() else _nothing(panel)


def _step(by: int) -> Callable[[Panel], str]:
    return lambda panel: panel.strip.step(by) or _nothing(panel)


def _compare(panel: Panel) -> str:
    if panel.strip.current is None:
        return _nothing(panel)
    return tr("Before") if panel.strip.toggle_compare() else tr("After")


def _nothing(panel: Panel) -> str:
    if panel.strip.pictures:
        return tr("None of the pictures that wait is looked at: go to the next one.")
    return tr("No picture waits.")


def _remove_recipes(panel: Panel) -> str:
    panel.recipe.removed.emit()
    return panel.notice.text


KEY_ACTIONS: dict[str, KeyAction] = {
    "velatura_prompt": KeyAction("Velatura: Prompt", _prompt),
    "velatura_generate": KeyAction("Velatura: Generate", _generate),
    "velatura_cancel": KeyAction("Velatura: Cancel", _cancel),
    "velatura_hide_preview": KeyAction("Velatura: Hide Preview", _hide_preview),
    "velatura_strength_up": KeyAction("Velatura: More Strength", _strength(_STRENGTH_STEP)),
    "velatura_strength_down": KeyAction("Velatura: Less Strength", _strength(-_STRENGTH_STEP)),
    "velatura_keep": KeyAction("Velatura: Keep", _keep),
    "velatura_keep_mask": KeyAction("Velatura: Keep With Mask", _keep_mask),
    "velatura_next": KeyAction("Velatura: Next Variant", _step(1)),
    "velatura_previous": KeyAction("Velatura: Previous Variant", _step(-1)),
    "velatura_compare": KeyAction("Velatura: Compare", _compare),
    "velatura_discard": KeyAction("Velatura: Discard", _discard),
    "velatura_live": KeyAction("Velatura: Live", _live),
    "velatura_live_pause": KeyAction("Velatura: Pause Live", _live_pause),
    "velatura_live_keep": KeyAction("Velatura: Keep from Live", _live_keep),
    "velatura_remove_recipes": KeyAction(
        "Remove Velatura Recipes", _remove_recipes, "tools/scripts"
    ),
}
