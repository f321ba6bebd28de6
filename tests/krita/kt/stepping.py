"""What a script may yield, and how it tells the harness what it saw.

A script's ``def test():`` is a generator on Krita's GUI thread. It must not block or start an event
loop of its own (Krita holds back its signals there); it yields instead:

    yield 300                                        # milliseconds
    yield lambda: condition()                        # until true, 30 s at most
    yield until(condition, 60, "the layer appears")  # with a longer limit and a name
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Until:
    condition: Callable[[], Any]
    seconds: float = 10.0
    what: str = "the condition"


def until(condition, seconds=10.0, what="the condition"):
    return Until(condition, seconds, what)


@dataclass
class Record:
    """What the script in progress has said."""

    lines: list = field(default_factory=list)
    values: dict = field(default_factory=dict)


record = Record()


def say(*parts):
    """A line for the harness's report."""
    record.lines.append(" ".join(str(part) for part in parts))


def report(**values):
    """JSON values that ``krita.run`` returns in ``Outcome.values``."""
    record.values.update(values)


def refused(error, action):
    """Assert that ``action()`` raises ``error``, and return its sentence."""
    try:
        action()
    except error as caught:
        return str(caught)
    raise AssertionError(f"{error.__name__} was expected")
