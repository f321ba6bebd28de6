"""Canvas, selection and settings -> a request.

``read`` asks the document (GUI thread, a few ms); everything else is pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..protocol import messages as m
from ..protocol.pixels import Image
from ..protocol.region import Rect, Size, close_part, context_region, paint_scales
from ..protocol.sentences import Sentence
from .canvas import Canvas, LayerLike, Readable, clipped
from .state import ACTIONS, DERIVED, LAYER, Settings

# Paint beyond the selection for a mask whose edge the painter moves, in canvas pixels.
_AROUND = 64


class CaptureError(Exception):
    """One sentence for the painter: what is in the way and what to do."""


class NothingOnLayer(CaptureError):
    """The layer to paint over holds no pixels: everything visible may be meant."""


# --- planning --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What will be read and sent.

    area: bounds of what is painted, in pixels of the region; None for all of it.
    layer: id of the layer that is repainted, None for everything visible. left_out: layers that
    are read as if they were hidden. selected: the selection's mask goes along. soft_edge: canvas
    pixels. origin: where the canvas's (0, 0) lies in the document's pixels.
    """

    action: str
    canvas: Size
    region: Rect
    area: Rect | None = None
    layer: str | None = None
    left_out: frozenset[str] = frozenset()
    selected: bool = False
    soft_edge: int = 0
    painted: Rect | None = None
    origin: tuple[int, int] = (0, 0)

    @property
    def read(self) -> Rect:
        """The region in the document's pixels."""
        x, y = self.origin
        return replace(self.region, x=self.region.x + x, y=self.region.y + y)


def soft_edge(selection: Rect) -> int:
    """2 % of the selection's shorter side, 4 to 32 canvas pixels."""
    return max(4, min(32, round(0.02 * min(selection.width, selection.height))))


def plan(
    canvas: Canvas,
    action: str,
    settings: Settings,
    model: m.ModelInfo,
    *,
    most_pixels: int,
) -> Plan:
    """What a press sends. most_pixels: of one picture, the server's limit. Raises CaptureError."""
    chosen = ACTIONS[action]
    if chosen.wire not in model.actions:
        raise CaptureError(
            Sentence(
                '"{model}" cannot {action}: choose another model.',
                model=model.name,
                action=Sentence(chosen.label),
            )
        )
    if canvas.limits.unclear and action != "expand":
        raise CaptureError(
            Sentence(
                '"{layer}" has several selection masks, and Krita does not tell which one holds: '
                "hide all but one.",
                layer=canvas.limits.unclear,
            )
        )
    if chosen.needs_selection and canvas.selection is None:
        raise CaptureError(
            Sentence(
                'Nothing is selected: select the part for "{action}".',
                action=Sentence(chosen.label),
            )
        )
    if action == "expand" and canvas.empty is None:
        raise CaptureError("There is no empty border: choose the sides on which to enlarge.")
    for guide in settings.active_guides:
        if guide.kind not in model.controls:
            raise CaptureError(
                Sentence(
                    '"{model}" cannot follow a guide of the kind "{kind}": switch the guide off, or '
                    "choose another model.",
                    model=model.name,
                    kind=guide.kind,
                )
            )
    source = _source(canvas, settings) if action not in ("generate", "expand") else None
    area = canvas.selection
    if action == "expand":
        area = canvas.empty
    elif area is None and source is not None:
        whole = Rect(0, 0, canvas.size.width, canvas.size.height)
        area = whole.intersection(clipped(*source.bounds, whole))
    region = context_region(
        canvas.size, area, settings.strength / 100, model.native, settings.context
    )
    if region.width * region.height > most_pixels:
        raise CaptureError(
            Sentence(
                "The part to paint, {width} x {height} pixels, is larger than the server takes: "
                "select a smaller one.",
                width=region.width,
                height=region.height,
            )
        )
    selected = canvas.selection is not None and action != "expand"
    return Plan(
        action=action,
        canvas=canvas.size,
        region=region,
        area=_inside(area, region),
        layer=None if source is None else source.id,
        left_out=settings.left_out - ({source.id} if source is not None else set()),
        selected=selected,
        soft_edge=_soft_edge(canvas.selection, settings) if selected and canvas.selection else 0,
        painted=canvas.painted if action == "expand" else None,
        origin=canvas.origin if action == "expand" else (0, 0),
    )


def _inside(area: Rect | None, region: Rect) -> Rect | None:
    """``area`` (canvas pixels) in pixels of ``region``."""
    inside = None if area is None else region.intersection(area)
    return inside and replace(inside, x=inside.x - region.x, y=inside.y - region.y)


def _soft_edge(selection: Rect, settings: Settings) -> int:
    return soft_edge(selection) if settings.soft_edge is None else settings.soft_edge


def enlargement(plan: Plan, settings: Settings, model: m.ModelInfo) -> float:
    """How many times the model's picture is enlarged to fill the region, 1.0 for not at all."""
    region = Size(plan.region.width, plan.region.height)
    part = close_part(region, plan.area, model.native)
    scales = paint_scales(
        region,
        Size(part.width, part.height),
        model.native,
        model.largest,
        settings.strength / 100 if ACTIONS[plan.action].takes_strength else 1.0,
        model.finest_at(settings.detail),
    )
    return max(1.0, 1 / scales.last)


def _source(canvas: Canvas, settings: Settings) -> LayerLike | None:
    layer = canvas.layer
    if settings.paint_from != LAYER:
        return None
    if layer is None:
        raise CaptureError('No layer is active: choose one, or paint from "Everything visible".')
    if not layer.is_picture:
        raise CaptureError(
            Sentence(
                '"{layer}" is a mask: choose its layer, or paint from "Everything visible".',
                layer=layer.name,
            )
        )
    whole = Rect(0, 0, canvas.size.width, canvas.size.height)
    if whole.intersection(clipped(*layer.bounds, whole)) is None:
        raise NothingOnLayer(
            Sentence(
                '"{layer}" is empty: choose another layer, or paint from "Everything visible".',
                layer=layer.name,
            )
        )
    return layer


# --- reading and building --------------------------------------------------------------------------


@dataclass(frozen=True)
class Pixels:
    """All that is read from the document for one request, each of the region's size.

    guides: in the order of the settings' active ones; None: derived from the picture.
    """

    surroundings: bytes
    source: bytes | None = None
    selection: bytes | None = None
    guides: tuple[bytes | None, ...] = ()


def read(document: Readable, plan: Plan, settings: Settings) -> Pixels:
    """Raises CaptureError where a guide's layer is not in this document."""
    there = {DERIVED, *(layer.id for layer in document.layers())}
    if any(guide.layer not in there for guide in settings.active_guides):
        raise CaptureError(
            "A guide's layer is not in this picture: choose another, or switch the guide off."
        )
    with document.without(plan.left_out, plan.read) as seen:
        surroundings = seen.read_projection(plan.read)
        source = None if plan.layer is None else seen.read_layer(plan.layer, plan.read)
    if plan.painted is not None:
        surroundings = _cleared_around(surroundings, plan.region, plan.painted)
    return Pixels(
        surroundings=surroundings,
        source=source,
        selection=document.read_selection(plan.read) if plan.selected else None,
        guides=tuple(
            None if guide.layer == DERIVED else document.read_layer(guide.layer, plan.read)
            for guide in settings.active_guides
        ),
    )


def _cleared_around(rgba: bytes, region: Rect, painted: Rect) -> bytes:
    """The region's pixels, transparent outside ``painted`` (canvas pixels)."""
    kept = region.intersection(painted)
    if kept is None:
        return bytes(len(rgba))
    pitch = 4 * region.width
    before, length = 4 * (kept.x - region.x), 4 * kept.width
    rows = (
        rgba[y * pitch + before : y * pitch + before + length]
        for y in range(kept.y - region.y, kept.bottom - region.y)
    )
    after = bytes(pitch - before - length)
    return b"".join(
        (
            bytes(pitch * (kept.y - region.y)),
            *(bytes(before) + row + after for row in rows),
            bytes(pitch * (region.bottom - kept.bottom)),
        )
    )


def build_request(
    job: str, plan: Plan, pixels: Pixels, settings: Settings, model: m.ModelInfo, seed: int
) -> m.Generate:
    """Raises CaptureError where the pixels do not fit, LocalError where a number is out of range."""
    width, height = plan.region.width, plan.region.height

    def rgba(data: bytes) -> Image:
        return Image(width, height, "rgba8", data)

    if plan.selected and (
        pixels.selection is None or pixels.selection.count(0) == len(pixels.selection)
    ):
        raise CaptureError("The selection is empty inside the canvas: select a part again.")
    return m.Generate(
        job=job,
        action=ACTIONS[plan.action].wire,
        model=model.name,
        canvas=plan.canvas,
        region=plan.region,
        surroundings=rgba(pixels.surroundings),
        source=None if pixels.source is None else rgba(pixels.source),
        selection=None
        if pixels.selection is None
        else Image(width, height, "gray8", pixels.selection),
        prompt=settings.prompt,
        negative=settings.negative,
        style=settings.style,
        strength=settings.strength / 100 if ACTIONS[plan.action].takes_strength else 1.0,
        steps=settings.steps or model.steps,
        guidance=model.guidance if settings.guidance is None else settings.guidance,
        sampler=settings.sampler or model.sampler,
        clip_skip=settings.clip_skip,
        seed=seed,
        variants=settings.variants,
        controls=tuple(
            m.Control(
                kind=guide.kind,
                picture=None if picture is None else rgba(picture),
                weight=guide.influence / 100,
                start=guide.start / 100,
                end=guide.end / 100,
            )
            for guide, picture in zip(settings.active_guides, pixels.guides, strict=True)
        ),
        detail=settings.detail,
        soft_edge=plan.soft_edge,
        around=_AROUND if plan.selected else 0,
        # A fill paints anew: it need not end where the layer did.
        keep_outline=settings.keep_outline
        and plan.action != "fill"
        and pixels.source is not None
        and _see_through(pixels.source),
    )


def _see_through(rgba: bytes) -> bool:
    alpha = rgba[3::4]
    return alpha.count(255) != len(alpha)
