"""A canvas that is painted from far to near and keeps depth, labels and outlines as it goes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Colours of the 150-class ADE20K palette (Zhou et al. 2017) for the classes that occur here.
# That set has no snow: snow-covered ground is "earth", a bowl is "plate", a lighthouse "tower".
PALETTE: dict[str, tuple[int, int, int]] = {
    "sky": (6, 230, 230),
    "tree": (4, 200, 3),
    "grass": (4, 250, 7),
    "person": (150, 5, 61),
    "earth": (120, 120, 70),
    "table": (255, 6, 82),
    "mountain": (143, 255, 140),
    "house": (255, 9, 224),
    "sea": (9, 7, 230),
    "rock": (255, 41, 10),
    "sand": (160, 150, 20),
    "river": (11, 200, 200),
    "bridge": (255, 82, 0),
    "flower": (255, 0, 0),
    "hill": (255, 102, 0),
    "boat": (173, 255, 0),
    "tower": (255, 184, 184),
    "food": (255, 204, 0),
    "plate": (0, 255, 184),
}
LABELS = tuple(PALETTE)

RGB = tuple[float, float, float]
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True)
class Light:
    """The light of a time of day; colours are sRGB 0..255, tint and shadow are factors 0..1."""

    zenith: RGB
    middle: RGB
    haze: RGB
    tint: RGB
    shadow: RGB
    glow: RGB
    cast: float  # darkness of cast shadows, 0..1
    side: int  # -1: the light comes from the left, 1: from the right


def mix(a, b, share: float) -> np.ndarray:
    """Colour between a (share 0) and b (share 1)."""
    return np.asarray(a, np.float32) * (1 - share) + np.asarray(b, np.float32) * share


def circle(x: float, y: float, rx: float, ry: float | None = None, points: int = 28) -> np.ndarray:
    """Points (N, 2) of an ellipse in picture units."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + rx * np.cos(turn), y + (rx if ry is None else ry) * np.sin(turn)], 1)


def noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise (size, size) float32 of about unit variance, alike at every size."""
    grid = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


class Canvas:
    """The picture under work, size x size.

    `rgb` float32 0..255; `depth` uint8, nearer is lighter, 0 is the sky; `label` uint8 index
    into LABELS; `line` uint8, white on black; `detail` uint8, 255 where a thing stands and not
    sky or ground; `touched` uint8, what was covered since `at`. Points are (N, 2) in picture units.
    """

    def __init__(self, size: int, light: Light) -> None:
        self.size = size
        self.light = light
        self.rgb = np.zeros((size, size, 3), np.float32)
        self.depth = np.zeros((size, size), np.uint8)
        self.label = np.zeros((size, size), np.uint8)
        self.line = np.zeros((size, size), np.uint8)
        self.touched = np.zeros((size, size), np.uint8)
        self.detail = np.zeros((size, size), np.uint8)
        self._tint = np.asarray(light.tint, np.float32)
        # Hues that are named in captions bend less to the light, so that they stay nameable.
        self._own_tint = self._tint.mean() ** 0.35 * (self._tint / self._tint.mean()) ** 0.4
        self._haze = 0.0
        self.near = 0
        self._index = 0
        self._thing = 0
        self._line_width = max(1, round(size / 256))

    def at(self, label: str, depth: int, haze: float = 0.0, *, thing: bool = True) -> None:
        """What is painted from now on has this label and depth (0..255), veiled by haze 0..1."""
        self._index, self.near, self._haze = LABELS.index(label), depth, haze
        self._thing = 255 if thing else 0
        self.touched[:] = 0

    def lit(self, colour, *, own: bool = False, shine: bool = False) -> np.ndarray:
        """The colour under this light; own: a thing's named hue, shine: it gives its own light."""
        colour = np.asarray(colour, np.float32)
        if not shine:
            colour = colour * (self._own_tint if own else self._tint)
        return mix(colour, self.light.haze, self._haze) if self._haze else colour

    def shaded(self, colour, amount: float = 1.0) -> np.ndarray:
        """The colour on the side away from the light."""
        return np.asarray(colour, np.float32) * mix((1, 1, 1), self.light.shadow, amount)

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        return np.round((np.asarray(points) * self.size - 0.5) * (1 << _SHIFT)).astype(np.int32)

    def _box(self, points: np.ndarray, margin: int = 2) -> tuple[slice, slice] | None:
        low = np.floor(points.min(0) * self.size).astype(int) - margin
        high = np.ceil(points.max(0) * self.size).astype(int) + margin
        x0, y0 = np.clip(low, 0, self.size)
        x1, y1 = np.clip(high, 0, self.size)
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def fill(
        self,
        points: np.ndarray,
        colour,
        to=None,
        *,
        holes: tuple[np.ndarray, ...] = (),
        across: bool = False,
        alpha: float = 1.0,
        own: bool = False,
        shine: bool = False,
        line: bool = True,
        solid: bool = True,
    ) -> None:
        """Fill a polygon with a colour, or with a gradient from `colour` to `to`.

        The gradient runs down, or with `across` from the light's side to the far side. `holes`
        are left out. `solid` writes depth and label and hides the lines behind; `line` draws
        the outline into the line map.
        """
        box = self._box(points)
        if box is None:
            return
        rows, columns = box
        offset = np.array([columns.start, rows.start], np.int32) << _SHIFT
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        paths = [self._pixels(path) - offset for path in (points, *holes)]
        cv2.fillPoly(mask, paths, 255, cv2.LINE_AA, _SHIFT)
        cover = mask.astype(np.float32)[..., None] * (alpha / 255)
        paint = self.lit(colour, own=own, shine=shine)
        if to is not None:
            end = self.lit(to, own=own, shine=shine)
            axis = 0 if across else 1
            low, high = points[:, axis].min(), points[:, axis].max()
            span = columns if across else rows
            place = (np.arange(span.start, span.stop, dtype=np.float32) + 0.5) / self.size
            share = np.clip((place - low) / max(high - low, 1e-6), 0, 1)
            if across and self.light.side > 0:
                share = 1 - share
            ramp = paint + (end - paint) * share[:, None]
            paint = ramp[None, :, :] if across else ramp[:, None, :]
        area = self.rgb[rows, columns]
        area += (paint - area) * cover
        if solid:
            inside = mask > 127
            self.depth[rows, columns][inside] = self.near
            self.label[rows, columns][inside] = self._index
            self.detail[rows, columns][inside] = self._thing
            np.maximum(self.touched[rows, columns], mask, out=self.touched[rows, columns])
            hidden = self.line[rows, columns]
            hidden[:] = (hidden * (1 - mask * np.float32(1 / 255))).astype(np.uint8)
        if line:
            for path in (points, *holes):
                self.draw(path, closed=True)

    def dabs(self, shapes, colour, *, alpha=1.0, own=False, shine=False, solid=False) -> None:
        """Fill many small convex shapes, each (N, 2), with one colour and without outlines."""
        if not len(shapes):
            return
        mask = np.zeros((self.size, self.size), np.uint8)
        for shape in shapes:
            cv2.fillConvexPoly(mask, self._pixels(shape), 255, cv2.LINE_AA, _SHIFT)
        self.blend(mask, self.lit(colour, own=own, shine=shine), alpha)
        if solid:
            inside = mask > 127
            self.depth[inside] = self.near
            self.label[inside] = self._index
            self.detail[inside] = self._thing
            np.maximum(self.touched, mask, out=self.touched)

    def blend(self, mask: np.ndarray, paint: np.ndarray, alpha: float = 1.0) -> None:
        """Blend a colour (3,) or picture (size, size, 3) in through a uint8 mask."""
        self.rgb += (paint - self.rgb) * (mask.astype(np.float32)[..., None] * (alpha / 255))

    def draw(self, points: np.ndarray, *, closed: bool = False, ink: int = 255) -> None:
        """Draw into the line map only; ink 0 rubs out."""
        path = self._pixels(points)
        cv2.polylines(self.line, [path], closed, ink, self._line_width, cv2.LINE_AA, _SHIFT)

    def stroke(
        self, points: np.ndarray, width: float, colour, *, own=False, solid=True, line=False
    ) -> None:
        """Paint a line of this width (picture units) along the points."""
        points = np.asarray(points, np.float64)
        along = np.gradient(points, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], 1)
        normal *= width / 2 / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        self.fill(
            np.concatenate([points + normal, (points - normal)[::-1]]),
            colour,
            own=own,
            solid=solid,
            line=line,
        )

    def glow(self, x: float, y: float, radius: float, colour, strength: float) -> None:
        """Add soft light around a point."""
        place = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size
        far = (place[None, :] - x) ** 2 + (place[:, None] - y) ** 2
        share = np.exp(-far / (radius * radius))[..., None] * strength
        self.rgb += (np.asarray(colour, np.float32) - self.rgb) * share

    def shadow(self, x: float, y: float, rx: float, ry: float) -> None:
        """A cast shadow on the ground, falling away from the light."""
        if self.light.cast <= 0:
            return
        shape = circle(x - self.light.side * rx * 0.45, y, rx, ry)
        dark = np.asarray(self.light.shadow, np.float32) * 60
        self.fill(shape, dark, alpha=self.light.cast, line=False, solid=False)

    def reflect(self, water: float, rng: np.random.Generator, strength: float = 0.5) -> None:
        """Mirror what was touched since `at` below the waterline y, broken by small waves."""
        row = round(water * self.size)
        depth = self.size - row
        if row <= 0 or depth <= 0:
            return
        below = np.arange(depth, dtype=np.float32) + 0.5
        wave = np.interp(below / self.size, np.linspace(0, 1, 60), rng.normal(0, 0.012, 60))
        map_x = np.arange(self.size, dtype=np.float32)[None, :] + (
            wave.astype(np.float32)[:, None] * self.size
        )
        map_y = np.broadcast_to((row - 0.5 - below / 0.75).astype(np.float32)[:, None], map_x.shape)
        args = (np.ascontiguousarray(map_x), np.ascontiguousarray(map_y), cv2.INTER_LINEAR)
        image = cv2.remap(self.rgb, *args, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.remap(self.touched, *args, borderMode=cv2.BORDER_CONSTANT)
        fade = strength * np.clip(1.2 - below / self.size / 0.45, 0, 1)
        share = cover.astype(np.float32) * (fade[:, None] / 255)
        share[self.label[row:] != LABELS.index("sea")] = 0
        area = self.rgb[row:]
        area += (image * 0.9 - area) * share[..., None]
