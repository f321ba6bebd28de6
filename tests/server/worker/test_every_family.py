"""What holds for every family and every job: it paints inside the selection, and cancels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import MAKERS
from painting import as_image, ask, composite, make_tiny_engine, painted, scenery
from velatura.protocol.messages import Control
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import Cancelled

SIDE = 64
HARD = np.zeros((SIDE, SIDE), np.uint8)
HARD[16:48, 16:48] = 255


@pytest.fixture(scope="module")
def engines(families: dict[str, Path]) -> dict[str, Engine]:
    return {name: make_tiny_engine(folder) for name, folder in families.items()}


def guide(kind: str) -> Control:
    picture = np.tile(np.linspace(0, 255, SIDE, dtype=np.uint8), (SIDE, 1))
    return Control(kind=kind, picture=as_image(picture))


JOBS: list[dict[str, Any]] = [
    {"action": "fill"},
    {"action": "fill", "strength": 0.5},
    {"action": "refine", "strength": 0.6},
    {"action": "generate"},
]
LINE = (guide("line"),)
GUIDES: dict[str, list[tuple[Control, ...]]] = {
    # A depth model paints no picture from words alone: that is refused, and tested with it.
    "sd2 depth": [(guide("depth"),)],
    # One net, once for one kind and once for two.
    "sdxl union": [(guide("pose"),), (guide("depth"), guide("line"))],
}


def guides_of(name: str) -> list[tuple[Control, ...]]:
    return GUIDES.get(name, [LINE, (*LINE, guide("scribble"))])


def painting() -> Iterator[Any]:
    """Every family with every job and with each of its guides, and every job with each number of
    guides: pairs, as no code asks for a family, a job and a guide at once."""
    for row, name in enumerate(MAKERS):
        for column, how in enumerate(JOBS):
            unguided = [()] if (name, how["action"]) != ("sd2 depth", "generate") else []
            sets = [*unguided, *guides_of(name)]
            guides = sets[(row + column) % len(sets)]
            yield pytest.param(name, how, guides, id=f"{name}, {how}, {len(guides)} guides")


PAINTING = list(painting())


@pytest.mark.parametrize(("name", "how", "guides"), PAINTING)
def test_it_paints_inside_the_selection_only(
    engines: dict[str, Engine], name: str, how: dict[str, Any], guides: tuple[Control, ...]
) -> None:
    below = scenery(SIDE, SIDE)
    layer = painted(engines[name], ask(below, HARD, controls=guides, **how))
    after = composite(layer, below)
    assert (after[HARD == 0] == below[HARD == 0]).all()
    assert (after[HARD > 0] != below[HARD > 0]).any()


@pytest.mark.parametrize("name", MAKERS)
def test_it_expands(engines: dict[str, Engine], name: str) -> None:
    below = scenery(SIDE, SIDE)
    below[:, 40:] = 0
    layer = painted(engines[name], ask(below, action="expand"))
    assert (layer[:, 40:, 3] == 255).all()
    assert (layer[:, :40, 3] == 0).all()


@pytest.mark.parametrize(
    ("name", "how", "guides"), [one for one in PAINTING if len(one.values[2]) < 2]
)
def test_a_cancel_stops_within_one_step(
    engines: dict[str, Engine], name: str, how: dict[str, Any], guides: tuple[Control, ...]
) -> None:
    steps: list[int] = []

    def emit(message: Any) -> None:
        if getattr(message, "stage", "") == "painting":
            steps.append(message.step)

    with pytest.raises(Cancelled):
        engines[name].run(
            ask(scenery(SIDE, SIDE), HARD, steps=10, controls=guides, **how),
            emit,
            lambda: bool(steps) and steps[-1] >= 2,
        )
    assert steps[-1] == 2
