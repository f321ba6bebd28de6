"""What prompts name beside words: LoRAs and textual inversions, found by name, kept between jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from velatura.models.addon import WORDS, AddOn, family_words, quote
from velatura.models.addon_names import AddOns, Mention
from velatura.models.errors import ModelError
from velatura.models.families.base import Loaded
from velatura.models.lora_weights import WeightedLora, load_lora
from velatura.models.loras import FAMILY_OF_WIDTH
from velatura.models.places import EMBEDDING, LORA
from velatura.models.weights import Digests
from velatura.protocol.addon_marks import embedding_mark
from velatura.protocol.messages import MOST_ADD_ONS, AddOnInfo, ModelInfo
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.prompt.encode import Prompts
from velatura.server.worker.prompt.language import Parsed, Part
from velatura.server.worker.prompt.textual_inversion import Inversion, Inversions, load_inversion
from velatura.server.worker.report import Reporter
from velatura.server.worker.residency.lru import Lru
from velatura.server.worker.residency.shelf import Shelf

# All that one prompt names are needed at once.
_MOST_LORAS = 8
_MOST_EMBEDDINGS = 64
_WORDS_KEPT = _MOST_EMBEDDINGS
# Of all names in the catalogue: it is one message of limited length. Those beyond can be named too.
_MOST_LETTERS = 300_000


@dataclass(frozen=True)
class Named:
    """What one variant's prompts name.

    loras   (LoRA, weight in the UNet, weight in the text encoders), each once
    words   the textual inversions
    addons  all that there are, which read those names
    notes   sentences about what could not be read as such
    """

    loras: tuple[tuple[AddOn, float, float], ...] = ()
    words: tuple[AddOn, ...] = ()
    addons: AddOns = field(default_factory=AddOns)
    notes: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[AddOn, ...]:
        return (*(addon for addon, *_ in self.loras), *self.words)


@dataclass(frozen=True)
class Ready:
    """The same in memory. ``key`` tells texts apart that were encoded with different ones."""

    loras: tuple[WeightedLora, ...]
    words: Inversions
    recipe: tuple[dict[str, Any], ...]
    note: str
    key: object


def find_named(model: str, prompts: Prompts, addons: AddOns, text_width: int) -> Named:
    """What ``prompts`` name for a model with text embeddings of ``text_width``.

    Raises JobError with the field: a name that is not there (``missing_weights``), or one of
    another family (``unsupported``).
    """
    loras: dict[AddOn, tuple[float, float]] = {}
    words: dict[AddOn, None] = {}
    notes: dict[str, None] = {}
    if prompts.negative.loras:
        name = quote(prompts.negative.loras[0].name)
        raise JobError(
            "unsupported",
            Sentence(
                "negative names the LoRA {name}, which changes the whole picture: name it in the "
                "prompt, with a weight below 0 to keep away from it.",
                name=name,
            ),
            "negative",
        )
    if len(prompts.prompt.loras) > _MOST_LORAS:
        raise JobError("unsupported", f"prompt names more than {_MOST_LORAS} LoRAs.", "prompt")
    for one in prompts.prompt.loras:
        addon = _choose(addons, LORA, one.name, text_width, model, "prompt")
        text_weight = one.weight if one.text_weight is None else one.text_weight
        before = loras.get(addon, (0.0, 0.0))
        loras[addon] = before[0] + one.weight, before[1] + text_weight
    addons = addons.beside(loras)
    for side in ("prompt", "negative"):
        parsed: Parsed = getattr(prompts, side)
        notes |= dict.fromkeys(parsed.remarks)
        for mention in _mentions(parsed, addons, text_width):
            if mention.explicit:
                words[_choose(addons, EMBEDDING, mention.name, text_width, model, side)] = None
            elif why := _why_words(mention, text_width):
                notes[why] = None
            else:
                words[mention.addons[0]] = None
        if len(words) > _MOST_EMBEDDINGS:
            raise JobError(
                "unsupported", f"{side} names more than {_MOST_EMBEDDINGS} embeddings.", side
            )
    weights = tuple((addon, *weights) for addon, weights in loras.items())
    return Named(weights, tuple(words), addons, tuple(notes))


def _mentions(parsed: Parsed, addons: AddOns, text_width: int) -> Iterator[Mention]:
    for part in parsed.parts:
        if isinstance(part, Part):
            yield from addons.mentions(part.text, text_width)


def _why_words(mention: Mention, text_width: int) -> str:
    """Why an ordinary word that an embedding is called by was read as a word, or none."""
    first, name = mention.addons[0], quote(mention.name)
    if len(mention.addons) > 1:
        names = ", ".join(quote(embedding_mark(one.name)) for one in mention.addons)
        return f"{name} was read as words: several embeddings are called so, write which: {names}."
    if first.reason:
        return f"{name} was read as words: there is an embedding of this name, but {first.reason}"
    if not first.fits(text_width):
        made_for = family_words(first.text_width)
        return f"{quote(first.name)} is an embedding for {made_for} and was read as words."
    return ""


class AddOnsInMemory:
    """LoRAs and textual inversions of the last jobs: new weights for them load nothing.

    LoRAs stand on the ``shelf`` and leave it with their model, or for the room that others need.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._words = shelf, Lru(_WORDS_KEPT)
        self._digests = Digests()

    def clear(self) -> None:
        self._words.clear()

    def get(self, named: Named, loaded: Loaded, loading: Callable[[str], None]) -> Ready:
        """What ``named`` names, for ``loaded``. ``loading`` is told what is being read.

        Raises JobError (``unsupported``) by name for a file that is broken or fits no layer.
        """

        def one_lora(addon: AddOn) -> Any:
            def load() -> Any:
                loading(f"Loading the LoRA {addon.name}.")
                return _named(addon, lambda: load_lora(addon, loaded))

            return self._shelf.get(
                (LORA, loaded.name, loaded.dtype, addon),
                lambda: addon.size,
                f"LoRA {quote(addon.name)}",
                load,
                "prompt",
            )

        def one_word(addon: AddOn) -> Any:
            return _named(addon, lambda: load_inversion(addon, loaded.denoiser.text.widths))

        loras: list[WeightedLora] = [
            (one_lora(addon), weight, text_weight) for addon, weight, text_weight in named.loras
        ]
        rows: dict[AddOn, Inversion] = {
            addon: self._words.get((loaded.name, addon), partial(one_word, addon))
            for addon in named.words
        }
        width = next((addon.text_width for addon in rows), 0)
        notes = list(named.notes)
        for (addon, _, _), (lora, _, _) in zip(named.loras, loras, strict=True):
            if lora.left_out:
                notes.append(
                    f"{lora.left_out} of the {lora.layers} layers of LoRA {quote(addon.name)} "
                    "have no place in this model, or are of a kind that is not known here, and were "
                    "left out."
                )
        heard = tuple((addon, text_weight) for addon, _, text_weight in named.loras if text_weight)
        return Ready(
            tuple(loras),
            Inversions(named.addons, width, rows),
            tuple(self._recipe(named)),
            " ".join(notes),
            (heard, named.words),
        )

    def _recipe(self, named: Named) -> list[dict[str, Any]]:
        made = [
            {"kind": LORA, "name": a.name, "weight": weight, "text_weight": text_weight,
             "digest": self._digests.of([a.path])}
            for a, weight, text_weight in named.loras
        ]  # fmt: skip
        return made + [
            {"kind": EMBEDDING, "name": a.name, "digest": self._digests.of([a.path])}
            for a in named.words
        ]


def loading(report: Reporter) -> Callable[[str], None]:
    """What tells ``report`` that something is being read."""
    return lambda note: report.stage("loading", note=note)


def describe(addons: Sequence[AddOn], models: Sequence[ModelInfo]) -> tuple[AddOnInfo, ...]:
    """What the catalogue says of ``addons`` that can be used, for the families of ``models``."""
    families = {model.text_width: model.family for model in models} | FAMILY_OF_WIDTH
    described: list[AddOnInfo] = []
    room = _MOST_LETTERS
    for one in addons:
        if one.reason:
            continue
        room -= len(one.name)
        if room < 0 or len(described) == MOST_ADD_ONS:
            break
        family = families.get(one.text_width, f"text width {one.text_width}")
        described.append(
            AddOnInfo(kind=one.kind, name=one.name, family=family, text_width=one.text_width)
        )
    return tuple(described)


def skipped(clip_skip: int, loaded: Loaded) -> int:
    """How many of the encoders' layers ``clip_skip`` leaves out, beyond those that the family does.

    As A1111 counts: 1 reads the last layer, 2 the last but one. A family that was trained on the
    last but one never reads the last. Raises JobError (``invalid_field``).
    """
    skip = max(0, clip_skip - loaded.family.clip_layer)
    # Such a family's own configuration of one encoder may end before the last layer already.
    most = loaded.denoiser.text.most_skip
    if skip > max(0, most - 1):
        raise JobError(
            "invalid_field",
            Sentence(
                "clip_skip must be at most {most} for {model}, whose text encoder has no more "
                "layers.",
                most=max(1, most - 1 + loaded.family.clip_layer),
                model=loaded.name,
            ),
            "clip_skip",
        )
    return skip


def _choose(addons: AddOns, kind: str, name: str, text_width: int, model: str, field: str) -> AddOn:
    try:
        return addons.choose(kind, name, text_width, model)
    except ModelError as error:
        sentence = Sentence("{field}: {why}", field=field, why=error.message)
        raise JobError(error.code, sentence, field) from error


def _named(addon: AddOn, load: Callable[[], Any]) -> Any:
    try:
        with torch.no_grad():
            return load()
    except ModelError as error:
        sentence = Sentence(
            "prompt: {kind} {name}: {why}",
            kind=Sentence(WORDS[addon.kind]),
            name=quote(addon.name),
            why=error.message,
        )
        raise JobError(error.code, sentence, "prompt") from error
