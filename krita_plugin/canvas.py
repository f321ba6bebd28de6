"""What the canvas is like: read as little of a document as tells what a press would do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from ..protocol.region import Rect, Size

# How many lines of pixels decide whether a canvas is blank; a painted one is known after a few.
_SAMPLED_LINES = 64
# A line of one layer costs ms where it is not 8-bit sRGB.
_SAMPLED_LINES_OF_PAPER = 8


class LayerLike(Protocol):
    """What ``look`` needs of document.Layer."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def parent(self) -> str | None: ...
    @property
    def visible(self) -> bool: ...
    @property
    def bounds(self) -> tuple[int, int, int, int]: ...
    @property
    def is_picture(self) -> bool: ...


class Readable(Protocol):
    """The part of document.Document that is read here. Pictures are RGBA8 bytes, masks Gray8."""

    @property
    def size(self) -> Size: ...
    @property
    def active_layer(self) -> str | None: ...
    def layers(self) -> Sequence[LayerLike]: ...
    def selection_bounds(self) -> Rect | None: ...
    def read_projection(self, rect: Rect) -> bytes: ...
    def read_layer(self, layer: str, rect: Rect) -> bytes: ...
    def read_selection(self, rect: Rect) -> bytes | None: ...
    def limits(self) -> Limits: ...
    def has_transparency(self, layer: str) -> bool: ...
    def without(
        self, layers: Collection[str], rect: Rect | None = None
    ) -> AbstractContextManager[Readable]: ...


@dataclass(frozen=True)
class Limits:
    """What stands between a document and a reader.

    mask: the name of the selection mask that counts as the selection, "" for none. unclear: the
    name of a layer with several selection masks, of which one may. isolated: Krita shows one layer
    or group alone, and only that can be read.
    """

    mask: str = ""
    unclear: str = ""
    isolated: bool = False


@dataclass(frozen=True)
class Canvas:
    """What the canvas is like. All in canvas pixels.

    selection: bounds of what is selected, inside the canvas. blank: nothing is painted (empty, or
    one flat colour). painted: the rectangle that is painted where it leaves a border, transparent or
    white as after enlarging the canvas; empty: the bounds of that border. layer: the current one.
    is_cut_out: it has transparency, and nothing but it is visible. origin: where (0, 0) lies in the
    document's pixels; elsewhere only while the canvas is about to be enlarged.
    """

    size: Size
    selection: Rect | None = None
    blank: bool = False
    empty: Rect | None = None
    painted: Rect | None = None
    layer: LayerLike | None = None
    is_cut_out: bool = False
    limits: Limits = Limits()
    origin: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Sides:
    """By how many canvas pixels each side is enlarged."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


NO_SIDES = Sides()


def look(document: Readable, left_out: Collection[str] = ()) -> Canvas:
    """Read as little as tells what a press would do. ``left_out``: layers that do not count."""
    size = document.size
    whole = Rect(0, 0, size.width, size.height)
    bounds = document.selection_bounds()
    layers, active = document.layers(), document.active_layer
    layer = next((layer for layer in layers if layer.id == active), None)
    seen = Canvas(
        size,
        selection=None if bounds is None else whole.intersection(bounds),
        layer=layer,
        limits=document.limits(),
    )
    painted = _painted_areas(layers, whole)
    counted = {name: area for name, area in painted.items() if name not in left_out}
    if layer is not None and _is_alone(layer, counted, layers):
        seen = replace(seen, is_cut_out=document.has_transparency(layer.id))
    if all(area == whole for area in counted.values()) and _is_flat(
        document, whole, counted, alone=len(counted) == len(painted)
    ):
        return replace(seen, blank=True)
    for kind in (_CLEAR, _WHITE):
        inner = _painted_rectangle(document, whole, kind)
        if inner is not None:
            return replace(seen, empty=_border_around(inner, whole), painted=inner)
    return seen


def enlarged(canvas: Canvas, sides: Sides) -> Canvas:
    """The canvas as it is going to be, with its new border empty.

    Raises LocalError where it would be larger than the protocol takes.
    """
    if sides == NO_SIDES:
        return canvas
    size = Size(
        canvas.size.width + sides.left + sides.right, canvas.size.height + sides.top + sides.bottom
    )
    inner = canvas.painted or Rect(0, 0, canvas.size.width, canvas.size.height)
    painted = replace(inner, x=inner.x + sides.left, y=inner.y + sides.top)
    return replace(
        canvas,
        size=size,
        selection=None,
        blank=False,
        empty=_border_around(painted, Rect(0, 0, size.width, size.height)),
        painted=painted,
        origin=(-sides.left, -sides.top),
    )


def _painted_areas(layers: Sequence[LayerLike], whole: Rect) -> dict[str, Rect]:
    """Where each visible layer has pixels, inside the canvas."""
    by_id = {layer.id: layer for layer in layers}

    def shown(layer: LayerLike) -> bool:
        parent = by_id.get(layer.parent) if layer.parent else None
        return layer.visible and (parent is None or shown(parent))

    areas = {}
    for layer in layers:
        x, y, width, height = layer.bounds
        if not layer.is_picture or layer.type == "grouplayer" or width < 1 or height < 1:
            continue
        area = whole.intersection(clipped(x, y, width, height, whole)) if shown(layer) else None
        if area is not None:
            areas[layer.id] = area
    return areas


def _is_alone(layer: LayerLike, painted: Collection[str], layers: Sequence[LayerLike]) -> bool:
    """True when all that is visible belongs to that layer: to it or, of a group, to its members."""
    by_id = {one.id: one for one in layers}

    def belongs(one: LayerLike) -> bool:
        parent = by_id.get(one.parent) if one.parent else None
        return one.id == layer.id or (parent is not None and belongs(parent))

    return bool(painted) and all(belongs(by_id[one]) for one in painted)


def clipped(x: int, y: int, width: int, height: int, whole: Rect) -> Rect:
    """A rectangle of any size (Krita's default fill reaches very far) cut to about the canvas."""
    left, top = max(x, -1), max(y, -1)
    right, bottom = min(x + width, whole.width + 1), min(y + height, whole.height + 1)
    if right <= left or bottom <= top:
        return Rect(-2, -2, 1, 1)  # touches nothing of the canvas
    return Rect(left, top, right - left, bottom - top)


def _sampled(length: int, most: int = _SAMPLED_LINES) -> list[int]:
    """Lines spread evenly over ``length``."""
    count = min(length, most)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def _is_flat(document: Readable, whole: Rect, counted: Collection[str], *, alone: bool) -> bool:
    """One colour on every sampled line of the layers that count. alone: nothing else is visible.

    Beside others only a single layer is read: the paper under a visible guide. To hide the others
    for a look would cost a copy of the document.
    """
    if not counted:
        return True
    read, lines = document.read_projection, _SAMPLED_LINES
    if not alone:
        if len(counted) > 1:
            return False
        (paper,) = counted
        read, lines = partial(document.read_layer, paper), _SAMPLED_LINES_OF_PAPER
    first = b""
    for y in _sampled(whole.height, lines):
        line = read(Rect(0, y, whole.width, 1))
        first = first or line[:4] * whole.width
        if line != first:
            return False
    return True


@dataclass(frozen=True)
class _Emptiness:
    """What counts as not painted. ``is_empty`` and ``marks`` take a line of RGBA8.

    marks: one byte per pixel, 0 where it is empty, 255 where it is surely painted.
    full: which part of the painted rectangle's own edge must be painted. least: how large it must
    be, as a part of each of the canvas's sides.
    """

    is_empty: Callable[[bytes], bool]
    marks: Callable[[bytes], bytes]
    full: float
    least: float


_CLEAR = _Emptiness(
    is_empty=lambda line: not any(line[3::4]),
    marks=lambda line: line[3::4],
    full=1.0,
    least=0.0,
)
# Krita fills what an enlarged Background gains with opaque white. Paint may be white here and there,
# and a small block of it on white paper is a drawing.
_WHITE = _Emptiness(
    is_empty=lambda line: line.count(255) == len(line),
    marks=lambda line: bytes(
        0 if pixel == 0xFFFFFFFF else 255 for pixel in memoryview(line).cast("I")
    ),
    full=0.9,
    least=0.5,
)


def _painted_rectangle(document: Readable, whole: Rect, empty: _Emptiness) -> Rect | None:
    """The part of the canvas that is painted, when it is a rectangle and leaves a border.

    A sketch has soft or broken edges: what is around it is no border to expand into.
    """

    def row(y: int) -> bytes:
        return document.read_projection(Rect(0, y, whole.width, 1))

    def column(x: int) -> bytes:
        return document.read_projection(Rect(x, 0, 1, whole.height))

    free_top, free_bottom = empty.is_empty(row(0)), empty.is_empty(row(whole.height - 1))
    free_left, free_right = empty.is_empty(column(0)), empty.is_empty(column(whole.width - 1))
    if not (free_top or free_bottom or free_left or free_right):
        return None
    rows = ((y, row(y)) for y in _sampled(whole.height))
    # Read once: Krita may be painting meanwhile.
    inside, line = next((one for one in rows if not empty.is_empty(one[1])), (0, b""))
    if not line:
        return None
    middle = next(x for x, mark in enumerate(empty.marks(line)) if mark)
    top = _edge(row, inside, 0, empty) if free_top else 0
    bottom = _edge(row, inside, whole.height - 1, empty) + 1 if free_bottom else whole.height
    left = _edge(column, middle, 0, empty) if free_left else 0
    right = _edge(column, middle, whole.width - 1, empty) + 1 if free_right else whole.width
    for side, start, end in (
        (row(top), left, right),
        (row(bottom - 1), left, right),
        (column(left), top, bottom),
        (column(right - 1), top, bottom),
    ):
        if empty.marks(side)[start:end].count(255) < empty.full * (end - start):
            return None
    width, height = right - left, bottom - top
    if width < empty.least * whole.width or height < empty.least * whole.height:
        return None
    return Rect(left, top, width, height)


def _border_around(painted: Rect, whole: Rect) -> Rect:
    """The bounds of what lies around it: one side, or all of the canvas."""
    sides = [
        Rect(0, 0, whole.width, painted.y) if painted.y else None,
        Rect(0, painted.bottom, whole.width, whole.bottom - painted.bottom)
        if painted.bottom < whole.bottom
        else None,
        Rect(0, 0, painted.x, whole.height) if painted.x else None,
        Rect(painted.right, 0, whole.right - painted.right, whole.height)
        if painted.right < whole.right
        else None,
    ]
    free = [side for side in sides if side is not None]
    return free[0] if len(free) == 1 else whole


def _edge(line: Callable[[int], bytes], painted: int, free: int, empty: _Emptiness) -> int:
    """The outermost line with paint, between one that has some and one at the edge with none."""
    while abs(painted - free) > 1:
        middle = (painted + free) // 2
        if empty.is_empty(line(middle)):
            free = middle
        else:
            painted = middle
    return painted


def what_to_do(canvas: Canvas) -> str:
    """The action (a key of ACTIONS) that this canvas asks for. A selection can also be refined:
    state.action_at decides that by the strength."""
    if canvas.selection is not None:
        return "fill"
    if canvas.blank:
        return "generate"
    return "expand" if canvas.empty is not None else "refine"


def suits_layer(canvas: Canvas, action: str) -> bool:
    """True where the current layer, not everything visible, is what a painter means to paint over:
    nothing is selected, and the picture is that cut-out alone. A layer with transparency beside
    others is a part of the picture, and is painted over by itself only if the painter says so."""
    return action == "refine" and canvas.selection is None and canvas.is_cut_out
