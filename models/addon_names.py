r"""Find LoRAs and textual inversions by name: the one reader of their names.

A name is compared without regard to case, Unicode's form (NFC, NFD), the kind of its blanks, and
``/`` or ``\``. In this order it means: the file of exactly this name; the file of this name in
another case; the only one whose path ends with it, or that has it without a weight file's suffix;
the only one that says in its metadata that it is called so.
"""

from __future__ import annotations

import difflib
import filecmp
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from velatura.models.addon import WORDS, AddOn, family_words, quote
from velatura.models.errors import ModelError
from velatura.models.places import EMBEDDING, LORA
from velatura.protocol.addon_marks import EMBEDDING as EXPLICIT
from velatura.protocol.sentences import Sentence

_SUFFIX = re.compile(r"\.(?:safetensors|pt|pth|bin|ckpt)(?![\w-])", re.IGNORECASE)
_LAST_SUFFIX = re.compile(r"(?<=.)\.(?:safetensors|pt|pth|bin|ckpt)\Z", re.IGNORECASE)
# What an explicit name that is not known is taken to be, for the sentence that says so.
_UNKNOWN = re.compile(r"[^\s,:()<>{}\[\]|]+")
_JOINERS = "\u200c\u200d"
_MOST_LISTED = 12


def fold(name: str) -> str:
    r"""Return what is the same for all spellings of a name.

    >>> fold("Stra\u00dfe\\NE\u0301G\u00a01") == fold("strasse/n\u00e9g 1")
    True
    """
    return "".join(map(_fold, name))


def _fold(character: str) -> str:
    if character == "\\":
        return "/"
    if character.isspace() and character != "\n":
        return " "
    whole = unicodedata.normalize("NFD", character)
    return unicodedata.normalize("NFD", whole.casefold())


@dataclass(frozen=True)
class Mention:
    """An embedding's name in a text, from ``start`` to ``end``.

    addons    what it may mean; several where it does not say which
    explicit  written as ``embedding:name``, so that it is never an ordinary word
    """

    start: int
    end: int
    name: str
    addons: tuple[AddOn, ...]
    explicit: bool


class AddOns(tuple[AddOn, ...]):
    """All LoRAs and textual inversions that there are."""

    @cached_property
    def _names(self) -> dict[str, _Names]:
        return {kind: _Names(one for one in self if one.kind == kind) for kind in (LORA, EMBEDDING)}

    def beside(self, loras: Iterable[AddOn]) -> AddOns:
        """Return these with the embeddings that ``loras`` bundle, which come before namesakes."""
        bundled = {fold(one.name): one for lora in loras for one in lora.bundled}
        if not bundled:
            return self
        rest = (a for a in self if a.kind != EMBEDDING or fold(a.name) not in bundled)
        return AddOns([*rest, *bundled.values()])

    def called(self, kind: str, name: str, text_width: int) -> tuple[AddOn, ...]:
        """Find what ``name`` means: one, none, or several where it does not say which.

        Those that fit a model of ``text_width`` before others, usable ones before broken ones.
        """
        return self._names[kind].called(name, text_width)

    def mentions(self, text: str, text_width: int) -> Iterator[Mention]:
        """Find the names of embeddings in ``text``, in order; none overlaps another.

        The longest name that stands at a place is meant. A name ends where a word ends.
        """
        return self._names[EMBEDDING].mentions(text, text_width)

    def choose(self, kind: str, name: str, text_width: int, model: str) -> AddOn:
        """Return the add-on called ``name`` for a model of ``text_width`` that is called ``model``.

        Raises ModelError: ``missing_weights`` with what there is, ``unsupported`` when it cannot be
        used, is made for models of another family, or several are called so.
        """
        found = self.called(kind, name, text_width)
        if not found:
            raise ModelError("missing_weights", self._missing(kind, name, text_width, model))
        word, shown = Sentence(WORDS[kind]), quote(name)
        if len(found) > 1:
            names = ", ".join(quote(one.name) for one in found[:_MOST_LISTED])
            raise ModelError(
                "unsupported",
                Sentence(
                    "there are {count} of the kind {kind} called {name}: write which of {names}.",
                    count=len(found),
                    kind=word,
                    name=shown,
                    names=names,
                ),
            )
        (addon,) = found
        if addon.reason:
            why = Sentence("{kind} {name}: {why}", kind=word, name=shown, why=addon.reason)
            raise ModelError("unsupported", why)
        if addon.text_width != text_width:
            raise ModelError(
                "unsupported",
                Sentence(
                    "{kind} {name} is made for {its}, and {model} is {family}: choose another one "
                    "or another model.",
                    kind=word,
                    name=shown,
                    its=family_words(addon.text_width),
                    model=model,
                    family=family_words(text_width),
                ),
            )
        return addon

    def _missing(self, kind: str, name: str, text_width: int, model: str) -> Sentence:
        names = [one.name for one in self if one.kind == kind and one.fits(text_width)]
        lower = {one.lower(): one for one in names}
        alike = difflib.get_close_matches(name.lower(), lower, _MOST_LISTED, 0.5)
        close = [lower[one] for one in alike]
        some = [*close, *(one for one in names if one not in close)][:_MOST_LISTED]
        others = len(names) - len(some)
        return Sentence(
            "there is no {kind} {name}; for {model} there are: {listed} and {others} more."
            if others
            else "there is no {kind} {name}; for {model} there are: {listed}.",
            kind=Sentence(WORDS[kind]),
            name=quote(name),
            model=model,
            listed=", ".join(some) or "none",
            others=others,
        )


class _Names:
    """The names of add-ons of one kind, folded, with how exactly each names what it names."""

    def __init__(self, addons: Iterable[AddOn]) -> None:
        self._known: dict[str, list[tuple[int, AddOn]]] = {}
        for addon in addons:
            for rank, name in _spellings(addon):
                if name:
                    self._known.setdefault(fold(name), []).append((rank, addon))
        # From each first character the lengths of names that begin with it, the longest first.
        lengths: dict[str, set[int]] = {}
        for name in self._known:
            lengths.setdefault(name[0], set()).add(len(name))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def called(self, name: str, text_width: int) -> tuple[AddOn, ...]:
        return self._meant((name, _LAST_SUFFIX.sub("", name), name.strip()), text_width)

    def mentions(self, text: str, text_width: int) -> Iterator[Mention]:
        if not self._known and EXPLICIT not in text.lower():
            return
        folded, places = _folded(text)
        at = 0
        while at < len(folded):
            mention = self._mention(text, folded, places, at, text_width)
            if mention is None:
                at += 1
                continue
            yield mention
            while at < len(folded) and places[at] < mention.end:
                at += 1

    def _mention(
        self, text: str, folded: str, places: Sequence[int], at: int, text_width: int
    ) -> Mention | None:
        if at and (_in_word(folded[at - 1]) or places[at] == places[at - 1]):
            return None
        start = places[at]
        explicit = folded.startswith(EXPLICIT, at)
        name_at = at + len(EXPLICIT) * explicit
        for length in self._lengths.get(folded[name_at : name_at + 1], ()):
            end = name_at + length
            name = folded[name_at:end]
            if len(name) < length or name not in self._known:
                continue
            if end < len(folded) and (_in_word(folded[end]) or places[end] == places[end - 1]):
                continue
            suffix = _SUFFIX.match(text, places[end])
            stop = suffix.end() if suffix else places[end]
            written = text[places[name_at] : stop]
            found = self._meant((written, _LAST_SUFFIX.sub("", written)), text_width)
            return Mention(start, stop, written, found, explicit)
        unknown = _UNKNOWN.match(text, places[name_at]) if explicit else None
        return unknown and Mention(start, unknown.end(), unknown[0], (), True)

    def _meant(self, spellings: Sequence[str], text_width: int) -> tuple[AddOn, ...]:
        """The add-ons that the first of ``spellings`` means most exactly."""
        known = [
            ((number, rank, addon.name != spelling), addon)
            for number, spelling in enumerate(spellings)
            for rank, addon in self._known.get(fold(spelling), ())
        ]
        for group in (
            [one for one in known if one[1].fits(text_width)],
            [one for one in known if not one[1].reason],
            known,
        ):
            if group:
                best = min(how for how, _ in group)
                found = tuple(dict.fromkeys(addon for how, addon in group if how == best))
                return found[:1] if _are_copies(found) else found
        return ()


def _are_copies(addons: Sequence[AddOn]) -> bool:
    """Whether all files hold the same bytes, so that it does not matter which one is meant."""
    first, *rest = addons
    try:
        return all(
            one.size == first.size and filecmp.cmp(first.path, one.path, shallow=False)
            for one in rest
        )
    except OSError:
        return False


def _spellings(addon: AddOn) -> Iterator[tuple[int, str]]:
    """(how far it is from the whole name, what an add-on may be called)."""
    yield 0, addon.name
    yield 1, " ".join(addon.name.split())
    parts = _LAST_SUFFIX.sub("", addon.name).split("/")
    for number in range(len(parts)):
        yield 1, "/".join(parts[number:])
    for alias in addon.aliases:
        yield 2, alias


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """(folded text, for each of its characters and its end: where in ``text`` that stands)."""
    if text.isascii():
        return _fold_ascii(text), range(len(text) + 1)
    pieces = [_fold(character) for character in text]
    places = [place for place, piece in enumerate(pieces) for _ in piece]
    return "".join(pieces), [*places, len(text)]


def _fold_ascii(text: str) -> str:
    return re.sub(r"[^\S\n]", " ", text.lower().replace("\\", "/"))


def _in_word(character: str) -> bool:
    return (
        character.isalnum()
        or character in "_-"
        or character in _JOINERS
        or unicodedata.combining(character) != 0
    )
