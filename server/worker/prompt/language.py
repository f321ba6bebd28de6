r"""The prompt language: A1111's attention syntax, LoRA references, choices and comments. No torch.

Rules, as published in the stable-diffusion-webui wiki under "Attention/emphasis":

=====================  ==========================================================================
``(word)`` ``[word]``  weight times 1.1, and divided by 1.1; nested ones multiply
``(word:1.3)``         weight times 1.3
``BREAK``              what follows starts in a new chunk
``<lora:name:0.8>``    uses a LoRA; ``<lora:name:0.5:0.8>`` or ``<lora:name:te=0.5:unet=0.8>``: 0.5
                       in the text encoder, 0.8 in the UNet; ``<lora:name>``: 1; ``<lyco:...>`` is
                       another word for it. A ``#`` between ``<lora:`` and ``>`` is no comment
``{a|b|c}``            one of them, chosen by the seed; may be nested
``# words``            a comment, to the end of the line
``\( \) \[ \] \\``     the character itself; ``\{ \} \| \< \> \# \:`` too, and ``\BREAK`` the word
=====================  ==========================================================================

A bracket that is never closed reaches to the end. Whatever else does not follow the rules is text,
and where it looks like a rule of A1111's that is not kept, a remark says so.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from velatura.protocol.addon_marks import ESCAPED_IN_MARK, ESCAPED_IN_TEXT

_STRONGER = 1.1
# Weights are within this, and rounded: brackets nested without end must not reach infinity.
_HEAVIEST = 100.0
_DECIMALS = 6

_MOST_REMARKS = 8
_LONGEST_SHOWN = 60

_NUMBER = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)"
# Every alternative either cannot backtrack or looks no further than the next mark, so that
# splitting a text takes time in proportion to its length.
_CHOICES = re.compile(r"\\.|\#[^\n]*+|[{|}]|[^\\\#{|}]++|\\", re.DOTALL)
_LORA = r"<(?:lora|lyco|hypernet):"
_INSIDE = r"(?:\\[^\n]|[^\\<>\n])*+"
_HASHES = re.compile(rf"\\.|(?i:{_LORA}){_INSIDE}>", re.DOTALL)
_HASH = re.compile(r"(\\.)|\#")
_MARKS = re.compile(
    rf"""
      \\(?P<escaped>[{re.escape(ESCAPED_IN_TEXT)}]|BREAK\b)
    | (?P<lora>(?i:{_LORA}))(?:(?P<inside>{_INSIDE})>)?
    | (?P<open>[(\[])
    | (?::\s*+(?P<weight>{_NUMBER})\s*+)?(?P<close>\))
    | (?P<close_square>\])
    | [^\\<(:)\[\]]++
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_FIELDS = re.compile(r"(\\.)|(:)|[^\\:]++|\\", re.DOTALL)
_ESCAPES = re.compile(rf"\\([{re.escape(ESCAPED_IN_MARK)}#])")
_WEIGHT = re.compile(rf"\s*+({_NUMBER})\s*+")
_WEIGHT_FOR = re.compile(rf"\s*+(te|unet)\s*+=\s*+({_NUMBER})\s*+", re.IGNORECASE)
_EDITING = re.compile(rf"[|]|:\s*+{_NUMBER}\s*+\Z")
_BREAK = re.compile(r"(?<!\s)\s*+\bBREAK\b")


@dataclass(frozen=True)
class Part:
    """Text of one weight: 1 is ordinary, -100..100."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Break:
    """What follows starts in a new chunk."""


@dataclass(frozen=True)
class Lora:
    """A LoRA by name; ``weight`` in the UNet, ``text_weight`` in the text encoder, None: the same."""

    name: str
    weight: float
    text_weight: float | None = None


@dataclass(frozen=True)
class Parsed:
    """What a prompt says: its text in order, neighbours of one weight joined, and its LoRAs.

    remarks: sentences about what looks like a rule and was read as text, or was left out.
    """

    parts: tuple[Part | Break, ...]
    loras: tuple[Lora, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The words alone."""
        return " ".join(part.text for part in self.parts if isinstance(part, Part))


def parse(text: str, seed: int = 0) -> Parsed:
    r"""What ``text`` says for ``seed``. Linear in its length; no text is an error.

    >>> def show(text):
    ...     return [(p.text, p.weight) if isinstance(p, Part) else "BREAK" for p in parse(text).parts]
    >>> show("a (b:1.3) [c]")
    [('a ', 1.0), ('b', 1.3), (' ', 1.0), ('c', 0.909091)]
    >>> show("((x))")
    [('x', 1.21)]
    >>> show(r"(a:1.5) \(b\)")
    [('a', 1.5), (' (b)', 1.0)]
    >>> show("((a:1.5) boat)")
    [('a', 1.65), (' boat', 1.1)]
    >>> show("([even])(ing)")
    [('even', 1.0), ('ing', 1.1)]
    >>> show("(sea)(shore)")
    [('seashore', 1.1)]
    >>> show("a (red [house")
    [('a ', 1.0), ('red ', 1.1), ('house', 1.0)]
    >>> show("a) b] :1.2) (c:d) [e:2]")
    [('a) b] :1.2) ', 1.0), ('c:d', 1.1), (' ', 1.0), ('e:2', 0.909091)]

    >>> show("sky BREAK (tree BREAK sea)")
    [('sky', 1.0), 'BREAK', ('tree', 1.1), 'BREAK', ('sea', 1.1)]

    >>> parse("a boat <lora:ink:0.8>").loras
    (Lora(name='ink', weight=0.8, text_weight=None),)
    >>> parse("<lora:ink:0.5:0.8>").loras
    (Lora(name='ink', weight=0.8, text_weight=0.5),)
    >>> parse("<lora:my ink> <lyco:wash: -1 >").loras
    (Lora(name='my ink', weight=1.0, text_weight=None), Lora(name='wash', weight=-1.0, text_weight=None))
    >>> show("a boat <lora:ink:0.8> at sea")
    [('a boat  at sea', 1.0)]
    >>> parse("<lora:ink:te=0.5:unet=0.8> <LORA:style #2 [XL]>").loras
    (Lora(name='ink', weight=0.8, text_weight=0.5), Lora(name='style #2 [XL]', weight=1.0, text_weight=None))
    >>> parse("<lora:ink:1:lbw=ALL>").remarks
    ("'<lora:ink:1:lbw=ALL>': lbw=ALL is not known and was left out.",)
    >>> show("<lora:ink:much> a < b"), parse("<lora:ink:much>").remarks
    ([('<lora:ink:much> a < b', 1.0)], ("'<lora:ink:much>' names no LoRA as <lora:name:weight> does and was read as words.",))
    >>> show(r"a \(b\) \BREAK c\: d \e")
    [('a (b) BREAK c: d \\e', 1.0)]

    >>> [parse("a {red|blue|{dark|light} green} boat", seed).text for seed in (1, 2, 3)]
    ['a red boat', 'a blue boat', 'a light green boat']
    >>> parse("{a} | {b | c").text
    '{a} | {b | c'

    >>> show("a boat # no, a (tree\nat sea")
    [('a boat \nat sea', 1.0)]
    """
    marks = list(_MARKS.finditer(_choose(_HASHES.sub(_protect_hashes, text), seed)))
    factors, closing, unread = _match_brackets(marks)
    remarks = dict.fromkeys(
        f"{_shown(f'[{inside}]')}: A1111's prompt editing and alternation are not read; the words "
        "are painted from the first step to the last."
        for inside in unread
    )
    # Round and square brackets nest each by themselves: ``(a [b) c]`` weighs b by both.
    weights = {"(": [1.0], "[": [1.0]}
    runs: list[tuple[float, list[str]] | Break] = []
    loras: list[Lora] = []

    def add(piece: str) -> None:
        weight = round(_bounded(weights["("][-1] * weights["["][-1]), _DECIMALS)
        last = runs[-1] if runs else None
        if isinstance(last, tuple) and last[0] == weight:
            last[1].append(piece)
        elif piece:
            runs.append((weight, [piece]))

    for index, mark in enumerate(marks):
        if index in factors:
            stack = weights[mark["open"]]
            stack.append(_bounded(stack[-1] * factors[index]))
        elif index in closing:
            weights["(" if mark["close"] else "["].pop()
        elif mark["escaped"]:
            add(mark["escaped"])
        elif mark["lora"]:
            lora, remark = _read_lora(mark)
            if lora is None:
                add(mark[0])
            else:
                loras.append(lora)
            if remark:
                remarks[remark] = None
        else:
            for number, piece in enumerate(_BREAK.split(mark[0])):
                if number:
                    runs.append(Break())
                add(piece.lstrip() if number else piece)
    parts = (run if isinstance(run, Break) else Part("".join(run[1]), run[0]) for run in runs)
    return Parsed(tuple(parts), tuple(loras), tuple(remarks)[:_MOST_REMARKS])


def _protect_hashes(mark: re.Match[str]) -> str:
    """Escape each ``#`` in the mark of a LoRA: there it begins no comment."""
    if mark[0].startswith("\\"):
        return mark[0]
    return _HASH.sub(lambda found: found[1] or r"\#", mark[0])


def _choose(text: str, seed: int) -> str:
    """``text`` without comments, and of each ``{a|b}`` only what the seed chooses."""
    pieces = [piece for piece in _CHOICES.findall(text) if not piece.startswith("#")]
    jumps = _jumps(pieces, seed)
    kept: list[str] = []
    index = 0
    while index < len(pieces):
        if index in jumps:
            index = jumps[index]
        else:
            kept.append(pieces[index])
            index += 1
    return "".join(kept)


def _jumps(pieces: list[str], seed: int) -> dict[int, int]:
    """Where reading goes on: from a choice's start to what is chosen, and from its end past all."""
    jumps: dict[int, int] = {}
    # (which choice of the text it is, the marks that bound what it offers)
    open_ones: list[tuple[int, list[int]]] = []
    count = 0
    for index, piece in enumerate(pieces):
        if piece == "{":
            open_ones.append((count, [index]))
            count += 1
        elif piece == "|" and open_ones:
            open_ones[-1][1].append(index)
        elif piece == "}" and open_ones:
            place, bounds = open_ones.pop()
            bounds.append(index)
            if len(bounds) > 2:
                chosen = _pick(seed, place, len(bounds) - 1)
                jumps[bounds[0]] = bounds[chosen] + 1
                jumps[bounds[chosen + 1]] = index + 1
    return jumps


def _pick(seed: int, place: int, count: int) -> int:
    """A number below ``count``, the same on every machine and with every version of Python."""
    digest = hashlib.sha256(f"{seed} {place}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % count


def _match_brackets(marks: list[re.Match[str]]) -> tuple[dict[int, float], set[int], list[str]]:
    """(mark that opens -> what it multiplies weights by, marks that close one, what is not read).

    What is not read: the inside of square brackets that A1111 would edit or alternate.
    """
    factors: dict[int, float] = {}
    closing: set[int] = set()
    unread: list[str] = []
    last_bracket = -1
    round_ones: list[int] = []
    square_ones: list[int] = []
    for index, mark in enumerate(marks):
        if mark["open"] == "(":
            factors[index] = _STRONGER
            round_ones.append(index)
        elif mark["open"]:
            factors[index] = 1 / _STRONGER
            square_ones.append(index)
        elif mark["close"] and round_ones:
            closing.add(index)
            opener = round_ones.pop()
            if mark["weight"]:
                factors[opener] = _bounded(float(mark["weight"]))
        elif mark["close_square"] and square_ones:
            closing.add(index)
            # Nothing nested: each text is looked at once.
            if square_ones.pop() == last_bracket and len(unread) < _MOST_REMARKS:
                inside = marks[last_bracket + 1 : index]
                if _EDITING.search("".join(map(_without_names, inside))):
                    unread.append("".join(one[0] for one in inside))
        if mark["open"] or mark["close"] or mark["close_square"]:
            last_bracket = index
    return factors, closing, unread


def _without_names(mark: re.Match[str]) -> str:
    return "-" if mark["escaped"] or mark["lora"] else mark[0]


def _read_lora(mark: re.Match[str]) -> tuple[Lora | None, str]:
    """(the LoRA that a mark names, or none; a sentence on what of it is not read, or none)."""
    fields = [""]
    for piece in _FIELDS.finditer(mark["inside"] or ""):
        if piece[2]:
            fields.append("")
        else:
            fields[-1] += piece[0]
    name, *more = (_ESCAPES.sub(r"\1", one) for one in fields)
    weights: list[float] = []
    named: dict[str, float] = {}
    unknown = []
    for one in more:
        if found := _WEIGHT.fullmatch(one):
            weights.append(_bounded(float(found[1])))
        elif found := _WEIGHT_FOR.fullmatch(one):
            named[found[1].lower()] = _bounded(float(found[2]))
        elif one.strip():
            unknown.append(one.strip())
    # The same text in the first place is a weight that was mistyped, later on a word of an extension.
    mistyped = (
        bool(more) and bool(unknown) and unknown[0] == more[0].strip() and "=" not in unknown[0]
    )
    if not name or mistyped or mark["lora"].lower() == "<hypernet:":
        why = "names no LoRA as <lora:name:weight> does and was read as words."
        return None, f"{_shown(mark[0])} {why}"
    text = named.get("te", weights[0] if weights else 1.0)
    unet = named.get("unet", weights[1] if len(weights) > 1 else text)
    unknown += [f"{weight:g}" for weight in weights[2:]]
    remark = ""
    if unknown:
        listed = " ".join(unknown)
        remark = f"{_shown(mark[0])}: {_plain(listed)} is not known and was left out."
    return Lora(name, unet, None if text == unet else text), remark


def _shown(text: str) -> str:
    return f"'{_plain(text)}'"


def _plain(text: str) -> str:
    """``text`` on one line, short, without control characters, for a sentence."""
    short = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
    return short if short.isprintable() else ascii(short)[1:-1]


def _bounded(weight: float) -> float:
    return max(-_HEAVIEST, min(_HEAVIEST, weight))
