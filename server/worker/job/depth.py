"""What a depth model is shown: the painter's depth guide, or the depth estimated from the picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from velatura.models.depth import EstimateDepth, weighed
from velatura.protocol.messages import Generate
from velatura.protocol.sentences import Sentence
from velatura.server.worker.errors import JobError
from velatura.server.worker.job.plan import JobPlan
from velatura.server.worker.job.scene import Scene
from velatura.server.worker.pixels import to_array, to_bytes, to_model

KIND = "depth"


def check_depth(request: Generate) -> None:
    """Raises JobError (``unsupported``) for what a depth model cannot be asked for."""
    others = [control.kind for control in request.controls if control.kind != KIND]
    if others:
        raise JobError(
            "unsupported",
            Sentence(
                "{model} takes a {kind} guide and no ControlNet: remove {other}.",
                model=request.model,
                kind=KIND,
                other=others[0],
            ),
            "controls",
        )
    if len(request.controls) > 1:
        raise JobError(
            "unsupported",
            Sentence(
                "{model} takes one {kind} guide: remove the others.",
                model=request.model,
                kind=KIND,
            ),
            "controls",
        )
    if request.action == "generate" and not request.controls:
        raise JobError(
            "unsupported",
            Sentence(
                "{model} does not paint from text alone: add a {kind} guide, or refine, fill or "
                "expand what is there.",
                model=request.model,
                kind=KIND,
            ),
            "action",
        )


def depth_of(
    request: Generate,
    plan: JobPlan,
    scene: Scene,
    estimate: EstimateDepth | None,
    control_map: Callable[[str, np.ndarray, bool], np.ndarray],
    factor: int,
) -> tuple[torch.Tensor, str]:
    """What the UNet is shown, (2, 1, h / factor, w / factor) float32 in -1..1, nearer is larger; and a note.

    First what it is shown with the negative prompt, then with the prompt (``models.depth.weighed``).
    It is the guide of ``request`` where it has one, else what ``estimate`` or ``control_map`` derive
    from the picture. Raises ModelError (``missing_weights``) when neither can.
    """
    control = next(iter(request.controls), None)
    if control is not None and control.picture is not None:
        part = plan.part
        guide = control_map(KIND, to_array(control.picture), False)
        guide = to_model(guide[part.y : part.bottom, part.x : part.right], plan)
        depth = torch.from_numpy(guide.astype(np.float32).mean(-1))
    elif estimate is not None:
        depth = estimate(to_bytes(scene.seen)).float().cpu()
    else:
        depth = torch.from_numpy(
            control_map(KIND, to_bytes(scene.seen), True).astype(np.float32).mean(-1)
        )
    return weighed(_to_latents(depth, plan, factor), control.weight if control else 1.0), _note(
        request
    )


def _to_latents(depth: torch.Tensor, plan: JobPlan, factor: int) -> torch.Tensor:
    """(h, w) of any range -> (1, 1, h / factor, w / factor) from -1 to 1, as the model was trained; flat: 0."""
    size = (plan.size.height // factor, plan.size.width // factor)
    small = torch.nn.functional.interpolate(
        depth[None, None], size=size, mode="bicubic", align_corners=False
    )
    low, high = small.min(), small.max()
    return 2 * (small - low) / (high - low) - 1 if high > low else torch.zeros_like(small)


def _note(request: Generate) -> str:
    notes = []
    for control in request.controls:
        if (control.start, control.end) != (0, 1):
            notes.append(
                f"A {KIND} model follows its guide all the way: start and end change nothing."
            )
        if control.weight > 1 and request.guidance <= 1:
            notes.append(f"Without guidance a {KIND} guide's weight above 1 counts as 1.")
    return " ".join(notes)
