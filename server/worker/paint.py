"""One painting job, stage by stage: masks, control, text -> denoise -> finish -> result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from velatura.models.families.base import Loaded
from velatura.models.samplers import make_scheduler
from velatura.protocol.messages import Generate, Result
from velatura.protocol.region import Rect
from velatura.server.worker.denoise import Condition, Conditioning, Ground, denoise
from velatura.server.worker.depth import depth_of
from velatura.server.worker.finish import (
    bleed,
    check_output,
    cut_layer,
    match_colour,
    meet_edge,
    restore_detail,
    restore_lost,
    unchanged_part,
)
from velatura.server.worker.masks import OPAQUE, bounds, latent_mask
from velatura.server.worker.pixels import (
    from_model,
    resize,
    to_array,
    to_bytes,
    to_floats,
    to_image,
    to_model,
)
from velatura.server.worker.plan import JobPlan
from velatura.server.worker.prompts import Parsed
from velatura.server.worker.recipe import make_recipe
from velatura.server.worker.report import Emit, Reporter
from velatura.server.worker.scene import Scene, continued
from velatura.server.worker.text import Prompts, Text, embed_both
from velatura.server.worker.vae import decode, encode, to_tensor

# Of a variant's progress, what its steps are; the rest is decoding and finishing.
_STEPS_PART = 0.95


@dataclass(frozen=True)
class Tools:
    """What a job needs of the engine: a model in memory, its ControlNets, and cached functions.

    dressed  gives, for a variant, what encodes its prompts, and a sentence or none; while it lasts
             the model acts as with the LoRAs that the variant names
    named    what the recipe of a variant says of these
    """

    loaded: Loaded
    dressed: Callable[[int], AbstractContextManager[tuple[Callable[[Parsed], Text], str]]]
    named: Callable[[int], dict[str, Any]]
    preview: Callable[[torch.Tensor], np.ndarray]
    control_map: Callable[[str, np.ndarray, bool], np.ndarray]
    control_nets: Sequence[torch.nn.Module]


def paint(
    request: Generate,
    plan: JobPlan,
    scene: Scene,
    prompts: Sequence[Prompts],
    tools: Tools,
    report: Reporter,
    emit: Emit,
) -> None:
    """Run the model for every variant of ``request`` and emit a Result for each as it finishes.

    Raises JobError and Cancelled.
    """
    loaded = tools.loaded
    report.stage("preparing")
    ground = _ground(plan, scene, loaded)
    controls = []
    if loaded.extra == "depth":
        depth, note = depth_of(request, plan, scene, loaded.estimate_depth, tools.control_map)
        report.note(note)
        ground = replace(ground, depth=depth.to(loaded.device, loaded.dtype))
    else:
        controls = _controls(request, plan, scene, tools, report)
    round_trip = decode(ground.source, loaded) if plan.start == "source" else None
    recipe = make_recipe(request, plan, loaded)
    shown = bounds(scene.composite)
    for variant in range(request.variants):

        def on_step(done: int, predict: Callable[[], torch.Tensor], variant: int = variant) -> None:
            part = (variant + _STEPS_PART * done / plan.run) / request.variants
            report.stage("painting", part, variant=variant, step=done, steps=plan.run)
            if shown:
                area = replace(shown, x=shown.x + request.region.x, y=shown.y + request.region.y)
                report.preview(
                    variant,
                    done,
                    area,
                    lambda: _preview(tools.preview(predict()), scene, shown, plan),
                )

        with tools.dressed(variant) as (embed, remark):
            prompt, negative = embed_both(prompts[variant], plan.guided, embed)
            for note in (remark, *(text.note for text in (prompt, negative) if text)):
                report.note(note)
            conditioning = Conditioning(prompt, negative, request.guidance, controls)
            began = variant / request.variants
            report.stage("painting", began, variant=variant, steps=plan.run)
            scheduler = make_scheduler(request.sampler, loaded.scheduler_config)
            seed = request.seed + variant
            latents = denoise(loaded, plan, scheduler, ground, conditioning, seed, on_step)
        part = (variant + _STEPS_PART) / request.variants
        report.stage("finishing", part, variant=variant, step=plan.run, steps=plan.run)
        decoded = decode(latents, loaded)
        check_output(decoded)
        rgb = _finish(decoded, round_trip, plan, scene, request)
        report.stage("finishing", (variant + 1) / request.variants, variant=variant)
        emit(result(request, variant, rgb, scene.composite, {**recipe, **tools.named(variant)}))


def _ground(plan: JobPlan, scene: Scene, loaded: Loaded) -> Ground:
    picture = hole = None
    if loaded.extra == "inpaint":
        free = np.ones_like(scene.mask) if plan.start == "noise" else scene.mask >= 0.5
        picture = to_tensor(scene.seen, loaded)
        hole = torch.from_numpy(free.astype(np.float32))[None, None]
    if plan.start == "noise":
        return Ground(None, None, None, picture, hole)
    mask = scene.mask if hole is None else hole[0, 0].numpy()
    start_picture = held_picture = scene.seen
    if plan.start == "extension":
        # Where the model is wholly free nothing of the old object is shown, not even to the
        # autoencoder, whose latents see beyond their own cell; where it starts from, nothing of
        # the object's edge either.
        start_picture = continued(scene.seen, (mask == 0).astype(np.float32))
        held_picture = continued(scene.seen, (mask < 1).astype(np.float32))
    source = encode(held_picture, loaded)
    start = source if start_picture is held_picture else encode(start_picture, loaded)
    held = None
    if mask.min() < 1:
        held = torch.from_numpy(latent_mask(mask))[None, None].to(loaded.device)
    return Ground(start, source, held, picture, hole)


def _controls(
    request: Generate, plan: JobPlan, scene: Scene, tools: Tools, report: Reporter
) -> list[Condition]:
    controls = []
    for control, net in zip(request.controls, tools.control_nets, strict=True):
        if control.picture is None:
            seen = np.rint(scene.seen * 255).astype(np.uint8)
            opaque = np.full_like(seen[..., :1], OPAQUE)
            drawn = tools.control_map(control.kind, np.concatenate([seen, opaque], -1), True)
        else:
            given = tools.control_map(control.kind, to_array(control.picture), False)
            drawn = to_model(given, plan)
        tensor = torch.from_numpy(drawn.astype(np.float32) / 255).permute(2, 0, 1)[None]
        controls.append(Condition(net, tensor, control.weight, control.start, control.end))
        report.stage("preparing")
    return controls


def _finish(
    decoded: np.ndarray,
    round_trip: np.ndarray | None,
    plan: JobPlan,
    scene: Scene,
    request: Generate,
) -> np.ndarray:
    """The decoded picture (h, w, 3) -> the layer's colours (H, W, 3) uint8 of the region's size."""
    height, width = scene.area.shape
    painted = decoded
    same = None
    if round_trip is not None:
        same = unchanged_part(decoded, round_trip)
        painted = restore_lost(painted, scene.seen, round_trip, same)
    elif plan.start == "extension":
        painted = match_colour(painted, scene.seen, scene.mask)
    if plan.start != "noise":
        outside = (to_model(scene.composite, plan) == 0).astype(np.float32)
        painted = meet_edge(painted, scene.seen, outside, plan)
    if plan.scale >= 1:
        # Scaling took nothing.
        same = None
    if not (same is not None or request.action == "expand" or request.keep_outline):
        return from_model(to_bytes(painted), plan, width, height)
    painted = from_model(painted, plan, width, height)
    if same is not None:
        painted = restore_detail(painted, to_floats(scene.picture), scene.seen, same, plan)
    if request.action == "expand":
        # Half-transparent paint at the border stays on top of what is new.
        a = to_floats(scene.source[..., 3:])
        painted = a * to_floats(scene.source[..., :3]) + (1 - a) * painted.clip(0, 1)
    if request.keep_outline:
        painted = bleed(painted, scene.source[..., 3])
    return to_bytes(painted)


def _preview(picture: np.ndarray, scene: Scene, shown: Rect, plan: JobPlan) -> np.ndarray:
    """The part of a small picture that the layer will cover, with its alpha: (h, w, 4) uint8."""
    scale = picture.shape[1] / plan.size.width * plan.scale
    left, top = int(shown.x * scale), int(shown.y * scale)
    right = max(left + 1, min(picture.shape[1], round(shown.right * scale)))
    bottom = max(top + 1, min(picture.shape[0], round(shown.bottom * scale)))
    part = picture[top:bottom, left:right]
    alpha = scene.composite[shown.y : shown.bottom, shown.x : shown.right]
    return np.dstack([part, resize(alpha, part.shape[1], part.shape[0])])


def unchanged_alpha(request: Generate, scene: Scene) -> np.ndarray:
    """The alpha (H, W) uint8 of the layer of strength 0, which holds the source's own pixels.

    It is at most the source's too, so that laid over the source the layer changes nothing.
    """
    alpha = scene.composite.astype(np.uint16)
    if not request.keep_outline:
        alpha = alpha * scene.source[..., 3] // OPAQUE
    return alpha.astype(np.uint8)


def result(
    request: Generate, variant: int, rgb: np.ndarray, alpha: np.ndarray, recipe: dict[str, Any]
) -> Result:
    """The message for a layer of the region's size: (H, W, 3) and (H, W), both uint8."""
    cut, x, y = cut_layer(rgb, alpha)
    return Result(
        job=request.job,
        variant=variant,
        seed=request.seed + variant,
        x=request.region.x + x,
        y=request.region.y + y,
        picture=to_image(cut),
        recipe={**recipe, "seed": request.seed + variant, "variant": variant},
        last=variant == request.variants - 1,
    )
