"""Name the accelerations, and say which of them are asked for. Imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# How the server tells its worker which ones it wants: the words of ``Switches.text``.
VARIABLE = "VELATURA_ACCELERATIONS"

RECORDED, SIMPLIFIED, PACKED = "recorded-passes", "simplified-graphs", "packed-weights"
INCREMENTAL = "incremental-layers"
GRAPHS, COMPILED = "cuda-graphs", "compiled-shapes"
KEPT = "kept-memory"


@dataclass(frozen=True)
class Acceleration:
    """One way to paint sooner what plain painting paints too.

    name    on the command line, in the log and in what doctor says
    gives   what it does, for a person
    device  the kind of device that it works on; empty for any
    needs   the name of another one that it is nothing without
    system  the operating system that it is for, as sys.platform begins; empty for any
    untold  why it is off unless asked for; empty: it is on
    """

    name: str
    gives: str
    device: str = ""
    needs: str = ""
    untold: str = ""
    system: str = ""


_UNTRIED = "no card has run it yet"
ALL = (
    Acceleration(RECORDED, "small models' passes are replayed without Python", "cpu"),
    Acceleration(SIMPLIFIED, "what recorded passes do for nothing is left out", "cpu", RECORDED),
    Acceleration(PACKED, "recorded passes keep weights in oneDNN's layout", "cpu", RECORDED),
    Acceleration(INCREMENTAL, "a live edit repaints its part of the picture"),
    Acceleration(GRAPHS, "passes are replayed as CUDA graphs", "cuda", untold=_UNTRIED),
    Acceleration(COMPILED, "graphs are compiled for their shape", "cuda", GRAPHS, _UNTRIED),
    Acceleration(KEPT, "memory of one picture is kept for the next", system="linux"),
)
BY_NAME = {one.name: one for one in ALL}


@dataclass(frozen=True)
class Switches:
    """What was asked for when the server started.

    plain    no acceleration at all
    wanted   names of such that are off unless asked for
    without  names of such that are to be off
    """

    plain: bool = False
    wanted: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises ValueError, one sentence, for what is no acceleration or is asked for both ways."""
        for name in sorted(self.wanted | self.without):
            if name not in BY_NAME:
                raise ValueError(f"{name} is no acceleration: there are {', '.join(BY_NAME)}.")
        if both := sorted(self.wanted & self.without):
            raise ValueError(f"{both[0]} is asked for and left out: choose one.")
        if self.plain and self.wanted:
            raise ValueError("--plain turns all accelerations off: leave --accelerate out, or it.")

    def why_off(self, name: str) -> str:
        """Say why ``name`` is off; nothing where it is on."""
        one = BY_NAME[name]
        if one.system and not sys.platform.startswith(one.system):
            return f"not on this system: it is for {one.system.capitalize()}"
        if self.plain:
            return "off: --plain"
        if one.name in self.without:
            return f"off: --without {one.name}"
        if one.untold and one.name not in self.wanted:
            return f"off: {one.untold} (velatura serve --accelerate {one.name})"
        return ""

    @property
    def text(self) -> str:
        """The same as words, for VARIABLE."""
        words = ["plain"] * self.plain
        words += [f"+{name}" for name in sorted(self.wanted)]
        return " ".join(words + [f"-{name}" for name in sorted(self.without)])


# What is asked for where nothing is said.
DEFAULT = Switches()
# Those that are off unless asked for too.
ALL_WANTED = Switches(wanted=frozenset(one.name for one in ALL if one.untold))


def read_switches(text: str) -> Switches:
    """Read what ``Switches.text`` wrote. Raises ValueError, one sentence."""
    words = text.split()
    for word in words:
        if word != "plain" and word[0] not in "+-":
            raise ValueError(f"{VARIABLE} is made of plain, +NAME and -NAME, not {word}.")
    return Switches("plain" in words, _named(words, "+"), _named(words, "-"))


def switches_of(environ: Mapping[str, str]) -> Switches:
    """Read what the server told its worker. Raises ValueError, one sentence."""
    return read_switches(environ.get(VARIABLE, ""))


def _named(words: Iterable[str], sign: str) -> frozenset[str]:
    return frozenset(word[1:] for word in words if word.startswith(sign))
