"""For every family and job: the latents of the stock pipeline, called directly, for the same seed.

Of fills the latents are compared, not the picture: colours are matched to the surroundings then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from checkpoints import make_net
from families import MAKERS
from painting import ask, scenery
from PIL import Image as Pillow
from velatura.models import library
from velatura.models.control_nets import UNION_MODES
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import ControlInput, Shown, Words
from velatura.models.samplers import make_scheduler
from velatura.server.worker.job.denoise import InitLatents, denoise
from velatura.server.worker.job.plan import make_plan
from velatura.server.worker.job.scene import area_of, selected_rect
from velatura.server.worker.prompt.encode import embed
from velatura.server.worker.prompt.language import parse

SIDE, STEPS, GUIDANCE = 64, 5, 4.0
HARD = np.zeros((SIDE, SIDE), np.uint8)
HARD[16:48, 16:48] = 255
PICTURE = Pillow.fromarray(scenery(SIDE, SIDE)[..., :3])
# Four channels into the UNet, nine, and those that have a ControlNet of the ordinary kind.
PLAIN = [name for name in MAKERS if not name.endswith(("inpaint", "depth", "union"))]
INPAINT = [name for name in MAKERS if name.endswith("inpaint")]
# The jobs of a model with four channels: (action, strength).
JOBS = [("generate", 1.0), ("refine", 0.6), ("fill", 0.6), ("fill", 1.0)]
SAMPLERS = ["Euler", "DPM++ 2M Karras", "LCM"]
# Every model with every job and every sampler, and every job with every sampler: no code asks for
# all three at once.
PAIRS = [
    (name, job, SAMPLERS[(row + column) % len(SAMPLERS)])
    for row, name in enumerate(PLAIN)
    for column, job in enumerate(JOBS)
]


@pytest.fixture(scope="module")
def in_memory(families: dict[str, Path]) -> dict[str, Loaded]:
    return {
        name: library.Library([], starter=folder).load(
            "tiny", "cpu", torch.float32, lambda *_: None
        )
        for name, folder in families.items()
    }


def ours(loaded: Loaded, init: InitLatents, sampler: str, controls: Any = (), **job: Any) -> Any:
    """Finished latents for the words "a red house", not "night", by seed 7."""
    request = ask(scenery(SIDE, SIDE), guidance=GUIDANCE, steps=STEPS, sampler=sampler, **job)
    plan = make_plan(request, _model(loaded), selected_rect(area_of(request)))
    prompt, negative = (embed(parse(text), loaded) for text in ("a red house", "night"))
    scheduler = make_scheduler(sampler, loaded.scheduler_config, trailing=loaded.few_steps)
    words = Words(prompt, negative, GUIDANCE)
    return denoise(loaded.denoiser, plan, scheduler, init, words, controls, 7, lambda *_: None)


def _model(loaded: Loaded) -> Any:
    from test_plan import a_model

    return a_model(SIDE, SIDE, loaded.family.multiple)


def stock(kind: str, loaded: Loaded, sampler: str, **parts: Any) -> Any:
    """diffusers' own pipeline ``kind``, for the family's name in it, on the same weights."""
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
        scheduler=make_scheduler(sampler, loaded.scheduler_config, trailing=loaded.few_steps),
        **parts,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint_stock(pipeline: Any, generator: torch.Generator, **more: Any) -> torch.Tensor:
    words = {"prompt": "a red house", "negative_prompt": "night", "guidance_scale": GUIDANCE}
    return pipeline(
        num_inference_steps=STEPS, generator=generator, output_type="latent", **words, **more
    ).images


def noise_of(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=generator)


def seeded_generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def begin(pipeline: Any, source: torch.Tensor, noise: torch.Tensor, strength: float) -> None:
    """The stock pipelines draw noise after samples of the autoencoder: they get ours instead.

    And a fill from noise alone begins, where the picture is held, from the picture at that level.
    """
    scheduler, hole = pipeline.scheduler, torch.from_numpy(HARD[::8, ::8] > 0)

    def prepare_latents(_: Any, second: Any, *more: Any, **named: Any) -> Any:
        inpaints = "timestep" in named
        step = named["timestep"] if inpaints else second
        latents = scheduler.add_noise(source, noise, step[:1])
        if inpaints and strength == 1:
            latents = torch.where(hole, noise * scheduler.init_noise_sigma, latents)
        return (latents, noise, source) if inpaints else latents

    pipeline.prepare_latents = prepare_latents
    # What is under the hole goes through the autoencoder for models that are shown it only.
    pipeline._encode_vae_image = lambda image, generator: source


def by_both(
    loaded: Loaded,
    job: tuple[str, float],
    sampler: str,
    controls: Any = (),
    kind: str = "",
    parts: dict[str, Any] | None = None,
    asked: dict[str, Any] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents by us and by the stock pipeline of ``kind``: of a UNet with four channels.

    parts  more of what the pipeline is made of, asked: more of what it is called with
    """
    action, strength = job
    source = loaded.denoiser.encode(np.asarray(PICTURE, np.float32) / 255)
    mask = torch.from_numpy((HARD[::8, ::8] > 0).astype(np.float32))[None, None]
    start = None if strength == 1 else source
    init = InitLatents(
        start, source if action == "fill" else start, mask if action == "fill" else None
    )
    made = ours(loaded, init, sampler, controls, action=action, strength=strength)
    pipelines = {"generate": "", "refine": "Img2Img", "fill": "Inpaint"}
    pipeline = stock(f"{kind}{pipelines[action]}", loaded, sampler, **(parts or {}))
    generator, more = seeded_generator(), dict(asked or {})
    if action == "generate":
        if kind == "ControlNet":
            more["image"] = more.pop("control_image")
        return made, paint_stock(pipeline, generator, width=SIDE, height=SIDE, **more)
    begin(pipeline, source, noise_of(generator), strength)
    more |= {"image": PICTURE, "strength": strength}
    if action == "fill":
        more |= {"mask_image": Pillow.fromarray(HARD), "width": SIDE, "height": SIDE}
    return made, paint_stock(pipeline, generator, **more)


@pytest.mark.parametrize(("name", "job", "sampler"), PAIRS, ids=str)
def test_a_job_gives_the_latents_of_its_stock_pipeline(
    in_memory: dict[str, Loaded], name: str, job: tuple[str, float], sampler: str
) -> None:
    made, theirs = by_both(in_memory[name], job, sampler)
    assert torch.allclose(made, theirs, atol=1e-4)


def lines() -> np.ndarray:
    drawn = np.zeros((SIDE, SIDE, 3), np.uint8)
    drawn[10:50:6] = 255
    return drawn


def as_map(drawn: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(drawn.astype(np.float32) / 255).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_controlnet_gives_the_latents_of_the_stock_pipeline(
    in_memory: dict[str, Loaded], families: dict[str, Path], name: str, job: tuple[str, float]
) -> None:
    loaded, net = in_memory[name], make_net(families[name] / "unet").eval()
    controls = [ControlInput(net, as_map(lines()), "line", 0.8, 0.0, 0.7)]
    asked = {
        "control_image": Pillow.fromarray(lines()),
        "controlnet_conditioning_scale": 0.8,
        "control_guidance_end": 0.7,
    }
    parts = {"controlnet": net}
    made, theirs = by_both(loaded, job, "Euler", controls, "ControlNet", parts, asked)
    # The stock pipelines that start from a picture do not tell LCM's own UNet its guidance.
    if name != "lcm" or job[0] == "generate":
        assert torch.allclose(made, theirs, atol=1e-4)
    plain, _ = by_both(loaded, job, "Euler")
    assert not torch.allclose(made, plain, atol=1e-2)


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_union_gives_the_latents_of_the_stock_pipeline(
    in_memory: dict[str, Loaded], families: dict[str, Path], job: tuple[str, float]
) -> None:
    name, kinds = "sdxl union", ("depth", "line")
    loaded = in_memory[name]
    net = diffusers.ControlNetUnionModel.from_pretrained(families[name] / "controlnet-pose").eval()
    maps = [lines(), np.ascontiguousarray(lines().transpose(1, 0, 2))]
    controls = [
        ControlInput(net, as_map(drawn), kind, 0.8, 0.0, 0.7)
        for kind, drawn in zip(kinds, maps, strict=True)
    ]
    asked = {
        "control_image": [Pillow.fromarray(one) for one in maps],
        "control_mode": [UNION_MODES[kind] for kind in kinds],
        "controlnet_conditioning_scale": [0.8, 0.8],
        "control_guidance_end": 0.7,
    }
    parts = {"controlnet": net}
    made, theirs = by_both(loaded, job, "Euler", controls, "ControlNetUnion", parts, asked)
    assert torch.allclose(made, theirs, atol=1e-4)


@pytest.mark.parametrize("name", INPAINT)
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("guided", [False, True], ids=["plain", "ControlNet"])
def test_an_inpainting_model_gives_the_latents_of_the_stock_pipeline(
    in_memory: dict[str, Loaded],
    families: dict[str, Path],
    name: str,
    strength: float,
    guided: bool,
) -> None:
    loaded = in_memory[name]
    hole = torch.from_numpy((HARD > 0).astype(np.float32))[None, None]
    pixels = np.asarray(PICTURE, np.float32) / 255
    source = loaded.denoiser.encode(pixels)
    seen = 2 * torch.from_numpy(pixels).permute(2, 0, 1)[None] - 1
    init = InitLatents(None if strength == 1 else source, None, None, Shown(seen, hole))
    net = make_net(families[name] / "unet").eval()
    controls = [ControlInput(net, as_map(lines()), "line", 0.8)] if guided else ()
    made = ours(loaded, init, "Euler", controls, action="fill", strength=strength)
    kind = "ControlNetInpaint" if guided else "Inpaint"
    pipeline = stock(kind, loaded, "Euler", **({"controlnet": net} if guided else {}))
    generator = seeded_generator()
    noise = noise_of(generator)
    if strength < 1:
        step = (1 - strength) * STEPS
        pipeline.scheduler.set_timesteps(STEPS)
        start = pipeline.scheduler.timesteps[round(step)][None]
        noise = pipeline.scheduler.add_noise(source, noise, start)
        noise = noise / pipeline.scheduler.init_noise_sigma
    more = {"control_image": Pillow.fromarray(lines()), "controlnet_conditioning_scale": 0.8}
    theirs = paint_stock(
        pipeline,
        generator,
        image=PICTURE,
        mask_image=Pillow.fromarray(HARD),
        # The pipeline multiplies what it is given by the initial scale.
        latents=noise,
        strength=strength,
        width=SIDE,
        height=SIDE,
        **(more if guided else {}),
    )
    assert torch.allclose(made, theirs, atol=1e-4)


@pytest.mark.parametrize("name", INPAINT)
@pytest.mark.parametrize("guided", [False, True], ids=["plain", "ControlNet"])
def test_an_inpainting_model_is_shown_a_bright_picture_as_it_is(
    in_memory: dict[str, Loaded], families: dict[str, Path], name: str, guided: bool
) -> None:
    """Snow, paper, sky: no value is below the middle, where a guessed range goes wrong."""
    loaded = in_memory[name]
    bright = 0.5 + np.asarray(PICTURE, np.float32) / 255 / 2
    hole = torch.from_numpy((HARD > 0).astype(np.float32))[None, None]
    seen = 2 * torch.from_numpy(bright).permute(2, 0, 1)[None] - 1
    init = InitLatents(None, None, None, Shown(seen, hole))
    net = make_net(families[name] / "unet").eval()
    controls = [ControlInput(net, as_map(lines()), "line", 0.8)] if guided else ()
    shown: list[torch.Tensor] = []
    seeing = loaded.vae.encoder.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    try:
        ours(loaded, init, "Euler", controls, action="fill", strength=1.0)
    finally:
        seeing.remove()
    kept = seen * (hole < 0.5)
    assert len(shown) == 1
    assert torch.allclose(shown[0], kept, atol=1e-6)


SCHEDULES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "sd15 few steps": lambda config: diffusers.EulerDiscreteScheduler.from_config(config),
    "sdxl few steps": lambda config: diffusers.EulerDiscreteScheduler.from_config(config),
    "sdxl v": lambda config: diffusers.EulerDiscreteScheduler.from_config(config),
    "lcm": lambda config: diffusers.LCMScheduler.from_config(config),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedule_is_the_one_that_the_checkpoint_was_saved_with(
    in_memory: dict[str, Loaded], name: str
) -> None:
    """The other tests take the scheduler from our table; here diffusers makes it alone."""
    loaded = in_memory[name]
    sampler = "LCM" if name == "lcm" else "Euler"
    made, _ = by_both(loaded, JOBS[0], sampler)
    pipeline = stock("", loaded, sampler)
    pipeline.scheduler = SCHEDULES[name](dict(loaded.scheduler_config))
    theirs = paint_stock(pipeline, seeded_generator(), width=SIDE, height=SIDE)
    assert torch.allclose(made, theirs, atol=1e-4)
