"""Choose few combinations in which every two values of different factors meet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Row = dict[str, Any]


def pairwise_rows(
    factors: Mapping[str, Sequence[Any]], allowed: Callable[[Row], bool]
) -> Iterator[Row]:
    """Rows with one value of each factor, so that every allowed pair of values is in one of them.

    Greedy; what would do as well is drawn, always alike. ``allowed`` is asked about rows of some of the factors too, and must be
    true of every part of an allowed row.

    >>> rows = list(pairwise_rows({"a": "xy", "b": (1, 2), "c": (3, 4)}, lambda row: True))
    >>> len(rows), sorted({(row["a"], row["c"]) for row in rows})
    (4, [('x', 3), ('x', 4), ('y', 3), ('y', 4)])
    """
    left = {
        ((one, a), (two, b)): None
        for one, two in combinations(factors, 2)
        for a in factors[one]
        for b in factors[two]
        if allowed({one: a, two: b})
    }
    draw = random.Random(0).random
    used = dict.fromkeys(((name, value) for name in factors for value in factors[name]), 0)

    def gain(row: Row, name: str, value: Any) -> int:
        order = list(factors)
        pairs = (
            ((name, value), (other, its))
            if order.index(name) < order.index(other)
            else ((other, its), (name, value))
            for other, its in row.items()
        )
        return sum(pair in left for pair in pairs)

    while left:
        row: Row = dict(next(iter(left)))
        for name in factors:
            if name in row:
                continue
            fitting = [v for v in factors[name] if allowed({**row, name: v})]
            if not fitting:
                raise ValueError(f"nothing of {name} goes with {row}")
            row[name] = max(fitting, key=lambda v: (gain(row, name, v), -used[name, v], draw()))
        row = {name: row[name] for name in factors}
        for pair in combinations(row.items(), 2):
            left.pop(pair, None)
        for item in row.items():
            used[item] += 1
        yield row
