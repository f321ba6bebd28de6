"""Guides through a whole engine: the pixels of diffusers' own pipelines, several nets, a union."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_net, make_sdxl
from painting import answers, as_image, ask, composite, make_tiny_engine, painted, scenery
from PIL import Image as Picture
from velatura.models.library import Library
from velatura.models.samplers import make_scheduler
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol.messages import Annotate, Control, ControlMap
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import JobError
from velatura.server.worker.pixels import to_array

SIDE = 64
HARD = np.zeros((SIDE, SIDE), np.uint8)
HARD[16:48, 16:48] = 255


def a_map(seed: int) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8: a ready map of a kind that is taken as it is."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


def guide(kind: str, seed: int, **more: Any) -> Control:
    pixels = np.dstack([a_map(seed), np.full((SIDE, SIDE), 255, np.uint8)])
    return Control(kind=kind, picture=as_image(pixels), **more)


def stock_map(seed: int) -> torch.Tensor:
    return torch.from_numpy(a_map(seed).astype(np.float32) / 255).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("nets") / "tiny")
    for number, kind in enumerate(("depth", "segmentation", "inpaint", "tile")):
        make_net(folder / "unet", folder / f"controlnet-{kind}", seed=number)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return make_tiny_engine(folder)


@pytest.fixture(scope="module")
def xl(tmp_path_factory) -> Path:
    models = tmp_path_factory.mktemp("xl")
    make_sdxl(models / "tiny")
    make_net(models / "tiny" / "unet", models / "controlnet" / "union", num_control_type=8)
    return models


@pytest.fixture(scope="module")
def xl_engine(xl: Path) -> Engine:
    library = Library([xl], starter=xl / "none")
    return Engine(library, torch.device("cpu"), torch.float32, "this test's CPU")


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours[..., :3] / 255 - theirs).max())


# Rounding to bytes, and the layout in memory (channels last) with the last bits of a sum.
CLOSE = 0.5 / 255 + 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        [("depth", {})],
        [("depth", {"weight": 0.7, "end": 0.6}), ("segmentation", {"weight": 1.4, "start": 0.4})],
    ],
    ids=["one", "several"],
)
def test_generate_gives_the_pixels_of_the_stock_controlnet_pipeline(
    engine: Engine, folder: Path, settings: list[tuple[str, dict[str, float]]]
) -> None:
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    controls = tuple(guide(kind, n, **more) for n, (kind, more) in enumerate(settings))
    how = {"action": "generate", "guidance": 4.0, "sampler": "Euler", "steps": 5}
    ours = painted(engine, ask(scenery(SIDE, SIDE), controls=controls, negative="night", **how))
    nets = [ControlNetModel.from_pretrained(folder / f"controlnet-{k}") for k, _ in settings]
    stock = StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=nets, safety_checker=None, local_files_only=True
    )
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = make_scheduler("Euler", dict(stock.scheduler.config))
    theirs = stock(
        "a red house",
        negative_prompt="night",
        image=[stock_map(n) for n in range(len(settings))],
        width=SIDE,
        height=SIDE,
        num_inference_steps=5,
        guidance_scale=4.0,
        controlnet_conditioning_scale=[more.get("weight", 1.0) for _, more in settings],
        control_guidance_start=[more.get("start", 0.0) for _, more in settings],
        control_guidance_end=[more.get("end", 1.0) for _, more in settings],
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    assert difference(ours, theirs) < CLOSE
    plain = painted(engine, ask(scenery(SIDE, SIDE), negative="night", **how))
    assert difference(plain, theirs) > 10 * CLOSE, "the guides matter"


@pytest.mark.parametrize("kinds", [("pose",), ("depth", "tile")], ids=["one", "several"])
def test_a_union_gives_the_pixels_of_its_stock_pipeline(
    xl: Path, xl_engine: Engine, kinds: tuple[str, ...]
) -> None:
    from diffusers import ControlNetUnionModel, StableDiffusionXLControlNetUnionPipeline
    from velatura.models.control_nets import UNION_MODES

    controls = tuple(guide(kind, n, weight=0.8) for n, kind in enumerate(kinds))
    how = {"action": "generate", "guidance": 4.0, "sampler": "Euler", "steps": 4}
    ours = painted(xl_engine, ask(scenery(SIDE, SIDE), controls=controls, negative="night", **how))
    stock = StableDiffusionXLControlNetUnionPipeline.from_pretrained(
        xl / "tiny",
        controlnet=ControlNetUnionModel.from_pretrained(xl / "controlnet" / "union"),
        local_files_only=True,
    )
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = make_scheduler("Euler", dict(stock.scheduler.config))
    theirs = stock(
        "a red house",
        negative_prompt="night",
        control_image=[Picture.fromarray(a_map(n)) for n in range(len(kinds))],
        control_mode=[UNION_MODES[kind] for kind in kinds],
        width=SIDE,
        height=SIDE,
        num_inference_steps=4,
        guidance_scale=4.0,
        controlnet_conditioning_scale=[0.8] * len(kinds),
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    assert difference(ours, theirs) < CLOSE


def test_a_unions_kinds_have_weights_and_parts_of_their_own_beside_another_net(
    xl_engine: Engine,
) -> None:
    how: dict[str, Any] = {"action": "generate", "guidance": 1.0}
    line = Control(kind="line")
    below = scenery(SIDE, SIDE)

    def with_guides(*controls: Control) -> bytes:
        return painted(xl_engine, ask(below, controls=controls, **how)).tobytes()

    made = [
        with_guides(line, guide("depth", 0), guide("pose", 1)),
        with_guides(line, guide("depth", 0, weight=0.2), guide("pose", 1)),
        with_guides(line, guide("depth", 0), guide("pose", 1, end=0.5)),
        with_guides(line, guide("depth", 0)),
        with_guides(guide("depth", 0)),
    ]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("kind", ["depth", "segmentation", "inpaint", "tile"])
def test_every_kind_fills_inside_the_selection_only(engine: Engine, kind: str) -> None:
    below = scenery(SIDE, SIDE)
    given = guide(kind, 0) if kind in ("depth", "segmentation") else Control(kind=kind)
    layer = painted(engine, ask(below, HARD, controls=(given,)))
    after = composite(layer, below)
    assert (after[HARD == 0] == below[HARD == 0]).all()
    assert (layer != painted(engine, ask(below, HARD))).any()


def test_an_inpaint_net_does_not_see_what_is_to_be_painted(engine: Engine) -> None:
    other = scenery(SIDE, SIDE)
    other[24:40, 24:40, :3] = 255 - other[24:40, 24:40, :3]
    # Of a tile net's map, which shows everything, the change is seen.
    for kind, same in (("inpaint", True), ("tile", False)):
        one, two = (
            painted(engine, ask(picture, HARD, controls=(Control(kind=kind),)))
            for picture in (scenery(SIDE, SIDE), other)
        )
        assert (one == two).all() == same


def test_a_map_is_traced_with_the_weights_that_lie_in_the_annotators_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file
    from velatura.models import annotators

    monkeypatch.setattr(annotators, "SIDE", 64)
    library = Library([tmp_path], starter=folder)
    engine = Engine(library, torch.device("cpu"), torch.float32, "this test's CPU")
    request = Annotate(job=str(uuid.uuid4()), kind="soft_edge", picture=as_image(scenery()))

    def traced() -> np.ndarray:
        (answer,) = answers(engine, request)
        assert isinstance(answer, ControlMap)
        return to_array(answer.picture)

    without = traced()
    from controlnet_aux.pidi.model import pidinet

    (tmp_path / "annotators").mkdir()
    path = tmp_path / "annotators" / "table5_pidinet.safetensors"
    save_file({k: v.contiguous().clone() for k, v in pidinet().state_dict().items()}, path)
    with_weights = traced()
    assert with_weights.shape == without.shape
    assert (with_weights != without).any()
    path.unlink()
    assert (traced() == without).all()


def test_a_map_without_weights_is_one_sentence_and_the_next_job_works(engine: Engine) -> None:
    request = Annotate(job=str(uuid.uuid4()), kind="pose", picture=as_image(scenery()))
    with pytest.raises(JobError, match=r"body_pose_model\.safetensors") as caught:
        answers(engine, request)
    assert (caught.value.code, caught.value.field) == ("missing_weights", "controls")
    assert painted(engine, ask(scenery(SIDE, SIDE), HARD)).any()
