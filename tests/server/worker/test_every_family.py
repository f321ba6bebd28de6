"""What holds for every family and every job: it paints, cancels, and has the stock pipeline's pixels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_sd2, make_sdxl, put_estimator, put_unet, seeded
from painting import ask, composite, make_tiny_engine, painted, scenery
from PIL import Image as Pillow
from velatura.models.families.base import Loaded
from velatura.models.library import Library
from velatura.models.samplers import make_scheduler
from velatura.models.starter.recipe.tiny import make_tiny
from velatura.protocol.messages import Control
from velatura.server.worker.denoise import Condition, Conditioning, Ground, denoise
from velatura.server.worker.engine import Engine
from velatura.server.worker.errors import Cancelled
from velatura.server.worker.plan import make_plan
from velatura.server.worker.prompts import parse
from velatura.server.worker.scene import area_of, selected_rect
from velatura.server.worker.text import embed
from velatura.server.worker.vae import encode, to_tensor

SIDE = 64
HARD = np.zeros((SIDE, SIDE), np.uint8)
HARD[16:48, 16:48] = 255
LINE = (Control(kind="line"),)
BOTH = (*LINE, Control(kind="scribble"))


def _with_unet(folder: Path, **changes: Any) -> Path:
    made = make_tiny(folder)
    put_unet(made, **changes)
    return made


def _sdxl_inpaint(folder: Path) -> Path:
    net = make_sdxl(folder.with_name("plain")) / "controlnet-line"
    shutil.copytree(net, make_sdxl(folder, in_channels=9) / net.name)
    return folder


def _sd2_depth(folder: Path) -> Path:
    put_estimator(make_sd2(folder, channels=5))
    return folder


MAKERS: dict[str, Callable[[Path], Any]] = {
    "sd15": make_tiny,
    "sd15 inpaint": lambda folder: _with_unet(folder, in_channels=9),
    "lcm": lambda folder: _with_unet(folder, time_cond_proj_dim=8),
    "sd2": lambda folder: make_sd2(folder, "v_prediction"),
    "sd2 inpaint": lambda folder: make_sd2(folder, channels=9),
    "sd2 depth": _sd2_depth,
    "sdxl": make_sdxl,
    "sdxl inpaint": _sdxl_inpaint,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    made = {name: root / name / "tiny" for name in MAKERS}
    for name, folder in made.items():
        MAKERS[name](folder)
    return made


@pytest.fixture(scope="module")
def engines(folders: dict[str, Path]) -> dict[str, Engine]:
    return {name: make_tiny_engine(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def in_memory(folders: dict[str, Path]) -> dict[str, Loaded]:
    return {
        name: Library([], starter=folder).load("tiny", "cpu", torch.float32, lambda *_: None)
        for name, folder in folders.items()
    }


JOBS: list[dict[str, Any]] = [
    {"action": "fill"},
    {"action": "fill", "strength": 0.5},
    {"action": "refine", "strength": 0.6},
    {"action": "generate"},
]
# Ordinary Stable Diffusion 1.5 has tests of its own.
PAINTING = [
    *((name, how, ()) for name in MAKERS if name != "sd15" for how in JOBS),
    *(
        (name, how, nets)
        for name in ("sdxl", "sdxl inpaint")
        for how in JOBS
        for nets in (LINE, BOTH)
    ),
]


@pytest.mark.parametrize(
    ("name", "how", "controls"), [one for one in PAINTING if one[:2] != ("sd2 depth", JOBS[3])]
)
def test_it_paints_inside_the_selection_only(
    engines: dict[str, Engine], name: str, how: dict[str, Any], controls: tuple[Control, ...]
) -> None:
    below = scenery(SIDE, SIDE)
    layer = painted(engines[name], ask(below, HARD, controls=controls, **how))
    after = composite(layer, below)
    assert (after[HARD == 0] == below[HARD == 0]).all()
    assert (after[HARD > 0] != below[HARD > 0]).any()


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "sd15"])
def test_it_expands(engines: dict[str, Engine], name: str) -> None:
    below = scenery(SIDE, SIDE)
    below[:, 40:] = 0
    layer = painted(engines[name], ask(below, action="expand"))
    assert (layer[:, 40:, 3] == 255).all()
    assert (layer[:, :40, 3] == 0).all()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, {"action": "refine"}) for name in MAKERS),
        *((name, {"action": "generate"}) for name in MAKERS if name != "sd2 depth"),
        *((name, {"controls": LINE}) for name in ("sdxl", "sdxl inpaint")),
    ],
)
def test_a_cancel_stops_within_one_step(
    engines: dict[str, Engine], name: str, how: dict[str, Any]
) -> None:
    steps: list[int] = []

    def emit(message: Any) -> None:
        if getattr(message, "stage", "") == "painting":
            steps.append(message.step)

    with pytest.raises(Cancelled):
        engines[name].run(
            ask(scenery(SIDE, SIDE), steps=10, **how),
            emit,
            lambda: bool(steps) and steps[-1] >= 2,
        )
    assert steps[-1] == 2


# --- the stock pipeline ------------------------------------------------------------------------------


def ours(loaded: Loaded, ground: Ground, sampler: str, controls: Any = (), **job: Any) -> Any:
    """Finished latents for the words "a red house", not "night", by seed 7."""
    request = ask(scenery(SIDE, SIDE), guidance=4.0, steps=5, sampler=sampler, **job)
    plan = make_plan(request, _model(loaded), selected_rect(area_of(request)))
    prompt, negative = (embed(parse(text), loaded) for text in ("a red house", "night"))
    scheduler = make_scheduler(sampler, loaded.scheduler_config)
    conditioning = Conditioning(prompt, negative, 4.0, controls)
    return denoise(loaded, plan, scheduler, ground, conditioning, 7, lambda *_: None)


def _model(loaded: Loaded) -> Any:
    from test_plan import a_model

    return a_model(SIDE, SIDE, loaded.family.multiple)


def stock(kind: str, loaded: Loaded, sampler: str, **parts: Any) -> Any:
    """diffusers' own pipeline ``kind``, for the family's name in it, on the same weights."""
    import diffusers

    is_xl = loaded.text_encoder_2 is not None
    cls = getattr(diffusers, f"StableDiffusion{'XL' if is_xl else ''}{kind}Pipeline")
    if is_xl:
        parts |= {"text_encoder_2": loaded.text_encoder_2, "tokenizer_2": loaded.tokenizer_2}
    else:
        parts |= {"safety_checker": None, "feature_extractor": None}
        parts["requires_safety_checker"] = False
    pipeline = cls(
        vae=loaded.vae,
        text_encoder=loaded.text_encoder,
        tokenizer=loaded.tokenizer,
        unet=loaded.unet,
        scheduler=make_scheduler(sampler, loaded.scheduler_config),
        **parts,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint_stock(pipeline: Any, generator: torch.Generator, **more: Any) -> torch.Tensor:
    words = {"prompt": "a red house", "negative_prompt": "night", "guidance_scale": 4.0}
    return pipeline(
        num_inference_steps=5, generator=generator, output_type="latent", **words, **more
    ).images


def noise_of(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=generator)


def seeded_generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize("name", ["sd15", "lcm", "sd2", "sdxl"])
@pytest.mark.parametrize("sampler", ["LCM", "DPM++ 2M SDE Karras"])
def test_refine_gives_the_latents_of_the_stock_pipeline(
    in_memory: dict[str, Loaded], name: str, sampler: str
) -> None:
    """The stock pipeline draws its noise after a sample of the autoencoder: it gets ours instead."""
    loaded = in_memory[name]
    source = encode(scenery(SIDE, SIDE)[..., :3].astype(np.float32) / 255, loaded)
    ground = Ground(source, source, None)
    made = ours(loaded, ground, sampler, action="refine", strength=0.6)
    pipeline, generator = stock("Img2Img", loaded, sampler), seeded_generator()
    noise = noise_of(generator)
    pipeline.prepare_latents = lambda _, step, *__: pipeline.scheduler.add_noise(
        source, noise, step
    )
    picture = Pillow.fromarray(scenery(SIDE, SIDE)[..., :3])
    theirs = paint_stock(pipeline, generator, image=picture, strength=0.6)
    assert torch.allclose(made, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["sd15 inpaint", "sd2 inpaint", "sdxl inpaint"])
def test_an_inpainting_model_gives_the_latents_of_the_stock_pipeline(
    in_memory: dict[str, Loaded], name: str
) -> None:
    loaded, picture = in_memory[name], scenery(SIDE, SIDE)[..., :3]
    hole = torch.from_numpy((HARD > 0).astype(np.float32))[None, None]
    seen = to_tensor(picture.astype(np.float32) / 255, loaded)
    made = ours(loaded, Ground(None, None, None, seen, hole), "Euler", action="generate")
    pipeline, generator = stock("Inpaint", loaded, "Euler"), seeded_generator()
    noise = noise_of(generator)
    theirs = paint_stock(
        pipeline,
        generator,
        image=Pillow.fromarray(picture),
        mask_image=Pillow.fromarray(HARD),
        latents=noise,
        strength=1.0,
        width=SIDE,
        height=SIDE,
    )
    assert torch.allclose(made, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["sd15", "sd2", "sdxl"])
def test_a_controlnet_gives_the_latents_of_the_stock_pipeline(
    in_memory: dict[str, Loaded], name: str
) -> None:
    from diffusers import ControlNetModel

    loaded = in_memory[name]

    def make_net() -> Any:
        net = ControlNetModel.from_unet(loaded.unet)
        for head in (*net.controlnet_down_blocks, net.controlnet_mid_block):
            torch.nn.init.normal_(head.weight, std=0.1)
        torch.nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=0.1)
        return net.eval()

    net = seeded(make_net)
    lines = np.zeros((SIDE, SIDE, 3), np.uint8)
    lines[10:50:6] = 255
    drawn = torch.from_numpy(lines.astype(np.float32) / 255).permute(2, 0, 1)[None]
    controls = [Condition(net, drawn, 0.8, 0.0, 0.7)]
    made = ours(loaded, Ground(None, None, None), "Euler", controls, action="generate")
    theirs = paint_stock(
        stock("ControlNet", loaded, "Euler", controlnet=net),
        seeded_generator(),
        image=Pillow.fromarray(lines),
        controlnet_conditioning_scale=0.8,
        control_guidance_end=0.7,
        width=SIDE,
        height=SIDE,
    )
    assert torch.allclose(made, theirs, atol=1e-4)
    assert not torch.allclose(
        made, ours(loaded, Ground(None, None, None), "Euler", action="generate"), atol=1e-2
    )
