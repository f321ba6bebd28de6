"""One pass of a job: what the model is shown, its run, and what becomes of the decoded picture.

A job has one pass, or two where its region is larger than the model paints well: the first composes
at the model's own size, the second works over what the first one painted, with the same prompt,
controls and masks, at up to the region's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from velatura.models.families.base import Loaded
from velatura.models.families.denoiser import ControlInput, Denoiser, Shown, Text, Words
from velatura.models.samplers import make_scheduler
from velatura.protocol.messages import Control, Generate
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect
from velatura.server.worker.job.denoise import InitLatents, OnStep, denoise
from velatura.server.worker.job.depth import depth_of
from velatura.server.worker.job.finish import (
    bleed,
    check_output,
    match_colour,
    meet_edge,
    restore_detail,
    restore_lost,
    unchanged_part,
)
from velatura.server.worker.job.masks import OPAQUE, latent_mask
from velatura.server.worker.job.plan import JobPlan
from velatura.server.worker.job.scene import Scene, continued, make_scene
from velatura.server.worker.pixels import (
    enlarge,
    from_model,
    to_array,
    to_bytes,
    to_floats,
    to_image,
    to_model,
)
from velatura.server.worker.prompt.language import Parsed
from velatura.server.worker.report import Reporter

# From this value of the denoise mask on, a model that is shown a hole is shown one.
_FREE = 0.5


@dataclass(frozen=True)
class Variant:
    """A model as one variant uses it, with the LoRAs and embeddings that its prompts name.

    denoiser  may be accelerated
    encode    encodes a prompt, cached
    note      a sentence for the painter, or none
    """

    denoiser: Denoiser
    encode: Callable[[Parsed], Text]
    note: str


@dataclass(frozen=True)
class Tools:
    """What a job needs of the engine: a model in memory, its ControlNets, and cached functions.

    variant  gives the model as a variant uses it; LoRAs are applied while the context lasts
    named    the add-ons that the recipe of a variant tells
    """

    loaded: Loaded
    variant: Callable[[int], AbstractContextManager[Variant]]
    named: Callable[[int], dict[str, Any]]
    control_map: Callable[[str, np.ndarray, bool], np.ndarray]
    control_nets: Sequence[torch.nn.Module]


@dataclass(frozen=True)
class Pass:
    """A pass, ready to run. Its arrays cover ``plan.part`` of the region.

    request     the job's, cut to that part
    controls    the ControlNets with their maps
    init        what the noise is laid over
    round_trip  the picture that it starts from, through the autoencoder alone; None where it does
                not start from one
    """

    request: Generate
    plan: JobPlan
    scene: Scene
    controls: Sequence[ControlInput]
    init: InitLatents
    round_trip: np.ndarray | None


def first_pass(
    request: Generate, plan: JobPlan, scene: Scene, tools: Tools, report: Reporter
) -> Pass:
    controls, depth = _guides(request, plan, scene, tools, report)
    return _grounded(request, plan, scene, controls, depth, tools)


def make_second_pass(
    request: Generate, first: Pass, tools: Tools, report: Reporter
) -> Callable[[np.ndarray], Pass]:
    """What makes the second pass of ``request`` from the picture that the first one painted.

    Guides and masks are those of the whole job, so what can be prepared is made once. Takes what
    ``settle`` gives. ``first.plan.finer`` must be there.
    """
    plan = first.plan.finer
    assert plan is not None
    part, outer = plan.part, first.scene
    cut = _cut_request(request, part)
    scene = make_scene(cut, plan, np.ascontiguousarray(_cut(outer.area, part)))
    controls, depth = _guides(request, plan, scene, tools, report)

    def second_pass(painted: np.ndarray) -> Pass:
        picture = to_bytes(_cut(painted, part))
        if first.plan.start != "noise":
            # What nobody will see of the first pass is no surroundings.
            picture = np.where(scene.area[..., None] > 0, picture, scene.picture)
        seen = to_floats(to_model(picture, plan))
        now = replace(scene, picture=picture, seen=seen)
        return _grounded(cut, plan, now, controls, depth, tools)

    return second_pass


def run(
    one: Pass,
    tools: Tools,
    variant: Variant,
    words: Words,
    seed: int,
    on_step: OnStep,
    check: Callable[[], None],
) -> torch.Tensor:
    """Sample the latents of one pass; raises JobError and what ``on_step`` and ``check`` raise."""
    sampler, loaded = one.request.sampler, tools.loaded
    scheduler = make_scheduler(sampler, loaded.scheduler_config, trailing=loaded.few_steps)
    return denoise(
        variant.denoiser, one.plan, scheduler, one.init, words, one.controls, seed, on_step, check
    )


def settle(latents: torch.Tensor, one: Pass, loaded: Loaded, *, is_last: bool) -> np.ndarray:
    """Latents -> what they show in the region: (H, W, 3), uint8 of the layer where ``is_last``.

    Else float32 in about 0..1, as the next pass sees it. What was painted smaller is enlarged by the
    model's own enlarger, where it has one; what the model left alone keeps the region's own detail.
    Raises JobError (``bad_output``).
    """
    plan, scene, request = one.plan, one.scene, one.request
    height, width = scene.area.shape
    painted = loaded.denoiser.decode(latents)
    check_output(painted)
    same, cell = None, loaded.denoiser.latent.factor
    if one.round_trip is not None:
        same = unchanged_part(painted, one.round_trip, cell)
        painted = restore_lost(painted, scene.seen, one.round_trip, same, cell)
    elif plan.start == "extension":
        painted = match_colour(painted, scene.seen, scene.mask, cell)
    if plan.start != "noise":
        outside = (to_model(scene.composite, plan) == 0).astype(np.float32)
        painted = meet_edge(painted, scene.seen, outside, plan)
    if plan.scale >= 1:
        # Scaling took nothing.
        same = None
    enlarged = enlarge(painted, plan, width, height, loaded.enlarger)
    is_plain = same is None and request.action != "expand" and not request.keep_outline
    if is_last and is_plain and enlarged is None:
        return from_model(to_bytes(painted), plan, width, height)
    painted = from_model(painted, plan, width, height)
    if same is not None:
        picture = to_floats(scene.picture)
        painted = restore_detail(painted, picture, scene.seen, same, plan, enlarged)
    elif enlarged is not None:
        painted = enlarged
    if request.action == "expand":
        # Half-transparent paint at the border stays on top of what is new.
        a = to_floats(scene.source[..., 3:])
        painted = a * to_floats(scene.source[..., :3]) + (1 - a) * painted.clip(0, 1)
    if not is_last:
        return painted
    if request.keep_outline:
        painted = bleed(painted, scene.source[..., 3])
    return to_bytes(painted)


def _guides(
    request: Generate, plan: JobPlan, scene: Scene, tools: Tools, report: Reporter
) -> tuple[Sequence[ControlInput], torch.Tensor | None]:
    """What leads the pass: ControlNets, or the depth that a depth model is shown."""
    loaded = tools.loaded
    if loaded.extra != "depth":
        return _controls(request, plan, scene, tools, report), None
    depth, note = depth_of(
        request,
        plan,
        scene,
        loaded.estimate_depth,
        tools.control_map,
        loaded.denoiser.latent.factor,
    )
    report.note(note)
    return (), depth


def _grounded(
    request: Generate,
    plan: JobPlan,
    scene: Scene,
    controls: Sequence[ControlInput],
    depth: torch.Tensor | None,
    tools: Tools,
) -> Pass:
    init = _init_latents(plan, scene, tools.loaded, depth)
    round_trip = None
    if plan.start == "source" and init.source is not None:
        round_trip = tools.loaded.denoiser.decode(init.source)
    return Pass(request, plan, scene, controls, init, round_trip)


def _cut_request(request: Generate, part: Rect) -> Generate:
    """``request`` for ``part`` of its region; guides stay whole, they are cut as maps."""

    def cut(image: Image | None) -> Image | None:
        return None if image is None else to_image(_cut(to_array(image), part))

    x, y = request.region.x + part.x, request.region.y + part.y
    return replace(
        request,
        region=Rect(x, y, part.width, part.height),
        surroundings=to_image(_cut(to_array(request.surroundings), part)),
        source=cut(request.source),
        selection=cut(request.selection),
        controls=(),
    )


def _cut(pixels: np.ndarray, part: Rect) -> np.ndarray:
    return pixels[part.y : part.bottom, part.x : part.right]


def _init_latents(
    plan: JobPlan, scene: Scene, loaded: Loaded, depth: torch.Tensor | None
) -> InitLatents:
    denoiser, hole, shown = loaded.denoiser, None, Shown(depth=depth)
    if loaded.extra == "inpaint":
        free = np.ones_like(scene.mask) if plan.start == "noise" else scene.mask >= _FREE
        hole = torch.from_numpy(free.astype(np.float32))[None, None]
        shown = Shown(_picture_tensor(scene.seen), hole)
    if plan.start == "noise":
        return InitLatents(None, None, None, shown)
    mask = scene.mask if hole is None else hole[0, 0].numpy()
    start_picture = held_picture = scene.seen
    if plan.start == "extension":
        # Where the model is wholly free nothing of the old object is shown, not even to the
        # autoencoder, whose latents see beyond their own cell; where it starts from, nothing of
        # the object's edge either.
        start_picture = continued(scene.seen, (mask == 0).astype(np.float32))
        held_picture = continued(scene.seen, (mask < 1).astype(np.float32))
    source = denoiser.encode(held_picture)
    start = source if start_picture is held_picture else denoiser.encode(start_picture)
    held = None
    if mask.min() < 1:
        held = torch.from_numpy(latent_mask(mask, denoiser.latent.factor))[None, None].to(
            denoiser.device
        )
    return InitLatents(start, source, held, shown)


def _picture_tensor(picture: np.ndarray) -> torch.Tensor:
    """(h, w, 3) in 0..1 -> (1, 3, h, w) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None] * 2 - 1


def _controls(
    request: Generate, plan: JobPlan, scene: Scene, tools: Tools, report: Reporter
) -> list[ControlInput]:
    made: list[ControlInput] = []
    for control, net in zip(request.controls, tools.control_nets, strict=True):
        hidden = tools.loaded.denoiser.hidden_value(net)
        drawn = _map_of(control, plan, scene, tools, hidden=hidden)
        kind, weight = control.kind, control.weight
        made.append(ControlInput(net, drawn, kind, weight, control.start, control.end))
        report.stage("preparing")
    return made


def _map_of(
    control: Control, plan: JobPlan, scene: Scene, tools: Tools, *, hidden: float
) -> torch.Tensor:
    """The control's map, (1, 3, h, w) in 0..1; ``hidden`` where an inpaint net is to paint."""
    if control.picture is None:
        seen = np.rint(scene.seen * 255).astype(np.uint8)
        opaque = np.full_like(seen[..., :1], OPAQUE)
        drawn = tools.control_map(control.kind, np.concatenate([seen, opaque], -1), True)
    else:
        given = tools.control_map(control.kind, to_array(control.picture), False)
        drawn = to_model(np.ascontiguousarray(_cut(given, plan.part)), plan)
    values = to_floats(drawn)
    if control.kind == "inpaint":
        values[scene.mask >= _FREE] = hidden
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
