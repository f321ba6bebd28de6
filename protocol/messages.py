"""The messages of the protocol: frozen values, checked when they are built.

Everything a picture depends on is in the request: the same request to the same model with the same
seed gives the same picture. SPEC.md describes each message for other languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .errors import CODES, LocalError
from .fields import (
    check_record,
    choice,
    flag,
    image,
    integer,
    json_object,
    key,
    optional,
    real,
    record,
    several,
    text,
    uuid,
)
from .pixels import ENCODINGS, FORMATS, LARGEST_SIDE, Image
from .region import Rect, Size
from .sentences import sentence_of
from .style import Style

VERSION = 1

ADD_ON_KINDS: tuple[str, ...] = ("lora", "embedding")
ACTIONS: tuple[str, ...] = ("generate", "refine", "fill", "expand")
CONTROL_KINDS: tuple[str, ...] = (
    "canny",
    "line",
    "scribble",
    "soft_edge",
    "depth",
    "normal",
    "pose",
    "segmentation",
    "straight",
    "tile",
    "inpaint",
)
# How finely large areas are painted: as the server chooses, in one pass, or in two.
DETAILS: tuple[str, ...] = ("auto", "fast", "full")
STAGES: tuple[str, ...] = ("queued", "loading", "preparing", "painting", "finishing")
WORKER_STATES: tuple[str, ...] = ("starting", "ready", "restarting", "failed")

LONGEST_PROMPT = 20_000
# Both prompts, the style's words twice and as many add-ons as a job may name, in JSON, where a
# quotation mark takes two characters: whatever is taken must end in a result.
LONGEST_RECIPE = 1 << 18
LARGEST_SEED = 2**32 - 1
MOST_STEPS = 150
MOST_VARIANTS = 8
MOST_CONTROLS = 8
MOST_CLIP_SKIP = 12
MOST_ADD_ONS = 4096
MOST_STYLES = 1024
PROGRESS_PARTS = 1_000_000

CLIENT, SERVER = "client", "server"


@dataclass(frozen=True, kw_only=True)
class Message:
    """The root of all messages. ``sender`` is the side that may send it."""

    sender: ClassVar[str]

    def __post_init__(self) -> None:
        check_record(self)


# --- opening -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """The client's first message. ``session`` resumes an earlier one, with its results."""

    sender = CLIENT
    version: int = integer(1, 65535)
    client: str = key()
    capabilities: tuple[str, ...] = several(key(), 64)
    encodings: tuple[str, ...] = several(key(), 16, ("raw",))
    session: str | None = optional(text(64))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server accepts. Bytes are of one message; pixels of one picture."""

    message_bytes: int = integer(1, 2**40)
    picture_pixels: int = integer(1, 2**40)
    jobs: int = integer(1, 2**20)

    def __post_init__(self) -> None:
        check_record(self)


@dataclass(frozen=True, kw_only=True)
class Welcome(Message):
    """The server's answer to hello. ``jobs`` are this session's: running, or not acknowledged.

    Their messages follow without being asked for.
    """

    sender = SERVER
    version: int = integer(1, 65535)
    server: str = key()
    session: str = text(64)
    limits: Limits = record(Limits)
    capabilities: tuple[str, ...] = several(key(), 64)
    formats: tuple[str, ...] = several(choice(tuple(FORMATS)), 16, tuple(FORMATS))
    encoding: str = choice(ENCODINGS, "raw")
    jobs: tuple[str, ...] = several(uuid(), 4096)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """One model that can paint. Sizes are sides in pixels of the picture the model sees.

    ``native``: the side it paints best; ``multiple``: sides are multiples of it; ``largest``: the
    longest side that is sent through it. ``detail``: what "auto" means here; ``finest``: pixels of the
    largest picture that detail "full" paints, 0 where there is none. ``words`` describes what it can
    paint where it is limited. ``text_width``: an add-on fits that has the same.
    """

    name: str = key()
    family: str = key()
    native: int = integer(8, LARGEST_SIDE)
    multiple: int = integer(1, 1024)
    largest: int = integer(8, LARGEST_SIDE)
    actions: tuple[str, ...] = several(choice(ACTIONS), 16)
    controls: tuple[str, ...] = several(key(), 64)
    samplers: tuple[str, ...] = several(key(), 128)
    sampler: str = key()
    steps: int = integer(1, MOST_STEPS)
    guidance: float = real(0, 50)
    detail: str = choice(DETAILS[1:], "fast")
    finest: int = integer(0, LARGEST_SIDE**2, 0)
    words: str = text(LONGEST_PROMPT, "")
    text_width: int = integer(0, 2**20, 0)

    def __post_init__(self) -> None:
        check_record(self)

    def finest_at(self, detail: str) -> int:
        """Pixels of the largest picture that it paints with this ``detail``; 0: in one pass."""
        return self.finest if (self.detail if detail == "auto" else detail) == "full" else 0


@dataclass(frozen=True, kw_only=True)
class AddOnInfo:
    """What a prompt can name beside words: a LoRA by ``<lora:name:1>``, an embedding by its name.

    ``family`` of the models that it fits, for a person; those of the same ``text_width`` take it.
    """

    kind: str = choice(ADD_ON_KINDS)
    name: str = key()
    family: str = key()
    text_width: int = integer(1, 2**20)

    def __post_init__(self) -> None:
        check_record(self)


@dataclass(frozen=True, kw_only=True)
class Catalogue(Message):
    """What can paint; sent after the welcome and again whenever it changes."""

    sender = SERVER
    models: tuple[ModelInfo, ...] = several(record(ModelInfo), 4096)
    addons: tuple[AddOnInfo, ...] = several(record(AddOnInfo), MOST_ADD_ONS)
    styles: tuple[Style, ...] = several(record(Style), MOST_STYLES)


@dataclass(frozen=True, kw_only=True)
class Status(Message):
    """The worker's state; sent after the welcome and whenever it changes.

    ``device`` names what paints, beginning with "CPU" where that is no GPU; ``loaded`` the models in
    memory; ``reason`` is one sentence when the state is not ready.
    """

    sender = SERVER
    worker: str = choice(WORKER_STATES)
    device: str = text(200, "")
    loaded: tuple[str, ...] = several(key(), 4096)
    reason: str = text(2000, "")


# --- jobs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Control:
    """One ControlNet condition.

    ``picture``: the painter's guide or a ready control map, of the region's size; None derives the
    map from the source. ``weight`` scales its influence; it acts from ``start`` to ``end``, parts
    (0..1) of the steps.
    """

    kind: str = choice(CONTROL_KINDS)
    picture: Image | None = optional(image(("rgba8", "gray8")))
    weight: float = real(0, 2, 1.0)
    start: float = real(0, 1, 0.0)
    end: float = real(0, 1, 1.0)

    def __post_init__(self) -> None:
        check_record(self)
        if self.end <= self.start:
            raise LocalError("invalid_field", "end must be greater than start.", field="end")


@dataclass(frozen=True, kw_only=True)
class Generate(Message):
    """Paint. The pictures all have the size of ``region``, the part of ``canvas`` that is sent.

    action      generate: from the prompt alone. refine: img2img of the source at ``strength``.
                fill: repaint the selection. expand: paint the empty part of the source.
    surroundings  what is visible in the region (sRGB); the model sees it around the area.
    source      what is repainted, with its transparency; None: the surroundings themselves.
    selection   0..255 per pixel; None: all of the region (for expand: what is transparent in the
                source). Values in between mean per-pixel strength.
    style       its words go around ``prompt`` and ``negative``; its numbers are not looked at.
    strength    denoising strength: 0 keeps the source, 1 starts from noise. The sampler runs the
                last part of its ``steps``, as A1111 and diffusers do: int(steps * strength).
    guidance    classifier-free guidance scale; 0 and 1 both mean none.
    seed        of the first variant; variant i is the picture of ``seed_of(i)`` alone.
    clip_skip   which layer of the text encoder is read, counted from its end as A1111 does: 1 the
                last, 2 the last but one. Families trained on the last but one never read the last.
    detail      fast: one pass at a size that the model paints well, enlarged to the region. full: a
                second pass works over it at up to the region's own size. auto: the server chooses.
    soft_edge   width in canvas pixels over which the layer fades, inward from the selection's edge.
    keep_outline  keep the source's own alpha as the layer's (repaint inside the silhouette).
    around      so many canvas pixels around the layer come too, as colours under alpha 0.
    """

    sender = CLIENT
    job: str = uuid()
    action: str = choice(ACTIONS)
    model: str = key()
    canvas: Size = record(Size)
    region: Rect = record(Rect)
    surroundings: Image = image(("rgba8",))
    source: Image | None = optional(image(("rgba8",)))
    selection: Image | None = optional(image(("gray8",)))
    prompt: str = text(LONGEST_PROMPT, "")
    negative: str = text(LONGEST_PROMPT, "")
    style: Style | None = optional(record(Style))
    strength: float = real(0, 1, 1.0)
    steps: int = integer(1, MOST_STEPS, 20)
    guidance: float = real(0, 50, 5.0)
    sampler: str = key("Euler a")
    seed: int = integer(0, LARGEST_SEED, 0)
    clip_skip: int = integer(1, MOST_CLIP_SKIP, 1)
    variants: int = integer(1, MOST_VARIANTS, 1)
    controls: tuple[Control, ...] = several(record(Control), MOST_CONTROLS)
    detail: str = choice(DETAILS, "auto")
    soft_edge: int = integer(0, 1024, 0)
    keep_outline: bool = flag(False)
    around: int = integer(0, 1024, 0)
    previews: bool = flag(True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not Rect(0, 0, self.canvas.width, self.canvas.height).contains(self.region):
            raise LocalError(
                "invalid_field", "region must lie inside the canvas.", field="region", job=self.job
            )
        pictures = {
            "surroundings": self.surroundings,
            "source": self.source,
            "selection": self.selection,
            **{f"controls[{i}].picture": c.picture for i, c in enumerate(self.controls)},
        }
        for field, picture in pictures.items():
            if picture is not None and (picture.width, picture.height) != (
                self.region.width,
                self.region.height,
            ):
                raise LocalError(
                    "invalid_field",
                    f"{field} must have the region's size, "
                    f"{self.region.width} x {self.region.height} pixels.",
                    field=field,
                    job=self.job,
                )

    def seed_of(self, variant: int) -> int:
        """The seed of variant 0..7: it goes on from 0 behind the largest, so it can be asked for."""
        return (self.seed + variant) % (LARGEST_SEED + 1)


@dataclass(frozen=True, kw_only=True)
class Annotate(Message):
    """Ask for the control map of a picture; answered by ControlMap."""

    sender = CLIENT
    job: str = uuid()
    kind: str = choice(CONTROL_KINDS)
    picture: Image = image(("rgba8",))


@dataclass(frozen=True, kw_only=True)
class Cancel(Message):
    """Stop a job within one step. Its final answer is an Error with code ``cancelled``,
    or its result if that was faster."""

    sender = CLIENT
    job: str = uuid()


@dataclass(frozen=True, kw_only=True)
class Acknowledge(Message):
    """The client has the job's results safely; the server may forget them."""

    sender = CLIENT
    job: str = uuid()


@dataclass(frozen=True, kw_only=True)
class Progress(Message):
    """Where a job stands. ``done`` is the finished part of all its variants, 0..1.

    ``place`` is the place in the queue, 0 when it runs; ``note`` one sentence worth showing.
    """

    sender = SERVER
    job: str = uuid()
    stage: str = choice(STAGES)
    done: float = real(0, 1, 0.0)
    place: int = integer(0, 1_000_000, 0)
    variant: int = integer(0, MOST_VARIANTS - 1, 0)
    step: int = integer(0, PROGRESS_PARTS, 0)
    steps: int = integer(0, PROGRESS_PARTS, 0)
    note: str = text(2000, "")


@dataclass(frozen=True, kw_only=True)
class Preview(Message):
    """The picture so far, small: stretch it over ``area`` (canvas pixels). Newest wins."""

    sender = SERVER
    job: str = uuid()
    variant: int = integer(0, MOST_VARIANTS - 1)
    step: int = integer(0, PROGRESS_PARTS)
    area: Rect = record(Rect)
    picture: Image = image(("rgba8",))


@dataclass(frozen=True, kw_only=True)
class Result(Message):
    """One finished variant: a layer of straight-alpha sRGB to put at (x, y) of the canvas. It is
    as small as its alpha, and colourless where that is 0, unless the request asked for what is
    ``around``.

    ``recipe`` is a JSON object that holds the request's numbers and what painted it (model, its
    hash, dtype, device). ``last`` marks the job's final answer.
    """

    sender = SERVER
    job: str = uuid()
    variant: int = integer(0, MOST_VARIANTS - 1)
    seed: int = integer(0, LARGEST_SEED)
    x: int = integer(-LARGEST_SIDE, LARGEST_SIDE)
    y: int = integer(-LARGEST_SIDE, LARGEST_SIDE)
    picture: Image = image(("rgba8",))
    recipe: Mapping[str, Any] = json_object(LONGEST_RECIPE)
    last: bool = flag()


@dataclass(frozen=True, kw_only=True)
class ControlMap(Message):
    """The control map asked for by Annotate: white lines on black, nearer is lighter, and so on."""

    sender = SERVER
    job: str = uuid()
    kind: str = choice(CONTROL_KINDS)
    picture: Image = image(("rgba8", "gray8"))


@dataclass(frozen=True, kw_only=True)
class Error(Message):
    """One sentence and a stable code. With ``job`` it is that job's final answer.

    ``words``: where names stand in the sentence, its template and the names (see sentences.py).
    """

    sender = SERVER
    code: str = choice(tuple(CODES))
    message: str = text(2000)
    job: str | None = optional(uuid())
    field: str | None = optional(text(200))
    words: Any = optional(json_object())

    @property
    def sentence(self) -> str:
        """``message``, and a Sentence where ``words`` tell it."""
        return sentence_of(self.message, self.words)


# --- live ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LiveSettings(Message):
    """New settings of an open live canvas, for its next picture; the canvas stays.

    Fields as in Generate, but all ``steps`` run, spread over the last ``strength`` part of the
    noise. Pictures of ``controls`` have the area's size; None derives the map from the canvas.
    """

    sender = CLIENT
    job: str = uuid()
    prompt: str = text(LONGEST_PROMPT, "")
    negative: str = text(LONGEST_PROMPT, "")
    style: Style | None = optional(record(Style))
    strength: float = real(0, 1, 0.4)
    steps: int = integer(1, MOST_STEPS, 4)
    guidance: float = real(0, 50, 1.0)
    sampler: str = key("LCM")
    seed: int = integer(0, LARGEST_SEED, 0)
    clip_skip: int = integer(1, MOST_CLIP_SKIP, 1)
    controls: tuple[Control, ...] = several(record(Control), MOST_CONTROLS)


@dataclass(frozen=True, kw_only=True)
class LiveOpen(LiveSettings):
    """Open a live canvas; the first frame must be a key frame (the whole area, base 0)."""

    model: str = key()
    area: Size = record(Size)


@dataclass(frozen=True, kw_only=True)
class LiveFrame(Message):
    """A changed rectangle of the live canvas: revision ``base`` becomes ``revision``."""

    sender = CLIENT
    job: str = uuid()
    revision: int = integer(1, 2**53)
    base: int = integer(0, 2**53)
    x: int = integer(0, LARGEST_SIDE)
    y: int = integer(0, LARGEST_SIDE)
    picture: Image = image(("rgba8",))


@dataclass(frozen=True, kw_only=True)
class LiveResult(Message):
    """The polished picture of one revision, opaque: whole, or the part of it that changed.

    It answers every frame up to ``revision``.
    """

    sender = SERVER
    job: str = uuid()
    revision: int = integer(1, 2**53)
    x: int = integer(0, LARGEST_SIDE)
    y: int = integer(0, LARGEST_SIDE)
    picture: Image = image(("rgba8",))


@dataclass(frozen=True, kw_only=True)
class LiveKeyFrame(Message):
    """The server does not hold the base revision: send the whole area with base 0."""

    sender = SERVER
    job: str = uuid()


@dataclass(frozen=True, kw_only=True)
class LiveClose(Message):
    """Free the canvas; answered by LiveClosed."""

    sender = CLIENT
    job: str = uuid()


@dataclass(frozen=True, kw_only=True)
class LiveClosed(Message):
    """The last message of a live canvas."""

    sender = SERVER
    job: str = uuid()


# Type on the wire -> class.
TYPES: dict[str, type[Message]] = {
    "hello": Hello,
    "welcome": Welcome,
    "catalogue": Catalogue,
    "status": Status,
    "generate": Generate,
    "annotate": Annotate,
    "cancel": Cancel,
    "acknowledge": Acknowledge,
    "progress": Progress,
    "preview": Preview,
    "result": Result,
    "control_map": ControlMap,
    "error": Error,
    "live_open": LiveOpen,
    "live_settings": LiveSettings,
    "live_frame": LiveFrame,
    "live_result": LiveResult,
    "live_key_frame": LiveKeyFrame,
    "live_close": LiveClose,
    "live_closed": LiveClosed,
}
NAMES: dict[type[Message], str] = {cls: type_name for type_name, cls in TYPES.items()}
