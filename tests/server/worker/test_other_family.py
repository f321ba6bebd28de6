"""A family of another package, unlike ours in everything, does all that ours do: nothing knows it.

Its latents are compared with loops that are written out here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from live_painting import Easel, opened
from painting import answers, ask, composite, engine_with, painted, rectangle, results, scenery
from velatura.models.families.registry import families
from velatura.models.library import Library
from velatura.protocol.messages import Preview
from velatura.protocol.region import Rect
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import Cancelled, JobError
from velatura.server.worker.job import denoise as denoise_module

TOY = str(Path(__file__).parents[2] / "toy")
SIDE, STEPS, SHIFT = 64, 5, 3.0
PLACE = Rect(16, 16, 32, 32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with its model, while its package is installed."""
    sys.path.insert(0, TOY)
    families.cache_clear()
    from velatura_toy import make_toy

    folder = tmp_path_factory.mktemp("models")
    make_toy(folder / "toy")
    yield folder
    sys.path.remove(TOY)
    families.cache_clear()


@pytest.fixture(scope="module")
def engine(models: Path) -> Engine:
    return engine_with(models)


def job(**more: Any) -> Any:
    fields: dict[str, Any] = {"model": "toy", "sampler": "Euler", "steps": STEPS, "guidance": 3.0}
    return ask(scenery(SIDE, SIDE), **{**fields, **more})


def latents_of(engine: Engine, request: Any, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """The finished latents of the only pass of a job."""
    made: list[torch.Tensor] = []
    sample = denoise_module.sample

    def kept(*given: Any) -> torch.Tensor:
        made.append(sample(*given))
        return made[-1]

    monkeypatch.setattr(denoise_module, "sample", kept)
    answers(engine, request)
    return made[0]


def levels(steps: int) -> list[float]:
    """Euler's noise levels for flow matching, shifted (Esser et al. 2024), with the end."""
    last = 1 / 1000
    last = SHIFT * last / (1 + (SHIFT - 1) * last)
    plain = np.linspace(1.0, last, steps)
    return [*(SHIFT * plain / (1 + (SHIFT - 1) * plain)).tolist(), 0.0]


def reference(
    models: Path,
    start: torch.Tensor | None,
    first: int,
    mask: torch.Tensor | None = None,
    source: torch.Tensor | None = None,
) -> torch.Tensor:
    """Euler over the last steps, written out; ``mask`` and ``source`` as differential diffusion."""
    loaded = Library([models], starter=models / "none").load(
        "toy", "cpu", torch.float32, lambda *_: None
    )

    def words(text: str) -> torch.Tensor:
        tokens = [*text.encode(), *[0] * (77 - len(text.encode()))]
        return loaded.letters(torch.tensor([tokens]))

    both = torch.cat([words(""), words("a red house")])
    sigmas = levels(STEPS)
    noise = torch.randn(1, 16, SIDE // 16, SIDE // 16, generator=torch.Generator().manual_seed(7))

    def noised(clean: torch.Tensor, index: int) -> torch.Tensor:
        return (1 - sigmas[index]) * clean + sigmas[index] * noise

    def held(x: torch.Tensor, index: int) -> torch.Tensor:
        if mask is None or source is None:
            return x
        remaining = max(1, STEPS - index) / (STEPS - first)
        return torch.where(mask >= remaining, x, noised(source, index))

    x = noise if start is None else noised(start, first)
    x = held(x, first)
    for index in range(first, STEPS):
        packed = x.flatten(2).mT.expand(2, -1, -1)
        time = torch.tensor(1000 * sigmas[index])
        without, with_words = loaded.transformer(packed, time, both, both.mean(1)).chunk(2)
        velocity = (without + 3.0 * (with_words - without)).mT.reshape(x.shape)
        x = held(x + (sigmas[index + 1] - sigmas[index]) * velocity, index + 1)
    return x


def encoded(models: Path) -> torch.Tensor:
    loaded = Library([models], starter=models / "none").load(
        "toy", "cpu", torch.float32, lambda *_: None
    )
    return loaded.denoiser.encode(scenery(SIDE, SIDE)[..., :3].astype(np.float32) / 255)


def test_its_model_is_listed_with_its_own_samplers(engine: Engine) -> None:
    (model,) = engine.catalogue().models
    assert (model.family, model.multiple, model.native) == ("toy", 16, 64)
    assert model.samplers == ("Euler", "DPM++ 2M", "UniPC")
    with pytest.raises(JobError, match="sampler must be one of Euler"):
        answers(engine, job(sampler="DDIM"))


@torch.no_grad()
def test_generate_gives_the_latents_of_a_loop_written_out(
    engine: Engine, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = latents_of(engine, job(action="generate"), monkeypatch)
    assert torch.allclose(made, reference(models, None, 0), atol=1e-4)


@torch.no_grad()
def test_refine_gives_the_latents_of_a_loop_written_out(
    engine: Engine, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = latents_of(engine, job(action="refine", strength=0.6), monkeypatch)
    assert torch.allclose(made, reference(models, encoded(models), STEPS - 3), atol=1e-4)


@torch.no_grad()
def test_a_soft_mask_holds_the_source_exactly(
    engine: Engine, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[torch.Tensor] = []
    hold = denoise_module.SourceHold

    def kept(schedule: Any, source: Any, mask: torch.Tensor, noise: Any) -> Any:
        masks.append(mask)
        return hold(schedule, source, mask, noise)

    monkeypatch.setattr(denoise_module, "SourceHold", kept)
    selection = np.zeros((SIDE, SIDE), np.uint8)
    selection[:, 56:] = np.linspace(30, 255, SIDE - 56).astype(np.uint8)
    request = ask(
        scenery(SIDE, SIDE), selection, model="toy", sampler="Euler", steps=STEPS, guidance=3.0,
        action="refine", strength=0.8,
    )  # fmt: skip
    made = latents_of(engine, request, monkeypatch)
    (mask,) = masks
    source = encoded(models)
    expected = reference(models, source, STEPS - 4, mask, source)
    assert torch.allclose(made, expected, atol=1e-4)
    never = (mask == 0).expand_as(made)
    assert torch.equal(made[never], source[never])
    assert 0 < int(never.sum()) < never.numel()


@pytest.mark.parametrize(
    "how",
    [
        {"action": "fill"},
        {"action": "fill", "strength": 0.6},
        {"action": "refine", "strength": 0.5},
        {"action": "generate", "sampler": "DPM++ 2M"},
        {"action": "fill", "sampler": "UniPC"},
    ],
    ids=str,
)
def test_outside_the_selection_nothing_changes_and_inside_it_does(
    engine: Engine, how: dict[str, Any]
) -> None:
    below, selection = scenery(SIDE, SIDE), rectangle(SIDE, SIDE, PLACE)
    fields: dict[str, Any] = {"model": "toy", "sampler": "Euler", "steps": STEPS, **how}
    layer = painted(engine, ask(below, selection, **fields))
    changed = (composite(layer, below) != below).any(-1)
    assert changed[selection > 0].any()
    assert not changed[selection == 0].any()


def test_it_expands_what_is_not_there_yet(engine: Engine) -> None:
    below = scenery(SIDE, SIDE)
    below[:, 40:, 3] = 0
    layer = painted(engine, ask(below, model="toy", sampler="Euler", action="expand", steps=3))
    assert (layer[:, 41:, 3] == 255).all()
    assert (layer[:, :40, 3] == 0).all()


def test_a_large_picture_is_painted_in_tiles(engine: Engine) -> None:
    large = ask(
        scenery(160, 160), model="toy", sampler="Euler", action="refine", strength=0.5, steps=4,
        detail="full",
    )  # fmt: skip
    (made,) = results(engine, large)
    assert any(one["tiles"] for one in made.recipe["passes"])


def test_it_shows_previews_and_stops_when_cancelled(engine: Engine) -> None:
    shown: list[Preview] = []

    def emit(message: object) -> None:
        if isinstance(message, Preview):
            shown.append(message)

    with pytest.raises(Cancelled):
        engine.run(job(action="generate", previews=True), emit, lambda: bool(shown))
    assert len(shown) == 1
    assert painted(engine, job(action="generate")).any()


@torch.no_grad()
def test_live_gives_the_latents_of_a_loop_written_out(engine: Engine, models: Path) -> None:
    from velatura.server.worker.live import painter as live_painter

    made: list[torch.Tensor] = []
    sample = live_painter.sample

    def kept(*given: Any) -> torch.Tensor:
        made.append(sample(*given))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_painter, "sample", kept)
        settings = opened(
            SIDE, SIDE, model="toy", steps=2, strength=0.6, guidance=1.0, sampler="LCM"
        )
        easel = Easel(settings, scenery(SIDE, SIDE), engine)
        easel.key()
        assert easel.paint() is not None
    loaded = Library([models], starter=models / "none").load(
        "toy", "cpu", torch.float32, lambda *_: None
    )
    tokens = [*b"a red house", *[0] * (77 - 11)]
    words = loaded.letters(torch.tensor([tokens]))
    noise = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(7))
    clean = encoded(models)
    for index, time in enumerate((599, 299)):
        sigma = (time + 1) / 1000
        sigma = SHIFT * sigma / (1 + (SHIFT - 1) * sigma)
        x = (1 - sigma) * clean + sigma * noise[index : index + 1]
        packed, told = x.flatten(2).mT, torch.tensor(1000 * sigma)
        velocity = loaded.transformer(packed, told, words, words.mean(1)).mT.reshape(x.shape)
        clean = x - sigma * velocity
    assert torch.allclose(made[0], clean, atol=1e-4)
    before = easel.shown.copy()
    easel.brush(Rect(10, 10, 12, 12))
    assert easel.paint() is not None
    assert (easel.shown != before).any()
