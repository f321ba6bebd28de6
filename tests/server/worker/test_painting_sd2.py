"""Painting with Stable Diffusion 2, and with a depth model: composition follows the depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_sd2, put_estimator, put_unet
from painting import answers, as_image, ask, make_tiny_engine, painted, scenery
from PIL import Image as Pillow
from velatura.models.families.denoiser import Shown, Words
from velatura.models.library import Library
from velatura.models.samplers import make_scheduler
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol.messages import Control
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.denoise import InitLatents, denoise
from velatura.server.worker.job.depth import depth_of
from velatura.server.worker.job.plan import make_plan
from velatura.server.worker.job.scene import area_of, make_scene, selected_rect
from velatura.server.worker.prompt.encode import embed
from velatura.server.worker.prompt.language import parse

SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_sd2(tmp_path_factory.mktemp("sd2") / "tiny", "v_prediction")


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory) -> Path:
    """A depth model that brings its estimator."""
    folder = make_sd2(tmp_path_factory.mktemp("sd2") / "tiny", channels=5)
    put_estimator(folder)
    return folder


@pytest.fixture(scope="module")
def deep(depth_folder) -> Engine:
    return make_tiny_engine(depth_folder)


@pytest.fixture(scope="module")
def beside(tmp_path_factory) -> Engine:
    """A plain model with a depth UNet beside its own and no estimator."""
    folder = make_tiny(tmp_path_factory.mktemp("sd2") / "tiny")
    put_unet(folder, "unet-depth", in_channels=5)
    return make_tiny_engine(folder)


def slope(across: bool = True) -> np.ndarray:
    ramp = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
    return ramp if across else np.ascontiguousarray(ramp.T)


def guide(picture: np.ndarray | None = None) -> dict[str, Any]:
    given = None if picture is None else as_image(picture)
    return {"controls": (Control(kind="depth", picture=given),)}


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M Karras", "DDIM"])
def test_generate_gives_the_pixels_of_the_stock_pipeline(folder: Path, sampler: str) -> None:
    from diffusers import StableDiffusionPipeline

    loaded = Library([], starter=folder).load("tiny", "cpu", torch.float32, lambda *_: None)
    request = ask(scenery(SIDE, SIDE), action="generate", guidance=4.0)
    (info,) = Library([], starter=folder).models()
    plan = make_plan(request, info, selected_rect(area_of(request)))
    texts = [embed(parse(text), loaded) for text in ("a red house", "night")]
    ours = loaded.denoiser.decode(
        denoise(
            loaded.denoiser,
            plan,
            make_scheduler(sampler, loaded.scheduler_config),
            InitLatents(None, None, None),
            Words(texts[0], texts[1], 4.0),
            (),
            7,
            lambda *_: None,
        )
    )
    stock = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = make_scheduler(sampler, loaded.scheduler_config)
    theirs = stock(
        "a red house",
        negative_prompt="night",
        width=SIDE,
        height=SIDE,
        num_inference_steps=request.steps,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    # The layout in memory differs (channels last), and with it the last bits.
    assert np.abs(ours.clip(0, 1) - theirs).max() < 1e-4


@pytest.mark.parametrize("given", [True, False], ids=["guide", "estimated"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_depth_gives_the_latents_of_the_stock_pipeline(
    depth_folder: Path, strength: float, given: bool
) -> None:
    """The stock pipeline draws its noise after a sample of the autoencoder: it gets ours instead."""
    from diffusers import StableDiffusionDepth2ImgPipeline
    from transformers import DPTForDepthEstimation, DPTImageProcessor

    library = Library([], starter=depth_folder)
    loaded = library.load("tiny", "cpu", torch.float32, lambda *_: None)
    picture = scenery(SIDE, SIDE)
    job = {"action": "refine", "guidance": 4.0, "strength": strength}
    request = ask(picture, **job, **guide(slope() if given else None))
    area = area_of(request)
    plan = make_plan(request, library.models()[0], selected_rect(area))
    scene = make_scene(request, plan, area)

    def as_it_is(_: str, drawn: np.ndarray, __: bool) -> np.ndarray:
        return np.repeat(drawn[..., None], 3, -1)

    depth, _ = depth_of(request, plan, scene, loaded.estimate_depth, as_it_is, 8)
    texts = [embed(parse(text), loaded) for text in ("a red house", "night")]
    denoiser = loaded.denoiser
    source = denoiser.encode(picture[..., :3].astype(np.float32) / 255) if strength < 1 else None
    ours = denoise(
        denoiser,
        plan,
        make_scheduler("DDIM", loaded.scheduler_config),
        InitLatents(source, source, None, Shown(depth=depth)),
        Words(texts[0], texts[1], 4.0),
        (),
        7,
        lambda *_: None,
    )

    stock = StableDiffusionDepth2ImgPipeline(
        vae=loaded.vae,
        text_encoder=loaded.text_encoder,
        tokenizer=loaded.tokenizer,
        unet=loaded.unet,
        scheduler=make_scheduler("DDIM", loaded.scheduler_config),
        depth_estimator=DPTForDepthEstimation.from_pretrained(depth_folder / "depth_estimator"),
        feature_extractor=DPTImageProcessor.from_pretrained(depth_folder / "feature_extractor"),
    )
    stock.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(7))
    stock.prepare_latents = lambda _, step, *__: (
        noise if source is None else stock.scheduler.add_noise(source, noise, step)
    )
    theirs = stock(
        "a red house",
        negative_prompt="night",
        image=Pillow.fromarray(picture[..., :3]),
        depth_map=torch.from_numpy(slope()[None].astype(np.float32)) if given else None,
        strength=strength,
        num_inference_steps=request.steps,
        guidance_scale=4.0,
        output_type="latent",
    ).images
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_depth_guide_shapes_the_picture_and_a_flat_one_is_no_fault(beside: Engine) -> None:
    def made(picture: np.ndarray) -> bytes:
        asked = ask(scenery(SIDE, SIDE), action="generate", model="tiny depth", **guide(picture))
        return painted(beside, asked).tobytes()

    flat = np.full((SIDE, SIDE), 90, np.uint8)
    assert len({made(slope()), made(slope(False)), made(flat)}) == 3
    assert made(slope()) == made(slope())


def refused(engine: Engine, **more: Any) -> JobError:
    with pytest.raises(JobError) as caught:
        answers(engine, ask(scenery(SIDE, SIDE), **{"model": "tiny depth", **more}))
    return caught.value


def test_text_alone_is_refused_by_a_depth_model_before_it_is_loaded(beside: Engine) -> None:
    error = refused(beside, action="generate")
    assert (error.code, error.field) == ("unsupported", "action")
    assert "add a depth guide" in error.message


def test_a_depth_that_cannot_be_estimated_asks_for_a_guide(beside: Engine) -> None:
    error = refused(beside, action="refine")
    assert (error.code, error.field) == ("missing_weights", "controls")
    assert "draw or import" in error.message


@pytest.mark.parametrize(
    ("controls", "named"),
    [
        ((Control(kind="line"),), "line"),
        ((Control(kind="depth"), Control(kind="depth")), "one depth guide"),
    ],
)
def test_a_depth_model_takes_one_depth_guide_and_nothing_else(
    beside: Engine, controls: tuple[Control, ...], named: str
) -> None:
    error = refused(beside, action="refine", controls=controls)
    assert (error.code, error.field) == ("unsupported", "controls")
    assert named in error.message


@pytest.mark.parametrize(
    ("numbers", "guidance", "told"),
    [
        ({"end": 0.5}, 4.0, "start and end change nothing"),
        ({"weight": 1.5}, 1.0, "weight above 1 counts as 1"),
        ({"weight": 1.5}, 4.0, ""),
    ],
)
def test_numbers_of_the_guide_that_change_nothing_are_told(
    deep: Engine, numbers: dict[str, float], guidance: float, told: str
) -> None:
    controls = (Control(kind="depth", **numbers),)
    asked = ask(scenery(SIDE, SIDE), action="refine", guidance=guidance, controls=controls)
    notes = " ".join(getattr(message, "note", "") for message in answers(deep, asked))
    assert told in notes
    assert bool(told) == ("change" in notes or "counts" in notes)
