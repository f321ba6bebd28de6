"""Two paintings and the five things done to each.

One painting is of the starter model's own world, one it never saw: ``photograph.jpg``, the launch of
DSCOVR on a Falcon 9, taken by SpaceX and released into the public domain.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from importlib.resources import files

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFilter
from velatura.models.starter.recipe.world import Scene, Thing, render
from velatura.protocol.messages import Control, Generate, ModelInfo
from velatura.protocol.pixels import Image
from velatura.protocol.region import Rect, Size, context_region

SEED = 11


@dataclass(frozen=True)
class Painting:
    """A picture (H, W, 3) uint8 and what to ask for.

    selection: (H, W) uint8, soft. lines: (H, W) uint8, white on black, or None to derive them.
    """

    name: str
    picture: np.ndarray
    selection: np.ndarray
    lines: np.ndarray | None
    generate: str
    fill: str
    refine: str
    control: str
    expand: str


@dataclass(frozen=True)
class Task:
    """One job, and the canvas it belongs to: (H, W, 4) uint8 before it is painted."""

    key: str
    title: str
    request: Generate
    canvas: np.ndarray


def soft_ellipse(height: int, width: int, box: tuple[float, ...], blur: float) -> np.ndarray:
    """(H, W) uint8: an ellipse in ``box`` (parts of the sides) that fades out over ``blur`` px."""
    mask = Picture.new("L", (width, height))
    sides = (width, height, width, height)
    ImageDraw.Draw(mask).ellipse([part * side for part, side in zip(box, sides, strict=True)], 255)
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(blur)))


def own_world(side: int = 256) -> Painting:
    scene = Scene(
        time="day",
        ground="meadow",
        style="oil",
        things=(
            Thing("sun", None, 0.8, 0.16, 0.16, 0.0),
            Thing("house", "red", 0.36, 0.76, 0.34, 0.35),
            Thing("pine tree", None, 0.78, 0.8, 0.42, 0.45),
        ),
        seed=4,
    )
    drawn = render(scene, side)
    return Painting(
        name="own world",
        picture=drawn.image,
        selection=soft_ellipse(side, side, (0.05, 0.3, 0.67, 0.92), 5),
        lines=drawn.line,
        generate="oil painting of a sailing boat with a red sail on the sea at sunset, the sun",
        fill="oil painting of a round tree on a meadow by day",
        refine="oil painting of a house with a red roof on a meadow at sunset, a pine tree",
        control="oil painting of a house with a blue roof on snow at night, a pine tree, the moon",
        expand="oil painting of a meadow by day, mountains behind",
    )


def photograph() -> Painting:
    with (files(__package__) / "photograph.jpg").open("rb") as file:
        picture = np.asarray(Picture.open(file).convert("RGB"))
    height, width = picture.shape[:2]
    return Painting(
        name="photograph",
        picture=picture,
        selection=soft_ellipse(height, width, (0.62, 0.06, 0.96, 0.5), 6),
        lines=None,
        generate="watercolour of a lighthouse on the sea at night, a moon, stars",
        fill="the moon in the sky at night, stars",
        refine="oil painting of a lighthouse at night, clouds",
        control="oil painting of a lighthouse at sunset, clouds, mountains behind",
        expand="the sky at night, stars",
    )


def with_alpha(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W, 4), opaque."""
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def message_image(pixels: np.ndarray) -> Image:
    """(H, W) or (H, W, 4) uint8 as a picture of the protocol."""
    height, width = pixels.shape[:2]
    pixel_format = "gray8" if pixels.ndim == 2 else "rgba8"
    return Image(width, height, pixel_format, np.ascontiguousarray(pixels).tobytes())


def _bounds(selection: np.ndarray) -> Rect:
    rows, columns = np.flatnonzero(selection.any(1)), np.flatnonzero(selection.any(0))
    x, y = int(columns[0]), int(rows[0])
    return Rect(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def _cut(pixels: np.ndarray, rect: Rect) -> np.ndarray:
    return pixels[rect.y : rect.bottom, rect.x : rect.right]


def _request(
    model: ModelInfo,
    action: str,
    canvas: np.ndarray,
    prompt: str,
    *,
    selection: np.ndarray | None = None,
    strength: float = 1.0,
    seed: int = SEED,
) -> Generate:
    size = Size(canvas.shape[1], canvas.shape[0])
    bounds = None if selection is None else _bounds(selection)
    region = context_region(size, bounds, strength, model.native)
    return Generate(
        job=str(uuid.uuid4()),
        action=action,
        model=model.name,
        canvas=size,
        region=region,
        surroundings=message_image(_cut(canvas, region)),
        selection=None if selection is None else message_image(_cut(selection, region)),
        prompt=prompt,
        strength=strength,
        steps=model.steps,
        guidance=model.guidance,
        sampler=model.sampler,
        seed=seed,
    )


def tasks(painting: Painting, model: ModelInfo) -> list[Task]:
    """The five things, in order; the control comes beside the same request without it."""
    canvas = with_alpha(painting.picture)
    wider = np.zeros((canvas.shape[0], canvas.shape[1] * 3 // 2, 4), np.uint8)
    wider[:, : canvas.shape[1]] = canvas

    def refine(key: str, title: str, strength: float) -> Task:
        request = _request(model, "refine", canvas, painting.refine, strength=strength)
        return Task(key, title, request, canvas)

    plain = _request(model, "generate", canvas, painting.control)
    lines = None if painting.lines is None else message_image(painting.lines)
    guided = replace(plain, job=str(uuid.uuid4()), controls=(Control(kind="line", picture=lines),))
    return [
        Task(
            "generate", "Generate", _request(model, "generate", canvas, painting.generate), canvas
        ),
        Task(
            "fill",
            "Fill the selection",
            _request(model, "fill", canvas, painting.fill, selection=painting.selection),
            canvas,
        ),
        refine("refine-40", "Refine at 40 %", 0.4),
        refine("refine-70", "Refine at 70 %", 0.7),
        Task("uncontrolled", "The same without a guide", plain, canvas),
        Task("controlled", "Repaint under a line guide", guided, canvas),
        Task(
            "expand",
            "Expand to the right",
            _request(model, "expand", wider, painting.expand),
            wider,
        ),
    ]
