"""What the docker knows: values only, no Qt, no Krita.

A painter's word stands in the labels, the field's word in the names; ACTIONS is the table between
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..protocol import messages as m
from ..protocol.style import Style


class Translate(Protocol):
    """Words of the docker in the painter's language, with {names} filled in."""

    def __call__(self, text: str, **values: object) -> str: ...


@dataclass(frozen=True)
class Action:
    """One thing the main button can do. ``wire`` is its name in the protocol.

    strength: the first denoising strength in percent. of_layer: the label while one layer alone is
    painted over, "" where none can be. takes_strength: False where the picture is made from noise
    alone.
    """

    label: str
    wire: str
    strength: int
    help: str
    of_layer: str = ""
    needs_selection: bool = False
    takes_strength: bool = True


ACTIONS: dict[str, Action] = {
    "generate": Action(
        "Generate",
        "generate",
        100,
        "A new picture from the prompt alone (text to image).",
        takes_strength=False,
    ),
    "refine": Action(
        "Refine",
        "refine",
        55,
        "Paint over the picture (image to image).",
        of_layer="Refine layer '{layer}'",
    ),
    "fill": Action(
        "Fill",
        "fill",
        100,
        "Paint the selection anew (inpaint).",
        of_layer="Fill layer '{layer}'",
        needs_selection=True,
    ),
    "refine_selection": Action(
        "Refine selection",
        "refine",
        45,
        "Paint over what is selected (image to image).",
        of_layer="Refine selection of '{layer}'",
        needs_selection=True,
    ),
    "expand": Action(
        "Expand",
        "expand",
        100,
        "Continue the picture over its empty border (outpaint).",
        takes_strength=False,
    ),
}
FIRST_STRENGTHS: Mapping[str, int] = {name: action.strength for name, action in ACTIONS.items()}

# What is painted over. AUTOMATIC stands only in the docker's field and means one of the others.
VISIBLE, LAYER, AUTOMATIC = "visible", "layer", "auto"
# How many pictures a press paints where the painter leaves it to us (0 in Memory): a GPU paints
# several while one looks at the first; refining rarely needs a choice.
AUTOMATIC_VARIANTS = 3
# A few-step model's own sampler -> the one that goes on in the same way in live; others have LCM there.
_LIVE_SAMPLERS = {"TCD": "TCD", "Euler SGM Uniform": "Euler", "DDIM SGM Uniform": "DDIM"}
_LIVE_SAMPLER = "LCM"
# How many prompts of earlier presses are remembered.
MOST_PROMPTS = 50
# The widest soft edge, in canvas pixels.
WIDEST_EDGE = 512
# Instead of a layer: the server traces the guide from the picture.
DERIVED = "derived"


@dataclass(frozen=True)
class Guide:
    """One control layer (ControlNet). layer: its id, or DERIVED. influence: percent, 0..200; start, end: percent of steps.

    on: False keeps its numbers for later and sends nothing.
    """

    kind: str
    layer: str
    influence: int = 100
    start: int = 0
    end: int = 100
    on: bool = True


@dataclass(frozen=True)
class Settings:
    """The docker's fields at one moment.

    strength: denoising strength in percent, 1..100. seed: None for a new one at every press.
    model: a name of the catalogue. steps, guidance, sampler: None means the model's own.
    clip_skip: which layer of the text encoder is read, 1 the last.
    context: how much around the selection the model sees, one of region.CONTEXTS.
    style: whose words go around the prompts.
    soft_edge: canvas pixels, None for what suits the selection. detail: how finely large areas are
    painted, one of messages.DETAILS. leave_out: ids of layers that are
    not part of what is painted over.
    """

    prompt: str = ""
    negative: str = ""
    strength: int = 100
    paint_from: str = VISIBLE
    guides: tuple[Guide, ...] = ()
    leave_out: tuple[str, ...] = ()
    context: str = "auto"
    soft_edge: int | None = None
    keep_outline: bool = True
    variants: int = 1
    seed: int | None = None
    model: str = ""
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    clip_skip: int = 1
    detail: str = "auto"
    style: Style | None = None

    def live_sampler(self, own: str) -> str:
        """The style's, else what suits a model whose ``own`` sampler that is."""
        chosen = self.style.live_sampler if self.style is not None else None
        return chosen or _LIVE_SAMPLERS.get(own, _LIVE_SAMPLER)

    @property
    def active_guides(self) -> tuple[Guide, ...]:
        return tuple(guide for guide in self.guides if guide.on)

    @property
    def left_out(self) -> frozenset[str]:
        """Ids of all layers that are no part of what is painted over: guides too."""
        guides = {guide.layer for guide in self.active_guides} - {DERIVED}
        return frozenset(self.leave_out) | guides


@dataclass(frozen=True)
class Memory:
    """What the docker remembers from one start of Krita to the next; the rest is the picture's.

    variants: 0 for what suits the device and the action. prompts: those of earlier presses, the newest
    first.
    """

    strengths: Mapping[str, int]
    paint_from: str = AUTOMATIC
    variants: int = 0
    model: str = ""
    style: str = ""
    prompts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "strengths": dict(self.strengths),
            "paint_from": self.paint_from,
            "variants": self.variants,
            "model": self.model,
            "style": self.style,
            "prompts": self.prompts,
        }

    @classmethod
    def from_json(cls, value: Any, first: Memory | None = None) -> Memory:
        """Every field that is missing or out of range takes its first value."""
        value = value if isinstance(value, dict) else {}
        first = first or cls(FIRST_STRENGTHS)
        strengths = dict(first.strengths)
        kept = value.get("strengths")
        for name, percent in kept.items() if isinstance(kept, dict) else ():
            if name in strengths and isinstance(percent, int) and 1 <= percent <= 100:
                strengths[name] = percent
        source, variants, model, style, prompts = (
            value.get(name) for name in ("paint_from", "variants", "model", "style", "prompts")
        )
        return cls(
            strengths=strengths,
            paint_from=source if source in (AUTOMATIC, VISIBLE, LAYER) else first.paint_from,
            variants=variants
            if isinstance(variants, int) and 0 <= variants <= m.MOST_VARIANTS
            else first.variants,
            model=model if isinstance(model, str) else "",
            style=style if isinstance(style, str) else "",
            prompts=tuple(x for x in prompts if isinstance(x, str))[:MOST_PROMPTS]
            if isinstance(prompts, list)
            else (),
        )

    def with_prompt(self, prompt: str, most: int = MOST_PROMPTS) -> Memory:
        """The newest first, each once."""
        if not prompt:
            return self
        others = (other for other in self.prompts if other != prompt)
        return replace(self, prompts=(prompt, *others)[:most])

    def with_strength(self, action: str, percent: int) -> Memory:
        return replace(self, strengths={**self.strengths, action: percent})


def automatic_variants(action: str, device: str) -> int:
    """How many pictures suit this action on this device (its name in the server's status)."""
    quick = bool(device) and not device.startswith("CPU")
    return AUTOMATIC_VARIANTS if quick and ACTIONS[action].wire != "refine" else 1


def action_at(action: str, percent: int) -> str:
    """Which action the strength slider means: a selection is filled at 100 %, refined below."""
    if action in ("fill", "refine_selection"):
        return "fill" if percent >= 100 else "refine_selection"
    return action


# --- the connection --------------------------------------------------------------------------------

NO_SERVER = "no server"
CONNECTING = "connecting"
UNREACHABLE = "unreachable"
REFUSED = "refused"
LOADING = "loading"
READY = "ready"
RESTARTING = "restarting"
FAILED = "failed"


@dataclass(frozen=True)
class LinkState:
    """How the connection stands, and one sentence that says why: in the painter's language already
    where it has values in it. device: what paints, "" unknown."""

    kind: str
    reason: str
    device: str = ""

    @property
    def is_connected(self) -> bool:
        return self.kind in (LOADING, READY, RESTARTING, FAILED)

    @property
    def may_start(self) -> bool:
        """True when starting a server could help."""
        return self.kind == NO_SERVER


def worker_state(status: m.Status, tr: Translate) -> LinkState:
    """The connection's state as the server's status tells it."""
    kind = {"starting": LOADING, "ready": READY, "restarting": RESTARTING, "failed": FAILED}[
        status.worker
    ]
    said = {
        LOADING: "Connected. The model is loading.",
        READY: tr("Ready on {device}.", device=status.device) if status.device else "Ready.",
        RESTARTING: "The painting process stopped and is starting again.",
        FAILED: "The painting process cannot start: see the server's log.",
    }[kind]
    return LinkState(kind, status.reason or said, status.device)


def stage_words(progress: m.Progress, variants: int, tr: Translate) -> str:
    """What the progress bar says."""
    if progress.stage == "queued" and progress.place:
        return tr("Waiting, place {place} in the queue", place=progress.place)
    if progress.stage != "painting" or not progress.steps:
        words = tr(
            {
                "queued": "Waiting",
                "loading": "Loading the model",
                "preparing": "Preparing",
                "painting": "Painting",
                "finishing": "Finishing",
            }[progress.stage]
        )
    else:
        words = tr("Painting, step {step} of {steps}", step=progress.step, steps=progress.steps)
    if variants > 1 and progress.stage in ("painting", "finishing"):
        words = tr("{words} ({n} of {count})", words=words, n=progress.variant + 1, count=variants)
    return words
